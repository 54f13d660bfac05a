"""The encrypted record: one byte layout for rows, exports and wrapped keys.

off  len
  0    2  magic "AF"
  2    1  version, 1
  3    1  suite, 1 = Cobblestone-256
  4    1  flags, 0
  5    1  purpose
  6   16  key id, random; says nothing about the person
 22   24  salt                    ┐
 46   32  key commitment          │ an unmodified Cobblestone-256 ciphertext
 78    n  chunks of 16 KiB + tag  ┘ (https://c2sp.org/chunked-encryption)

The header and the record's place (tenant, subject, table, column, row, revision) are the context
of the key derivation, so no bit is malleable and no record opens in another's place. Replaying an
older record at the same revision is not detected here: the audit log carries revisions.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from ostiary.errors import IntegrityError

HEADER_LENGTH: Final = 22
KEY_ID_LENGTH: Final = 16
KEY_LENGTH: Final = 32
OVERHEAD: Final = 94

_PREFIX: Final = b"AF\x01\x01\x00"
_DOMAIN: Final = b"aif/env/v1\x00"
_SALT_LENGTH: Final = 24
_COMMITMENT_LENGTH: Final = 32
_NONCE_LENGTH: Final = 12
_TAG_LENGTH: Final = 16
_CHUNK: Final = 16_384
_SEALED_CHUNK: Final = _CHUNK + _TAG_LENGTH
_BODY: Final = _SALT_LENGTH + _COMMITMENT_LENGTH
_HASH: Final = SHA512()

Random = Callable[[int], bytes]


class Purpose(IntEnum):
    """What a sealed record holds; the number is on disk and never changes its meaning."""

    MESSAGE = 1
    CONVERSATION = 2
    PROFILE = 3
    AUDIT_PRIVATE = 4
    EXPORT = 5
    CONFIGURATION_SECRET = 6
    PII_FINDING = 7
    WRAPPED_KEY = 8
    KEY_NAME = 9


_PURPOSES: Final = frozenset(int(purpose) for purpose in Purpose)


@dataclass(frozen=True, slots=True)
class Context:
    """The one place where a sealed record may be opened."""

    tenant: str
    subject: str
    table: str
    column: str
    row: str
    revision: int = 0

    def encode(self, header: bytes) -> bytes:
        """Return the unambiguous bytes of this place under `header` (22 bytes).

        Domain ‖ header ‖ u16 length ‖ UTF-8 of each part ‖ u64 revision. Raises IntegrityError
        for an empty part, one above 65 535 bytes, and a revision outside u64.
        """
        pieces = [_DOMAIN, header]
        try:
            for part in (self.tenant, self.subject, self.table, self.column, self.row):
                text = part.encode()
                if not text:
                    raise IntegrityError("a sealed record's place has an empty part")
                pieces.append(len(text).to_bytes(2, "big"))
                pieces.append(text)
            pieces.append(self.revision.to_bytes(8, "big"))
        except (OverflowError, UnicodeEncodeError):
            raise IntegrityError("a sealed record's place cannot be encoded") from None
        return b"".join(pieces)


@dataclass(frozen=True, slots=True)
class DataKey:
    """A 32-byte key, uniformly random, and its 16-byte public id; other lengths are refused."""

    key_id: bytes
    key: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.key_id) != KEY_ID_LENGTH or len(self.key) != KEY_LENGTH:
            raise IntegrityError("a data key or its id has the wrong length")


def seal(
    plaintext: bytes,
    key: DataKey,
    purpose: Purpose,
    context: Context,
    *,
    random: Random = os.urandom,
) -> bytes:
    """Return an envelope of len(plaintext) + 94 bytes (+ 16 for each full 16 KiB).

    It opens only with `key`, for `purpose`, in `context`; equal plaintexts give unrelated
    envelopes. `random` must never return the same 24 bytes twice for one key.
    """
    header = _PREFIX + purpose.to_bytes(1, "big") + key.key_id
    return header + COBBLESTONE_256.encrypt(
        plaintext, key.key, context.encode(header), salt=random(_SALT_LENGTH)
    )


def unseal(envelope: bytes, key: DataKey, purpose: Purpose, context: Context) -> bytes:
    """Return exactly the bytes that were sealed with this key, purpose and context.

    Raises IntegrityError for everything else, before a byte of plaintext exists outside.
    """
    header = _PREFIX + purpose.to_bytes(1, "big") + key.key_id
    if envelope[:HEADER_LENGTH] != header:
        raise IntegrityError("the sealed record is of another key, purpose or format")
    return COBBLESTONE_256.decrypt(
        memoryview(envelope)[HEADER_LENGTH:], key.key, context.encode(header)
    )


def key_id_of(envelope: bytes) -> bytes:
    """Return the 16-byte id of the key that an envelope names.

    The header is parsed strictly, and is proven only by `unseal`; IntegrityError where this
    cannot be an envelope.
    """
    if (
        len(envelope) < OVERHEAD
        or envelope[: len(_PREFIX)] != _PREFIX
        or envelope[len(_PREFIX)] not in _PURPOSES
    ):
        raise IntegrityError("this is not a sealed record of a known format")
    return envelope[HEADER_LENGTH - KEY_ID_LENGTH : HEADER_LENGTH]


@dataclass(frozen=True, slots=True)
class Cobblestone:
    """C2SP chunked-encryption over one AES-GCM, with HKDF-Expand-SHA-512 and key commitment.

    A message is held in memory, so its chunk counter cannot come near the limit of 2^38.
    """

    aead: bytes
    key_length: int

    def encrypt(self, plaintext: bytes, key: bytes, context: bytes, *, salt: bytes) -> bytes:
        """Return salt ‖ commitment ‖ chunks; a (key, salt) pair must never be used twice."""
        if len(salt) != _SALT_LENGTH:
            raise IntegrityError("a salt has the wrong length")
        message_key, nonce, commitment = self._derive(key, salt, context)
        return salt + commitment + _seal_chunks(plaintext, message_key, nonce)

    def decrypt(self, ciphertext: bytes | memoryview, key: bytes, context: bytes) -> bytes:
        """Return the whole plaintext or raise IntegrityError.

        The commitment is compared in constant time before any chunk is decrypted, so that a
        ciphertext has at most one key and context under which anything of it opens.
        """
        if len(ciphertext) < _BODY:
            raise IntegrityError("the sealed record is truncated")
        view = memoryview(ciphertext)
        message_key, nonce, commitment = self._derive(key, bytes(view[:_SALT_LENGTH]), context)
        if not hmac.compare_digest(commitment, view[_SALT_LENGTH:_BODY]):
            raise IntegrityError("the sealed record does not belong to this key and place")
        return _open_chunks(view[_BODY:], message_key, nonce)

    def _derive(self, key: bytes, salt: bytes, context: bytes) -> tuple[bytes, bytes, bytes]:
        if len(key) != self.key_length:
            raise IntegrityError("a key has the wrong length")
        info = b"c2sp.org/chunked-encryption@v1+" + self.aead + b"\x00" + salt + context
        split = self.key_length + _NONCE_LENGTH
        okm = HKDFExpand(_HASH, split + _COMMITMENT_LENGTH, info).derive(key)
        return okm[: self.key_length], okm[self.key_length : split], okm[split:]


COBBLESTONE_256: Final = Cobblestone(b"AEAD_AES_256_GCM", KEY_LENGTH)


def _seal_chunks(plaintext: bytes, key: bytes, nonce: bytes) -> bytes:
    cipher = AESGCM(key)
    if len(plaintext) < _CHUNK:
        return cipher.encrypt(nonce, plaintext, None)
    view = memoryview(plaintext)
    # The range runs to len + 1: a message of whole chunks ends in an empty one, the end mark.
    return b"".join(
        cipher.encrypt(_numbered(nonce, start // _CHUNK), view[start : start + _CHUNK], None)
        for start in range(0, len(plaintext) + 1, _CHUNK)
    )


def _open_chunks(body: memoryview, key: bytes, nonce: bytes) -> bytes:
    if len(body) % _SEALED_CHUNK < _TAG_LENGTH:
        # No tag's worth of bytes is left for the short last chunk: the end was cut off.
        raise IntegrityError("the sealed record is truncated")
    cipher = AESGCM(key)
    try:
        if len(body) < _SEALED_CHUNK:
            return cipher.decrypt(nonce, body, None)
        return b"".join(
            cipher.decrypt(
                _numbered(nonce, start // _SEALED_CHUNK), body[start : start + _SEALED_CHUNK], None
            )
            for start in range(0, len(body), _SEALED_CHUNK)
        )
    except InvalidTag:
        raise IntegrityError("the sealed record was changed") from None


def _numbered(nonce: bytes, chunk: int) -> bytes:
    return (int.from_bytes(nonce, "big") ^ chunk).to_bytes(_NONCE_LENGTH, "big")
