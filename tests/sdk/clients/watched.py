"""Runs a script of this folder and says on stderr whom it dials beyond this machine.

    python watched.py with_litellm

The interpreter's own audit events tell it, from before the first import of a client.
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from typing import Any

LOOPBACK = {"127.0.0.1", "::1", "localhost"}


def watch(event: str, arguments: tuple[Any, ...]) -> None:
    """Report a name that is looked up, or an address that is dialled."""
    host = None
    if event == "socket.getaddrinfo":
        host = arguments[0]
    elif event == "socket.connect" and isinstance(arguments[1], tuple):
        host = arguments[1][0]
    if host is not None and host not in LOOPBACK:
        print(f"dialled {host}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.addaudithook(watch)
    runpy.run_path(str(Path(__file__).with_name(f"{sys.argv[1]}.py")), run_name="__main__")
