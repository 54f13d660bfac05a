"""`python -m tests.simulator.named FILE COMMAND…`: `ostiary COMMAND…` in a world of its own names.

FILE is JSON, host → list of addresses, and is read at each look-up, so that a name can change its
mind while the gateway runs. A host that is not in it is looked up as ever.
"""

from __future__ import annotations

import json
import socket
import sys
from pathlib import Path

from ostiary.cli import main

_look_up = socket.getaddrinfo


def _named(path: Path):
    def getaddrinfo(host, port, family=0, type=0, proto=0, flags=0):  # noqa: A002 - as the real one
        names = json.loads(path.read_text())
        if host not in names:
            return _look_up(host, port, family, type, proto, flags)
        if not names[host]:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        found = []
        for address in names[host]:
            found += _look_up(address, port, family, type, proto, socket.AI_NUMERICHOST)
        return found

    return getaddrinfo


if __name__ == "__main__":
    socket.getaddrinfo = _named(Path(sys.argv.pop(1)))
    main()
