"""The check of a whole log, in one file: `python verifier.py LEDGER_FOLDER VERIFIER_KEY`.

It needs Python 3.11 and the `cryptography` library and imports nothing else of Ostiary, so that an
auditor can read it, copy it and run it elsewhere. What it shares with the writer is thus written
twice on purpose: it is a second implementation of RFC 9162 §2.1 and of the C2SP formats tlog-tiles,
tlog-checkpoint and signed-note, and a mistake would have to be made in both to go unseen.

Every byte of the folder is compared with something: entries with the leaf hashes of level 0, each
tile with the level below, the right edge with the root, the root with the signature. Whatever is
missing, has another length or another name is damage too. A log whose last append was cut off has
files beyond its checkpoint until its gateway has started once; until then they are named as damage,
since a checkpoint that somebody put back looks the same.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product, zip_longest
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

Progress = Callable[[int, int], None]
"""`(records read, records in all)`, called once per bundle."""

CheckLeaf = Callable[[int, bytes], str]
"""`(record, entry)` → what is wrong with an entry that is in the log, or the empty string."""

_WIDTH = 256
_HASH = 32
_MAX_ENTRY = 65_535
_MAX_CHECKPOINT = 4096
_ENTRIES = -1

_PLACE = re.compile(r"tile/(entries|[0-9]{1,2})/((?:x[0-9]{3}/){0,6}[0-9]{3})(?:\.p/([0-9]{1,3}))?")

_Items = list[bytes]


@dataclass(frozen=True, slots=True)
class Report:
    """What a check found.

    `records` is the size that the checkpoint proves, 0 where no checkpoint could be verified.
    Where `ok` is false, `first_bad` is the first record that the damage touches (None where the
    damage is a file that belongs to no record), and `reason` says what is wrong without quoting
    any entry.
    """

    ok: bool
    records: int
    first_bad: int | None
    reason: str


def verify_folder(
    folder: Path,
    verifier_key: str,
    *,
    at_least: int = 0,
    on_progress: Progress | None = None,
    check_leaf: CheckLeaf | None = None,
) -> Report:
    """Check every byte of a log's folder against `verifier_key` (`name+id+base64`).

    A log of fewer than `at_least` records, a size known from elsewhere, is damaged from its own
    size on. `check_leaf` judges each entry whose hash is right. Damage of any kind, an absent
    folder and an unreadable file are reports and never raise; a wrong key is a report too. Nobody
    may append meanwhile.
    """
    try:
        note = _read(folder / "checkpoint", _MAX_CHECKPOINT)
        size, root = _open_checkpoint(note, _parse_key(verifier_key))
    except _DamageError as damage:
        return Report(ok=False, records=0, first_bad=0, reason=str(damage))
    check = _Check(folder, size, on_progress, check_leaf)
    check.places()
    check.tree(root)
    if size < at_least:
        check.blame(size, f"the log has {size} records and had at least {at_least}")
    if check.worst is None:
        return Report(ok=True, records=size, first_bad=None, reason="")
    return Report(ok=False, records=size, first_bad=check.worst[0], reason=check.worst[1])


class _DamageError(Exception):
    """Something is not as the format or the signature wants it; the text says what."""


@dataclass(slots=True)
class _Check:
    """One run over the folder of a log of `size` records; `worst` is the first record's damage.

    A tile that differs from the level below leaves two readings: what it holds and what it should
    hold. The level above is blamed only where it agrees with neither, so that one damaged file is
    blamed once and at its own place.
    """

    folder: Path
    size: int
    on_progress: Progress | None
    check_leaf: CheckLeaf | None
    worst: tuple[int | None, str] | None = None

    def blame(self, record: int | None, reason: str) -> None:
        """Keep the damage that touches the first record; what touches none comes last."""
        if self.worst is None or self.worst[0] is None:
            self.worst = self.worst if record is None and self.worst else (record, reason)
        elif record is not None and record < self.worst[0]:
            self.worst = (record, reason)

    def places(self) -> None:
        """Blame each file that the tree does not have; compare older partial files."""
        for path in self._walk(self.folder):
            place = _parse_place(path)
            if path == "checkpoint":
                continue
            if place is None:
                self.blame(None, "a file that is no part of a log lies in the folder")
                continue
            level, index, width = place
            if index * _WIDTH + width > _count(level, self.size):
                self.blame(self.size, "a file lies beyond the checkpoint")
            elif width != self._width(level, index):
                self._older(level, index, width)

    def tree(self, root: bytes) -> None:
        """Compare every level with the one below, and the right edge with the root."""
        level = 0
        below: list[_Items] = []
        edges: list[list[_Items]] = []
        while _count(level, self.size):
            above: list[_Items] = []
            edge: list[_Items] = [[]]
            for index in range(-(-_count(level, self.size) // _WIDTH)):
                width = self._width(level, index)
                start = index * _WIDTH
                readings = self._tile(level, index, below[start : start + width])
                if width == _WIDTH:
                    above.append([_root(reading) for reading in readings])
                else:
                    edge = readings
            edges.append(edge)
            below = above
            level += 1
        if all(edges) and not any(_edge_root(choice) == root for choice in product(*edges)):
            self.blame(0, "the records do not lead to the checkpoint's root")

    def _tile(self, level: int, index: int, below: list[_Items]) -> list[_Items]:
        """Return a tile's possible readings, at most two; blame the first item that differs.

        `below` holds the possible values of each item, none where the tile below is lost.
        """
        wanted = self._leaves(index) if level == 0 else below
        stored = self._items(level, index)
        if stored == [choices[0] for choices in wanted if choices]:
            return [stored]
        held: Sequence[bytes | None] = stored or []
        computed: _Items = []
        for offset, (item, choices) in enumerate(zip_longest(held, wanted)):
            if stored is not None and choices and item not in choices:
                self.blame(_record(level, index, offset), "a hash differs from what is below it")
            if item and (item in choices or not choices):
                computed.append(item)
            else:
                computed.extend(choices[:1])
        readings = [computed] if stored in (None, computed) else [stored, computed]
        return [one for one in readings if one and len(one) == len(wanted)]

    def _leaves(self, index: int) -> list[_Items]:
        """Return the leaf hash of each entry of a bundle, nothing for those that are lost."""
        entries = self._items(_ENTRIES, index) or []
        first, width = index * _WIDTH, self._width(_ENTRIES, index)
        if self.check_leaf:
            for offset, entry in enumerate(entries):
                wrong = self.check_leaf(first + offset, entry)
                if wrong:
                    self.blame(first + offset, wrong)
        if self.on_progress:
            self.on_progress(first + width, self.size)
        sha256 = hashlib.sha256
        leaves = [[sha256(b"\x00" + entry).digest()] for entry in entries]
        return leaves + [[]] * (width - len(leaves))

    def _items(self, level: int, index: int) -> _Items | None:
        """Read the file at a place; blame what is missing, short or too long."""
        width = self._width(level, index)
        try:
            data = _read(self.folder / _path(level, index, width), _limit(level, width))
        except _DamageError as damage:
            self.blame(_record(level, index, 0), str(damage))
            return None
        items, exact = _split(data, level, width)
        if not exact:
            at = min(len(items), width - 1)
            self.blame(_record(level, index, at), "a file has a wrong length")
        return items

    def _older(self, level: int, index: int, width: int) -> None:
        """Compare a partial file with the beginning of the one that took its place."""
        try:
            data = _read(self.folder / _path(level, index, width), _limit(level, width))
        except _DamageError as damage:
            self.blame(_record(level, index, 0), str(damage))
            return
        items, exact = _split(data, level, width)
        newer = (self._items(level, index) or [])[:width]
        if not exact or items != newer:
            pairs = zip_longest(items, newer)
            at = next((at for at, (one, other) in enumerate(pairs) if one != other), width - 1)
            self.blame(_record(level, index, at), "an older partial file differs from the newer")

    def _width(self, level: int, index: int) -> int:
        return min(_WIDTH, _count(level, self.size) - index * _WIDTH)

    def _walk(self, folder: Path) -> Iterator[str]:
        """Name every file below `folder`; blame links, devices and folders closed to us."""
        try:
            found = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError:
            self.blame(None, "a folder cannot be read")
            return
        for entry in found:
            path = folder / entry.name
            if entry.is_dir(follow_symlinks=False):
                yield from self._walk(path)
            elif entry.is_file(follow_symlinks=False):
                yield path.relative_to(self.folder).as_posix()
            else:
                self.blame(None, "something that is no file lies in the folder")


def _count(level: int, size: int) -> int:
    """How many items a level has: entries, leaf hashes, or roots of 256^level entries."""
    return size >> (8 * max(level, 0))


def _record(level: int, index: int, offset: int) -> int:
    """The first record under an item."""
    return (index * _WIDTH + offset) << (8 * max(level, 0))


def _limit(level: int, width: int) -> int:
    return width * (2 + _MAX_ENTRY if level == _ENTRIES else _HASH)


def _path(level: int, index: int, width: int) -> str:
    groups = f"{index:,}".split(",")
    groups = [f"x{group:0>3}" for group in groups[:-1]] + [f"{groups[-1]:0>3}"]
    name = "entries" if level == _ENTRIES else str(level)
    return f"tile/{name}/{'/'.join(groups)}" + ("" if width == _WIDTH else f".p/{width}")


def _parse_place(path: str) -> tuple[int, int, int] | None:
    """Read a file's name; None where C2SP would not spell it so."""
    match = _PLACE.fullmatch(path)
    if match is None:
        return None
    name, groups, partial = match.groups()
    level = _ENTRIES if name == "entries" else int(name)
    index = int(groups.replace("/", "").replace("x", ""))
    width = int(partial or _WIDTH)
    known = level < 64 and 0 < width <= _WIDTH and _path(level, index, width) == path
    return (level, index, width) if known else None


def _split(data: bytes, level: int, width: int) -> tuple[_Items, bool]:
    """Return the items of a file as far as they are whole, and whether nothing else is in it."""
    items: _Items = []
    start = 0
    while len(items) < width and start < len(data):
        body, length = start, _HASH
        if level == _ENTRIES:
            body, length = start + 2, int.from_bytes(data[start : start + 2], "big")
        if body + length > len(data):
            break
        items.append(data[body : body + length])
        start = body + length
    return items, len(items) == width and start == len(data)


def _root(items: Sequence[bytes]) -> bytes:
    """MTH of RFC 9162 §2.1.1 over hashes: pair by pair, an odd last one rises as it is."""
    sha256 = hashlib.sha256
    level = list(items)
    while len(level) > 1:
        odd = level[len(level) & ~1 :]
        pairs = zip(level[::2], level[1::2], strict=False)
        level = [sha256(b"\x01" + left + right).digest() for left, right in pairs] + odd
    return level[0]


def _edge_root(edges: Sequence[_Items]) -> bytes:
    """The root of a log from the partial tiles of its levels, lowest first."""
    rest: _Items = []
    for edge in edges:
        if edge or rest:
            rest = [_root(edge + rest)]
    return rest[0] if rest else hashlib.sha256(b"").digest()


def _read(path: Path, limit: int) -> bytes:
    """Read a regular file of at most `limit` bytes, and of a longer one one byte more."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(handle, "rb") as file:
            return file.read(limit + 1)
    except FileNotFoundError:
        raise _DamageError("a file is missing") from None
    except OSError:
        raise _DamageError("a file cannot be read") from None


def _decode(text: str) -> bytes:
    """Read base64 in its one canonical spelling."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise _DamageError("something is not base64") from None
    if base64.b64encode(data).decode() != text:
        raise _DamageError("base64 is not canonical")
    return data


def _parse_key(text: str) -> tuple[str, bytes, bytes]:
    """Return name, key id and public key of `name+id+base64(0x01 ‖ public key)`."""
    name, _, rest = text.partition("+")
    key_id, _, encoded = rest.partition("+")
    blob = _decode(encoded)
    found = hashlib.sha256(name.encode("utf-8", "replace") + b"\n" + blob).digest()[:4]
    if not name or len(blob) != 33 or blob[0] != 1 or found.hex() != key_id:
        raise _DamageError("the verifier key is not one of a signed note")
    return name, found, blob[1:]


def _open_checkpoint(note: bytes, key: tuple[str, bytes, bytes]) -> tuple[int, bytes]:
    """Return size and root of a checkpoint, each of whose bytes is as the log writes it."""
    name, key_id, public = key
    lines = note.split(b"\n")
    signed = f"\N{EM DASH} {name} ".encode()
    if len(lines) != 6 or lines[0] != name.encode() or lines[3] or lines[5]:
        raise _DamageError("the checkpoint has another form")
    if not lines[4].startswith(signed):
        raise _DamageError("the checkpoint is signed by another key")
    signature = _decode(lines[4].removeprefix(signed).decode("ascii", "replace"))
    if signature[:4] != key_id:
        raise _DamageError("the checkpoint is signed by another key")
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(
            signature[4:], b"\n".join(lines[:3]) + b"\n"
        )
    except (InvalidSignature, ValueError):
        raise _DamageError("the checkpoint's signature does not verify") from None
    root = _decode(lines[2].decode("ascii", "replace"))
    if not re.fullmatch(rb"0|[1-9][0-9]{0,17}", lines[1]) or len(root) != _HASH:
        raise _DamageError("the checkpoint has another form")
    return int(lines[1]), root


def main(arguments: Sequence[str]) -> int:
    """Check a folder, print one line, return 0 for a sound log, 1 for damage, 2 for misuse."""
    if len(arguments) != 2:
        sys.stderr.write("usage: verifier.py LEDGER_FOLDER VERIFIER_KEY\n")
        return 2
    report = verify_folder(Path(arguments[0]), arguments[1])
    if report.ok:
        sys.stdout.write(f"ok: {report.records} records\n")
        return 0
    where = "" if report.first_bad is None else f" from record {report.first_bad}"
    sys.stdout.write(f"damaged{where}: {report.reason}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
