"""Checkpoints: a log's name, size and root as the text of a signed note (c2sp.org/tlog-checkpoint).

Extension lines are neither written nor read: no monitor could audit them.
"""

from __future__ import annotations

from dataclasses import dataclass

from ostiary.errors import IntegrityError
from ostiary.tlog.note import NoteSigner, VerifierKey, decode_base64, encode_base64, open_note
from ostiary.tlog.tree import HASH_SIZE

MAX_SIZE = 1 << 63
"""Sizes below this one; beyond it the tiles of C2SP have no level."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A promise: the log named `origin` holds exactly `size` entries under `root` (32 bytes)."""

    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        """Return the three lines that are signed."""
        return f"{self.origin}\n{self.size}\n{encode_base64(self.root)}\n"

    def sign(self, signer: NoteSigner) -> bytes:
        """Return the signed note."""
        return signer.sign(self.text())

    @classmethod
    def open(cls, note: bytes, key: VerifierKey) -> Checkpoint:
        """Verify a note and read it; IntegrityError unless each byte is as `sign` writes it.

        The origin must be the key's own name, so that one log's key speaks for no other log.
        """
        checkpoint = cls.parse(open_note(note, key))
        if checkpoint.origin != key.name:
            raise IntegrityError("the checkpoint is of another log")
        return checkpoint

    @classmethod
    def parse(cls, text: str) -> Checkpoint:
        """Read the three lines, whose signature is already verified; IntegrityError else."""
        lines = text.split("\n")
        if len(lines) != 4 or lines[3] or not lines[0]:
            raise IntegrityError("a checkpoint has three lines")
        root = decode_base64(lines[2])
        if len(root) != HASH_SIZE:
            raise IntegrityError("the checkpoint's root is not a SHA-256 hash")
        return cls(lines[0], parse_number(lines[1]), root)


def parse_number(text: str) -> int:
    """Read an ASCII decimal without sign, space or leading zero; IntegrityError for any other."""
    if not (text.isascii() and text.isdigit() and len(text) <= 19):
        raise IntegrityError("not a decimal number")
    number = int(text)
    if str(number) != text or number >= MAX_SIZE:
        raise IntegrityError("not a canonical number")
    return number
