"""The file that proves one entry to somebody who has only the verifier key and the entry itself.

Its form is https://c2sp.org/tlog-proof: index, inclusion proof and the checkpoint it leads to.
"""

from __future__ import annotations

from dataclasses import dataclass

from ostiary.errors import IntegrityError
from ostiary.tlog.checkpoint import Checkpoint, parse_number
from ostiary.tlog.note import VerifierKey, decode_base64, encode_base64
from ostiary.tlog.tree import HASH_SIZE, leaf_hash, verify_inclusion

HEADER = "c2sp.org/tlog-proof@v1"


@dataclass(frozen=True, slots=True)
class Proof:
    """An entry's `index`, its inclusion proof (hashes of 32 bytes) and a signed checkpoint.

    `extra` is opaque and proven by nothing.
    """

    index: int
    hashes: tuple[bytes, ...]
    note: bytes
    extra: bytes = b""

    def text(self) -> str:
        """Return the file's text."""
        lines = [HEADER]
        if self.extra:
            lines.append(f"extra {encode_base64(self.extra)}")
        lines.append(f"index {self.index}")
        lines.extend(map(encode_base64, self.hashes))
        return "\n".join(lines) + "\n\n" + self.note.decode()

    @classmethod
    def parse(cls, text: str) -> Proof:
        """Read a file; IntegrityError unless it is spelled as `text` spells it."""
        head, separator, note = text.partition("\n\n")
        lines = head.split("\n")
        if not separator or lines.pop(0) != HEADER:
            raise IntegrityError("not a proof of c2sp.org/tlog-proof@v1")
        extra = b""
        if lines and lines[0].startswith("extra "):
            extra = decode_base64(lines.pop(0).removeprefix("extra "))
            if not extra:
                raise IntegrityError("the proof's extra line is empty")
        if not lines or not lines[0].startswith("index "):
            raise IntegrityError("the proof names no index")
        index = parse_number(lines[0].removeprefix("index "))
        hashes = tuple(decode_base64(line) for line in lines[1:])
        if any(len(item) != HASH_SIZE for item in hashes):
            raise IntegrityError("the proof holds something that is not a SHA-256 hash")
        try:
            return cls(index, hashes, note.encode(), extra)
        except UnicodeEncodeError:
            raise IntegrityError("the proof is not UTF-8") from None

    def verify(self, entry: bytes, key: VerifierKey) -> Checkpoint:
        """Return the checkpoint that proves `entry` at `index`; IntegrityError where none does."""
        checkpoint = Checkpoint.open(self.note, key)
        leaf = leaf_hash(entry)
        if not verify_inclusion(self.index, checkpoint.size, leaf, self.hashes, checkpoint.root):
            raise IntegrityError("the proof does not lead from the entry to the checkpoint")
        return checkpoint
