"""The one writer of a log's folder.

An append writes new files beside the old ones, and only then replaces the checkpoint in one step:
until then nothing that the old checkpoint proves has changed. Before the first file it notes the
two sizes outside the log (`scratch/append`), so that a restart can tell the remains of its own cut
append, which it removes, from a checkpoint that somebody put back, which it refuses to build on.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ostiary.errors import IntegrityError, UnavailableError
from ostiary.tlog.checkpoint import Checkpoint
from ostiary.tlog.disk import Disk
from ostiary.tlog.note import NoteSigner
from ostiary.tlog.reader import CHECKPOINT, LogReader
from ostiary.tlog.tiles import (
    ENTRIES,
    HEIGHT,
    WIDTH,
    Tile,
    added,
    edge,
    encode_bundle,
    encode_entry,
    items_at,
    levels,
)
from ostiary.tlog.tree import EMPTY_ROOT, HASH_SIZE, Frontier, leaf_hash

_INTENT = re.compile(rb"(0|[1-9][0-9]{0,18}) ([1-9][0-9]{0,18})\n")


class LogFiles(LogReader):
    """A log in `folder` that this process alone appends to.

    The caller holds the lock that makes it the only writer. `scratch` is a folder on the same file
    system that nobody reads as the log; it holds two small files, never an entry. Both folders are
    created where their parents exist.
    """

    def __init__(
        self,
        folder: Path,
        origin: str,
        signer: NoteSigner,
        scratch: Path,
        *,
        disk: Disk | None = None,
    ) -> None:
        """Take the log's name `origin`, which is its signer's name too (ValueError else)."""
        if origin != signer.name:
            raise ValueError("a log's origin is the name of its key")
        super().__init__(folder, signer.verifier_key)
        self._signer = signer
        self._intent = scratch / "append"
        self._draft = scratch / "checkpoint"
        self._disk = disk or Disk()
        self._edge: _Edge | None = None
        self._proven = 0

    def open(self, *, at_least: int = 0) -> None:
        """Read the right edge, finish or undo a cut append, and check edge against checkpoint.

        A log that is not there yet is begun with a signed checkpoint of size 0, unless `at_least`
        (a size known from elsewhere) says that it must be there. Reads O(log size) files. Raises
        IntegrityError where the log is shorter than `at_least`, the checkpoint or the edge is
        damaged, or files lie beyond the checkpoint that no append of this writer left there;
        UnavailableError where the file system fails. A checkpoint that was put back by exactly the
        last append looks like that append cut short: only `at_least` tells them apart.
        """
        self._edge = None
        at_least = max(at_least, self._proven)
        with _available():
            for folder in (self.folder, self._intent.parent):
                if self._make_folder(folder):
                    self._disk.sync_folder(folder.parent)
            self._disk.remove(self._draft)
            if not at_least and not any(self.folder.iterdir()):
                self._publish(Checkpoint(self.key.name, 0, EMPTY_ROOT))
            checkpoint = self.checkpoint()
            if checkpoint.size < at_least:
                raise IntegrityError("the log is shorter than it was")
            self._recover(checkpoint.size)
            if any(self._beyond(checkpoint.size)):
                raise IntegrityError("files lie beyond the log's checkpoint")
        grown = self._load(checkpoint.size)
        if grown.frontier.root() != checkpoint.root:
            raise IntegrityError("the log's right edge does not match its checkpoint")
        self._edge, self._proven = grown, checkpoint.size

    @property
    def size(self) -> int:
        """How many entries the newest checkpoint proves; opens a log that is not open."""
        return self._opened().frontier.size

    def root(self) -> bytes:
        """Return the root hash of the newest checkpoint."""
        return self._opened().frontier.root()

    def append(self, entries: Sequence[bytes]) -> int:
        """Add entries (at most 65,535 bytes each, else ValueError); return the first one's index.

        On return all of them are durable under a new checkpoint. Raises UnavailableError where a
        step on the file system fails: then all or none of them are in the log, and `size`, which
        reads it anew, tells which. A crash at any step leaves the same two outcomes.
        """
        before = self._opened()
        after = before.copy()
        files = after.grow(entries)
        old, new = before.frontier.size, after.frontier.size
        if old == new:
            return old
        self._edge = None  # whatever happens below, memory is no proof of what the disk holds
        with _available():
            self._note_intent(old, new)
            self._write_all(files)
            self._publish(Checkpoint(self.key.name, new, after.frontier.root()))
            self._remove_all(set(edge(old)) - set(edge(new)))
        self._edge, self._proven = after, new
        return old

    def _opened(self) -> _Edge:
        if self._edge is None:
            self.open()
        assert self._edge is not None
        return self._edge

    def _note_intent(self, old: int, new: int) -> None:
        fresh = not self._intent.exists()
        self._disk.write(self._intent, b"%d %d\n" % (old, new))
        if fresh:
            self._disk.sync_folder(self._intent.parent)

    def _write_all(self, files: Iterable[tuple[Tile, bytes]]) -> None:
        """Write files in new or known folders, then make all the names durable."""
        changed: set[Path] = set()
        for tile, data in files:
            path = self.folder / tile.path
            for parent in reversed(path.parents):
                if parent.is_relative_to(self.folder) and self._make_folder(parent):
                    changed.add(parent.parent)
            self._disk.write(path, data)
            changed.add(path.parent)
        for folder in sorted(changed):
            self._disk.sync_folder(folder)

    def _publish(self, checkpoint: Checkpoint) -> None:
        self._disk.write(self._draft, checkpoint.sign(self._signer))
        self._disk.replace(self._draft, self.folder / CHECKPOINT)
        self._disk.sync_folder(self.folder)

    def _recover(self, size: int) -> None:
        """Remove what a cut append left: new files of one undone, old partial ones of one done."""
        intent = _INTENT.fullmatch(self._read(self._intent) or b"")
        if intent is None:
            return
        old, new = map(int, intent.groups())
        if size == old:
            # A removal that a power cut takes back would look like somebody else's file later.
            for folder in sorted(self._remove_all(added(old, new))):
                self._disk.sync_folder(folder)
        elif size == new:
            self._remove_all(set(edge(old)) - set(edge(new)))

    def _remove_all(self, tiles: Iterable[Tile]) -> set[Path]:
        """Remove files and the folders of partial tiles that they leave empty."""
        changed = set()
        for tile in tiles:
            path = self.folder / tile.path
            if not path.exists():
                continue
            self._disk.remove(path)
            changed.add(path.parent)
            if tile.width < WIDTH and not any(path.parent.iterdir()):
                self._disk.remove_folder(path.parent)
                changed.discard(path.parent)
                changed.add(path.parent.parent)
        return changed

    def _beyond(self, size: int) -> Iterator[Tile]:
        """Name files that the next entries would need but that are already there."""
        for level in {ENTRIES, 0, *levels(size)}:
            index, width = divmod(items_at(level, size), WIDTH)
            full = Tile(level, index)
            if (self.folder / full.path).exists():
                yield full
            for wider in self._partial_widths(full):
                if wider > width:
                    yield Tile(level, index, wider)

    def _load(self, size: int) -> _Edge:
        """Read the partial tiles of every level; IntegrityError where bundle and tile differ."""
        grown = _Edge()
        for level in reversed(range(sum(1 for _ in levels(size)) - 1)):
            count = items_at(level, size)
            data = self.hashes(level, count // WIDTH, count % WIDTH) if count % WIDTH else b""
            grown.tiles[level] = bytearray(data)
            for root in _hashes(data):
                grown.frontier.push_subtree(level * HEIGHT, root)
        if size % WIDTH:
            entries = self._entries(size // WIDTH, size % WIDTH)
            if list(map(leaf_hash, entries)) != list(_hashes(grown.tiles[0])):
                raise IntegrityError("the log's last bundle does not match its tile")
            grown.tiles[ENTRIES] = bytearray(encode_bundle(entries))
        return grown

    def _make_folder(self, path: Path) -> bool:
        """Create a folder that is not there; tell whether it was not."""
        if path.is_dir():
            return False
        self._disk.make_folder(path)
        return True


class _Edge:
    """The right edge in memory: peaks for the root, and the partial file of each level."""

    def __init__(self) -> None:
        self.frontier = Frontier()
        self.tiles: dict[int, bytearray] = {}

    def copy(self) -> _Edge:
        twin = _Edge()
        twin.frontier = self.frontier.copy()
        twin.tiles = {level: tile.copy() for level, tile in self.tiles.items()}
        return twin

    def grow(self, entries: Iterable[bytes]) -> list[tuple[Tile, bytes]]:
        """Take entries in and return the files that then are new."""
        old = self.frontier.size
        full: list[tuple[Tile, bytes]] = []
        for entry in entries:
            self.tiles.setdefault(ENTRIES, bytearray()).extend(encode_entry(entry))
            for level, root in enumerate(self.frontier.push(leaf_hash(entry))[::HEIGHT]):
                self.tiles.setdefault(level, bytearray()).extend(root)
            full.extend(self._take_full())
        partial = set(edge(self.frontier.size)) - set(edge(old))
        return full + [(tile, bytes(self.tiles[tile.level])) for tile in partial]

    def _take_full(self) -> Iterator[tuple[Tile, bytes]]:
        """Hand out the files that the newest leaf filled."""
        size = self.frontier.size
        if size % WIDTH:
            return
        for level in levels(size):
            if items_at(level, size) % WIDTH:
                return
            yield Tile(level, items_at(level, size) // WIDTH - 1), bytes(self.tiles[level])
            self.tiles[level].clear()


def _hashes(tile: bytes | bytearray) -> Iterator[bytes]:
    for start in range(0, len(tile), HASH_SIZE):
        yield bytes(tile[start : start + HASH_SIZE])


@contextmanager
def _available() -> Iterator[None]:
    """Let a failing file system be what it is for the caller: a part that cannot be used now."""
    try:
        yield
    except OSError as error:
        raise UnavailableError(f"the log cannot be written: {error.strerror}") from error
