"""Signed notes with one Ed25519 signature (https://c2sp.org/signed-note, type 0x01).

The form is closed: one text, one signature line, canonical base64. Every byte of a note is either
signed or fixed by the form, so that nobody can change one and keep the note valid.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ostiary.errors import ConfigurationError, IntegrityError

ED25519 = b"\x01"

_SEPARATOR = "\n\n\N{EM DASH} "
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A key name and an Ed25519 public key of 32 bytes: what a reader of notes trusts."""

    name: str
    public: bytes

    @property
    def id(self) -> bytes:
        """The key id: SHA-256(name ‖ 0x0A ‖ 0x01 ‖ public key)[:4] (c2sp.org/signed-note)."""
        return hashlib.sha256(self.name.encode() + b"\n" + ED25519 + self.public).digest()[:4]

    def __str__(self) -> str:
        """Return the written form: `name+hex key id+base64(0x01 ‖ public key)`."""
        return f"{self.name}+{self.id.hex()}+{encode_base64(ED25519 + self.public)}"

    @classmethod
    def parse(cls, text: str) -> VerifierKey:
        """Read the written form; ConfigurationError where it is not exactly that."""
        name, _, rest = text.partition("+")
        key_id, _, encoded = rest.partition("+")
        try:
            blob = decode_base64(encoded)
        except IntegrityError:
            blob = b""
        if not is_key_name(name) or len(blob) != 33 or blob[:1] != ED25519:
            raise ConfigurationError("not an Ed25519 verifier key of a signed note")
        key = cls(name, blob[1:])
        if key_id != key.id.hex():
            raise ConfigurationError("the verifier key's id does not belong to its key")
        return key


@dataclass(frozen=True, slots=True)
class NoteSigner:
    """A key name and an Ed25519 private key. The key never shows in a repr."""

    name: str
    private: Ed25519PrivateKey = field(repr=False)

    def __post_init__(self) -> None:
        """Refuse a name that a note could not carry."""
        if not is_key_name(self.name):
            raise ConfigurationError("a note's key name has no space, plus or control character")

    @classmethod
    def from_seed(cls, name: str, seed: bytes) -> NoteSigner:
        """Take the 32-byte private key of RFC 8032 §5.1.5."""
        return cls(name, Ed25519PrivateKey.from_private_bytes(seed))

    @property
    def verifier_key(self) -> VerifierKey:
        """What others need to verify this signer's notes."""
        raw = self.private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        return VerifierKey(self.name, raw)

    def sign(self, text: str) -> bytes:
        """Return the signed note over `text`, which ends in a newline; ValueError where not."""
        if not text.endswith("\n") or _CONTROL.search(text):
            raise ValueError("a note's text is lines of printable text")
        signature = self.private.sign(text.encode())
        line = encode_base64(self.verifier_key.id + signature)
        return f"{text}\n\N{EM DASH} {self.name} {line}\n".encode()


def open_note(note: bytes, key: VerifierKey) -> str:
    """Return the text (with its last newline) of a note that carries `key`'s signature alone.

    Raises IntegrityError for a wrong signature and for every form but the one that `sign` writes:
    a further signature line, another key, base64 with loose bits, a control character.
    """
    try:
        decoded = note.decode()
    except UnicodeDecodeError:
        raise IntegrityError("the note is not UTF-8") from None
    if _CONTROL.search(decoded):
        raise IntegrityError("the note holds a control character")
    # The last separator counts: a text may itself hold an empty line and a dash.
    body, separator, line = decoded.rpartition(_SEPARATOR)
    if not separator or not line.endswith("\n"):
        raise IntegrityError("the note has no signature line")
    name, _, encoded = line[:-1].partition(" ")
    if name != key.name:
        raise IntegrityError("the note is signed by another key")
    blob = decode_base64(encoded)
    if blob[:4] != key.id:
        raise IntegrityError("the note is signed by another key")
    text = body + "\n"
    try:
        Ed25519PublicKey.from_public_bytes(key.public).verify(blob[4:], text.encode())
    except (InvalidSignature, ValueError):
        raise IntegrityError("the note's signature does not verify") from None
    return text


def is_key_name(name: str) -> bool:
    """Tell whether `name` is not empty and has no Unicode space, plus or control character."""
    return bool(name) and "+" not in name and not any(c.isspace() or c < " " for c in name)


def encode_base64(data: bytes) -> str:
    """Return standard base64 with padding (RFC 4648 §4)."""
    return base64.b64encode(data).decode()


def decode_base64(text: str) -> bytes:
    """Read base64 in its one canonical spelling; IntegrityError for any other (RFC 4648 §3.5)."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise IntegrityError("not base64") from None
    if encode_base64(data) != text:
        raise IntegrityError("not canonical base64")
    return data
