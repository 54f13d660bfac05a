"""Names and contents of a tiled log's files (https://c2sp.org/tlog-tiles); nothing here does I/O.

Tile (L, N) holds up to 256 roots of complete subtrees of 256^L entries; bundle N holds the entries
under tile (0, N). Only the last tile of a level can be partial.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ostiary.errors import IntegrityError

WIDTH = 256
"""Hashes in a full tile, entries in a full bundle."""

HEIGHT = 8
"""Levels of the tree in one level of tiles."""

MAX_ENTRY = 65_535
"""Bytes of an entry at most: its length is a uint16."""

ENTRIES = -1
"""The level that stands for entry bundles, which lie below tiles of level 0."""

_PATH = re.compile(
    r"tile/(entries|[0-9]|[1-5][0-9]|6[0-3])"
    r"/((?:x[0-9]{3}/){0,6}[0-9]{3})"
    r"(?:\.p/([1-9][0-9]{0,2}))?"
)


@dataclass(frozen=True, slots=True, order=True)
class Tile:
    """One file: `level` 0…63 (or ENTRIES), `index` in the level, `width` 1…256 items."""

    level: int
    index: int
    width: int = WIDTH

    @property
    def path(self) -> str:
        """The file's path below the log's folder, with slashes."""
        level = "entries" if self.level == ENTRIES else str(self.level)
        tail = "" if self.width == WIDTH else f".p/{self.width}"
        return f"tile/{level}/{index_path(self.index)}{tail}"

    @classmethod
    def parse(cls, path: str) -> Tile | None:
        """Read a path; None unless it is spelled as `path` spells it."""
        match = _PATH.fullmatch(path)
        if match is None:
            return None
        level, index, width = match.groups()
        tile = cls(
            ENTRIES if level == "entries" else int(level),
            int(index.replace("/", "").replace("x", "")),
            int(width or WIDTH),
        )
        return tile if tile.width <= WIDTH and tile.path == path else None


def index_path(index: int) -> str:
    """Return an index in groups of three digits: 1234067 is `x001/x234/067`."""
    path = f"{index % 1000:03}"
    while index >= 1000:
        index //= 1000
        path = f"x{index % 1000:03}/{path}"
    return path


def items_at(level: int, size: int) -> int:
    """Return how many items (hashes, or entries) a level holds for a tree of `size` leaves."""
    return size >> (HEIGHT * max(level, 0))


def levels(size: int) -> Iterator[int]:
    """Name the levels (ENTRIES, 0, 1, …) that have a file for a tree of `size` leaves."""
    if not size:
        return
    yield ENTRIES
    level = 0
    while items_at(level, size):
        yield level
        level += 1


def edge(size: int) -> Iterator[Tile]:
    """Name the partial files of a tree of `size` leaves."""
    for level in levels(size):
        index, width = divmod(items_at(level, size), WIDTH)
        if width:
            yield Tile(level, index, width)


def added(old: int, new: int) -> Iterator[Tile]:
    """Name the files that the tree of `new` leaves has and the tree of `old` does not."""
    for level in levels(new):
        before, after = items_at(level, old), items_at(level, new)
        if before == after:
            continue
        for index in range(before // WIDTH, after // WIDTH):
            yield Tile(level, index)
        if after % WIDTH:
            yield Tile(level, after // WIDTH, after % WIDTH)


def encode_entry(entry: bytes) -> bytes:
    """Return uint16 length ‖ entry; ValueError for more than MAX_ENTRY bytes."""
    if len(entry) > MAX_ENTRY:
        raise ValueError("an entry has at most 65,535 bytes")
    return len(entry).to_bytes(2, "big") + entry


def encode_bundle(entries: Iterable[bytes]) -> bytes:
    """Return the entries' encodings in a row."""
    return b"".join(map(encode_entry, entries))


def decode_bundle(bundle: bytes, width: int) -> list[bytes]:
    """Return the first `width` entries; IntegrityError where the bundle ends before."""
    entries = []
    start = 0
    for _ in range(width):
        end = start + 2 + int.from_bytes(bundle[start : start + 2], "big")
        if start + 2 > len(bundle) or end > len(bundle):
            raise IntegrityError("an entry bundle ends within an entry")
        entries.append(bundle[start + 2 : end])
        start = end
    return entries
