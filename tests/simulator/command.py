"""The command `ostiary …` in this process: as its own process does it, but without the start."""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from ostiary.cli import main


@dataclass(frozen=True)
class Done:
    """How a command ended, and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it wrote to stdout, as JSON."""
        return json.loads(self.out)

    @property
    def records(self) -> list[dict[str, Any]]:
        """What it wrote to stdout, as lines of JSON."""
        return [json.loads(line) for line in self.out.splitlines()]


def ostiary(home: Path, *arguments: str, settings: Mapping[str, str] | None = None) -> Done:
    """Run a command on a home. An error that no command explains is raised, not an exit code."""
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    kept = {k: v for k, v in os.environ.items() if not k.startswith("OSTIARY_")}
    variables = {**kept, **(settings or {}), "OSTIARY_HOME": str(home)}
    code = 0
    with (
        mock.patch.dict(os.environ, variables, clear=True),
        mock.patch.object(sys, "argv", ["ostiary", *arguments]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        contextlib.chdir(home.parent),
        _same_umask(),
    ):
        try:
            main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(bool(end.code))
    return Done(code, *(text.buffer.getvalue().decode() for text in (out, err)))


@contextlib.contextmanager
def _same_umask() -> Iterator[None]:
    before = os.umask(0o022)
    try:
        yield
    finally:
        os.umask(before)
