"""PEM files among the settings: a chain of certificates and its private key."""

from __future__ import annotations

from pathlib import Path
from typing import Final

_MOST_BYTES: Final = 256 * 1024


class PemFile:
    """A PEM file that may be rewritten, or replaced by a swapped link, while the gateway runs.

    `path` is the path as configured; `file` is where it lies, a relative one within `folder`.
    """

    __slots__ = ("file", "path")

    def __init__(self, path: str, *, folder: Path) -> None:
        """Look once; raise OSError where that fails, ValueError where the file is no PEM."""
        self.path = path
        self.file = folder / path
        self.read()

    def read(self) -> bytes:
        """What the file holds now, with the errors of the constructor."""
        with self.file.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
        if len(content) > _MOST_BYTES or b"-----BEGIN " not in content:
            raise ValueError("a PEM file of at most 256 KiB")
        return content

    def __repr__(self) -> str:
        return f"PemFile({self.path!r})"
