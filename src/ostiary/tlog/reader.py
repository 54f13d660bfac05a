"""Reading a log's folder beside its one writer: entries, tiles, proofs.

A full tile never changes. A partial one may be replaced by a wider one between two looks, which
begins with the same bytes: a reader that misses a name looks for the wider ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ostiary.errors import IntegrityError, UnavailableError
from ostiary.tlog import tree
from ostiary.tlog.checkpoint import Checkpoint
from ostiary.tlog.note import VerifierKey
from ostiary.tlog.proof import Proof
from ostiary.tlog.tiles import ENTRIES, HEIGHT, WIDTH, Tile, decode_bundle, encode_bundle, items_at

CHECKPOINT = "checkpoint"

_LOOKS = 5  # a partial tile would have to be replaced that often within one read


class LogReader:
    """A log as its files tell it. Only checkpoints and proof files are verified here.

    Each method raises IntegrityError where a file is missing or malformed and UnavailableError
    where the file system fails. It keeps nothing, so that it always sees the newest checkpoint.
    """

    def __init__(self, folder: Path, key: VerifierKey) -> None:
        """Read `folder`, whose checkpoints `key` verifies."""
        self.folder = folder
        self.key = key

    def checkpoint_note(self) -> bytes:
        """Return the newest checkpoint as it lies on disk, verified."""
        note = self._read(self.folder / CHECKPOINT)
        if note is None:
            raise IntegrityError("the log has no checkpoint")
        Checkpoint.open(note, self.key)
        return note

    def checkpoint(self) -> Checkpoint:
        """Return the newest checkpoint, verified."""
        return Checkpoint.open(self.checkpoint_note(), self.key)

    def read_entries(self, start: int, end: int) -> Iterator[bytes]:
        """Yield entries `start` … `end` - 1, reading one bundle at a time.

        Raises IntegrityError at the first that is not there.
        """
        while start < end:
            index, offset = divmod(start, WIDTH)
            width = min(WIDTH, end - index * WIDTH)
            yield from self._entries(index, width)[offset:]
            start = index * WIDTH + width

    def entry(self, index: int) -> bytes:
        """Return one entry."""
        bundle, offset = divmod(index, WIDTH)
        return self._entries(bundle, offset + 1)[offset]

    def inclusion_proof(self, index: int, size: int) -> list[bytes]:
        """Return the proof of entry `index` in the tree of `size` leaves (RFC 9162 §2.1.3.1)."""
        return tree.inclusion_proof(index, size, _Subtrees(self).root)

    def consistency_proof(self, old: int, new: int) -> list[bytes]:
        """Return the proof that the tree of `new` leaves begins with `old` (RFC 9162 §2.1.4.1)."""
        return tree.consistency_proof(old, new, _Subtrees(self).root)

    def proof_file(self, index: int) -> str:
        """Return a `.tlog-proof` of entry `index` under the newest checkpoint.

        It is verified before it is handed out: damaged files give IntegrityError, never a proof
        that fails elsewhere. Raises ValueError for an index beyond the checkpoint.
        """
        note = self.checkpoint_note()
        size = Checkpoint.open(note, self.key).size
        proof = Proof(index, tuple(self.inclusion_proof(index, size)), note)
        proof.verify(self.entry(index), self.key)
        return proof.text()

    def resource(self, path: str) -> bytes | None:
        """Return what C2SP clients fetch at `path` (`checkpoint`, `tile/…`), or None.

        Partial tiles of every width below the newest checkpoint are answered, also those whose
        file has given way to a wider one. No path leads outside the log.
        """
        if path == CHECKPOINT:
            return self.checkpoint_note()
        tile = Tile.parse(path)
        if tile is None:
            return None
        if tile.index * WIDTH + tile.width > items_at(tile.level, self.checkpoint().size):
            return None
        if tile.level == ENTRIES:
            return encode_bundle(self._entries(tile.index, tile.width))
        return self.hashes(tile.level, tile.index, tile.width)

    def hashes(self, level: int, index: int, width: int) -> bytes:
        """Return the first `width` hashes of a tile, 32 bytes each."""
        found, data = self._find(Tile(level, index, width))
        if len(data) != found.width * tree.HASH_SIZE:
            raise IntegrityError("a tile has a wrong length")
        return data[: width * tree.HASH_SIZE]

    def _entries(self, index: int, width: int) -> list[bytes]:
        return decode_bundle(self._find(Tile(ENTRIES, index, width))[1], width)

    def _find(self, wanted: Tile) -> tuple[Tile, bytes]:
        """Read the file of `wanted` or a wider one at its place."""
        full = Tile(wanted.level, wanted.index)
        for _ in range(_LOOKS):
            wider = self._partial_widths(full)
            for width in (wanted.width, WIDTH, *(w for w in wider if w > wanted.width)):
                tile = Tile(wanted.level, wanted.index, width)
                data = self._read(self.folder / tile.path)
                if data is not None:
                    return tile, data
            if not wider:
                break
        raise IntegrityError("a file of the log is missing")

    def _partial_widths(self, full: Tile) -> list[int]:
        folder = self.folder / f"{full.path}.p"
        try:
            names = [path.name for path in folder.iterdir()]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise UnavailableError(f"the log cannot be read: {error.strerror}") from None
        tiles = (Tile.parse(f"{full.path}.p/{name}") for name in names)
        return sorted(tile.width for tile in tiles if tile)

    def _read(self, path: Path) -> bytes | None:
        try:
            return path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise UnavailableError(f"the log cannot be read: {error.strerror}") from None


class _Subtrees:
    """Roots of complete subtrees for one proof, each tile read once."""

    def __init__(self, log: LogReader) -> None:
        self._log = log
        self._tiles: dict[tuple[int, int], bytes] = {}

    def root(self, height: int, index: int) -> bytes:
        level, rise = divmod(height, HEIGHT)
        tile, offset = divmod(index << rise, WIDTH)
        count = 1 << rise
        data = self._tiles.get((level, tile), b"")
        if len(data) < (offset + count) * tree.HASH_SIZE:
            data = self._log.hashes(level, tile, offset + count)
            self._tiles[level, tile] = data
        size = tree.HASH_SIZE
        return tree.root_of(
            data[at : at + size] for at in range(offset * size, (offset + count) * size, size)
        )
