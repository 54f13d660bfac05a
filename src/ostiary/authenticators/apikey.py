"""API keys of Ostiary's own: `aif_` + `l` or `t` + public id + secret + check sum, 65 characters.

A key holds 256 random bits, so a keyed hash is all that its check needs: HMAC-SHA-256 under a
pepper that is not in the database. bcrypt is kept beside it for rows that come from elsewhere and
for the day on which the pepper is lost; no one else's request ever waits for it.
"""

from __future__ import annotations

import asyncio
import hmac
import math
import re
import secrets
import struct
import threading
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeVar

import bcrypt
import msgspec

from ostiary.errors import (
    ConfigurationError,
    RecordDamaged,
    ServiceUnavailable,
    Unauthenticated,
    UnavailableError,
)
from ostiary.exchange import Vouched
from ostiary.ports import Missing, Stale
from ostiary.rows import Change, KeyRow, PersonRow, ReplaceKey, TouchKey

ACTIVE = "active"

_T = TypeVar("_T")

_PREFIX = "aif_"
_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_PAIRS = tuple(high + low for high in _ALPHABET for low in _ALPHABET)
_PUBLIC = slice(5, 16)
_CHECKED = 59
_SHAPE = re.compile(r"aif_[lt][0-9A-Za-z]{60}")
_BCRYPT = re.compile(rb"\$2[aby]\$(\d\d)\$[./0-9A-Za-z]{53}")
_PEPPER_BYTES = 32
_GENERATION_BYTES = 8
_TOUCH_EVERY = 60.0
_DAMAGED = "The key's stored record cannot be authenticated; its owner needs a new key."
_INVALID = "The API key is not valid here; check it, or create a new one."
_CHALLENGE = {"WWW-Authenticate": 'Bearer error="invalid_token"'}


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Sizes: rows that are kept at hand, bcrypt threads, and checks that may wait for one."""

    rows_at_hand: int = 10_000
    slow_threads: int = 1
    slow_waiting: int = 8


class KeyStore(Protocol):
    """The part of `ports.Store` that keys need."""

    def changed(self) -> int:
        """See ports.Store."""
        ...

    async def key_by_public_id(self, public_id: str) -> KeyRow | None:
        """See ports.Store."""
        ...

    async def person(self, person: str) -> PersonRow | None:
        """See ports.Store."""
        ...

    async def commit(self, *changes: Change) -> None:
        """See ports.Store."""
        ...


@dataclass(frozen=True, slots=True)
class MintedKey:
    """A new key: `text` is shown once, `public_id` may be stored in the clear."""

    text: str = field(repr=False)
    public_id: str


@dataclass(slots=True)
class _Entry:
    """A row at hand with its owner; `authentic` is what the row's MAC said.

    `vouched` is what a good key of this row proves, None where no key of it can be good.
    """

    row: KeyRow
    authentic: bool
    vouched: Vouched | None


def mint(live: bool = True, random: Callable[[int], bytes] = secrets.token_bytes) -> MintedKey:
    """Make a key from 8 random bytes (public id) and 32 random bytes (secret)."""
    public_id = _base62(int.from_bytes(random(8)), 11)
    secret = _base62(int.from_bytes(random(32)), 43)
    body = f"{_PREFIX}{'l' if live else 't'}{public_id}{secret}"
    return MintedKey(body + _check_sum(body), public_id)


def is_well_formed(text: str) -> bool:
    """Whether a text has a key's shape and its check sum fits; asks no database."""
    return _SHAPE.fullmatch(text) is not None and text[_CHECKED:] == _check_sum(text[:_CHECKED])


def verifier(pepper: bytes, text: str) -> bytes:
    """Return 8 bytes that name the pepper, then HMAC-SHA-256(pepper, key): 40 bytes.

    The name is itself a MAC under the pepper, so a row that was made under another pepper is
    recognised, and nothing has to count generations.
    """
    return _Pepper(pepper).verifier(text)


class _Pepper:
    """A pepper made ready, so that a check costs one hash and not the key schedule too."""

    def __init__(self, pepper: bytes) -> None:
        name = hmac.digest(pepper, b"ostiary/pepper/v1", "sha256")
        self.generation = name[:_GENERATION_BYTES]
        self._begun = hmac.new(pepper, b"ostiary/key/v1\0", "sha256")

    def verifier(self, text: str) -> bytes:
        """See the function of this name."""
        mac = self._begun.copy()
        mac.update(text.encode())
        return self.generation + mac.digest()


def row_mac(row_key: bytes, row: KeyRow) -> bytes:
    """Return HMAC-SHA-256 over every column of a row but `mac` and `last_used`.

    Each column is preceded by its length, so that no two rows have one encoding.
    """
    columns = [
        row.id.encode(),
        row.public_id.encode(),
        row.person.encode(),
        row.name,
        row.verifier,
        row.bcrypt,
        b"".join(map(_prefixed, (p.encode() for p in row.permissions))),
        row.state.encode(),
        struct.pack(">d", row.created),
        b"" if row.expires is None else struct.pack(">d", row.expires),
    ]
    return hmac.digest(
        row_key, b"ostiary/key-row/v1\0" + b"".join(map(_prefixed, columns)), "sha256"
    )


def sealed(row_key: bytes, row: KeyRow) -> KeyRow:
    """Return the row with the MAC that belongs to its other columns."""
    return replace(row, mac=row_mac(row_key, row))


def is_authentic(row_key: bytes, row: KeyRow) -> bool:
    """Whether the row is as it was last sealed under `row_key`."""
    return hmac.compare_digest(row_mac(row_key, row), row.mac)


def new_row(
    minted: MintedKey,
    *,
    key_id: str,
    person: str,
    name: bytes,
    permissions: Iterable[str],
    created: float,
    expires: float | None,
    slow_hash: bytes,
    pepper: bytes,
    row_key: bytes,
) -> KeyRow:
    """Return the sealed row of a new, active key.

    `name` is an envelope, `slow_hash` what `hash_slowly` returned for the key, times are in
    seconds since the epoch.
    """
    return sealed(
        row_key,
        KeyRow(
            id=key_id,
            public_id=minted.public_id,
            person=person,
            name=name,
            verifier=verifier(pepper, minted.text),
            bcrypt=slow_hash,
            permissions=tuple(permissions),
            state=ACTIVE,
            created=created,
            expires=expires,
            mac=b"",
        ),
    )


class SlowHashes:
    """bcrypt in a few threads with a bounded queue, so that it can hold up nobody else.

    Whoever finds the queue full gets ServiceUnavailable (rule `key-check-busy`).
    """

    def __init__(self, threads: int = 1, waiting: int = 8, rounds: int = 12) -> None:
        """Run at most `threads` at once, keep at most `waiting` more; cost is 2^rounds."""
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="bcrypt")
        self._room = threading.BoundedSemaphore(threads + waiting)
        self._rounds = rounds

    async def hash(self, text: str) -> bytes:
        """Return the bcrypt hash of a key (65 bytes; bcrypt reads 72)."""
        return await self._run(lambda: bcrypt.hashpw(text.encode(), bcrypt.gensalt(self._rounds)))

    async def matches(self, text: str, hashed: bytes) -> bool:
        """Whether the text is what was hashed; a hash of unknown form or greater cost is not."""
        if not _is_affordable(hashed, max(self._rounds, 12)):
            return False
        return await self._run(lambda: _matches(text.encode(), hashed))

    async def _run(self, work: Callable[[], _T]) -> _T:
        if not self._room.acquire(blocking=False):
            raise ServiceUnavailable(
                "Too many keys are being checked the slow way; try again.",
                layer="authn",
                rule="key-check-busy",
                retry_after=2.0,
            )
        try:
            future = self._pool.submit(work)
        except RuntimeError:
            self._room.release()
            raise UnavailableError("the bcrypt threads have ended") from None
        # The place is free when the thread is, not when whoever asked has left.
        future.add_done_callback(lambda _: self._room.release())
        return await asyncio.wrap_future(future)

    def close(self) -> None:
        """Drop what waits, finish what runs."""
        self._pool.shutdown(wait=True, cancel_futures=True)


async def hash_slowly(text: str, hashes: SlowHashes) -> bytes:
    """Return the bcrypt hash that `new_row` takes, made off the event loop."""
    return await hashes.hash(text)


def build(
    options: Options,
    store: KeyStore,
    clock: Callable[[], float],
    *,
    pepper: bytes,
    row_key: bytes,
    hashes: SlowHashes | None = None,
) -> KeyAuthenticator:
    """Make the authenticator; `clock` gives seconds since the epoch.

    Pepper and row key are two keys of 32 bytes from outside the database. Raises
    ConfigurationError where one is shorter, both are the same, or a size is below 1.
    """
    if min(len(pepper), len(row_key)) < _PEPPER_BYTES or pepper == row_key:
        raise ConfigurationError("the API keys' pepper and row key must be two keys of 32 bytes")
    if min(options.rows_at_hand, options.slow_threads) < 1 or options.slow_waiting < 0:
        raise ConfigurationError("a size of the API key check is below its least value")
    slow = hashes or SlowHashes(options.slow_threads, options.slow_waiting)
    return KeyAuthenticator(
        store,
        clock,
        pepper=pepper,
        row_key=row_key,
        hashes=slow,
        rows_at_hand=options.rows_at_hand,
    )


class KeyAuthenticator:
    """Proves API keys. A revocation in any process counts at the next check.

    Unknown, revoked, expired and wrong keys, and keys of inactive persons, are refused alike.
    """

    method = "key"

    def __init__(
        self,
        store: KeyStore,
        clock: Callable[[], float],
        *,
        pepper: bytes,
        row_key: bytes,
        hashes: SlowHashes,
        rows_at_hand: int,
    ) -> None:
        """See `build`, which checks the values."""
        self._store = store
        self._clock = clock
        self._pepper = _Pepper(pepper)
        self._row_key = row_key
        self._hashes = hashes
        self._most = rows_at_hand
        self._nobody = bytes(len(self._pepper.verifier("")))
        self._rows: OrderedDict[str, _Entry] = OrderedDict()
        self._version: int | None = None
        self._used: dict[str, float] = {}
        self._handed: dict[str, float] = {}

    def claims(self, credential: str) -> bool:
        """Whatever begins with `aif_` is a key, or pretends to be one."""
        return credential.startswith(_PREFIX)

    async def authenticate(self, credential: str, address: str) -> Vouched:  # noqa: ARG002
        """Prove a key, or raise Unauthenticated (rule `key-invalid`, one sentence for all).

        Shape and check sum come first and ask no database; then the row by public id, the HMAC in
        constant time, the row's own MAC, its state and its owner. Raises RecordDamaged (rule
        `key-row-damaged`) to the holder of a genuine key whose row was altered, and
        ServiceUnavailable where the store cannot answer or too many slow checks wait.
        """
        if not is_well_formed(credential):
            raise _invalid()
        try:
            vouched, key_id = await self._prove(credential)
        except UnavailableError as error:
            raise ServiceUnavailable(
                "API keys cannot be checked now.",
                layer="authn",
                rule="key-store-unavailable",
                retry_after=5.0,
            ) from error
        self._used[key_id] = self._clock()
        return vouched

    def used(self) -> list[TouchKey]:
        """Hand out when keys were last used, at most once in 60 s for each key."""
        now = self._clock()
        self._handed = {k: at for k, at in self._handed.items() if now - at < _TOUCH_EVERY}
        due = [key for key in self._used if key not in self._handed]
        self._handed.update(dict.fromkeys(due, now))
        return [TouchKey(key, self._used.pop(key)) for key in due]

    def close(self) -> None:
        """End the bcrypt threads."""
        self._hashes.close()

    async def _prove(self, text: str) -> tuple[Vouched, str]:
        entry = await self._entry(text[_PUBLIC])
        presented = self._pepper.verifier(text)
        # A key that is not there costs the same comparison as one that is.
        stored = self._nobody if entry is None else entry.row.verifier
        if hmac.compare_digest(presented, stored) and entry is not None:
            if not entry.authentic:
                raise RecordDamaged(_DAMAGED, layer="authn", rule="key-row-damaged")
            return self._vouched(entry), entry.row.id
        if entry is None or not self._predates_pepper(entry.row):
            raise _invalid()
        return await self._prove_slowly(entry, text, presented)

    async def _prove_slowly(
        self, entry: _Entry, text: str, presented: bytes
    ) -> tuple[Vouched, str]:
        """Let bcrypt decide, once: then the row gets the HMAC that it lacks.

        Whatever can refuse without bcrypt does so before; the row is read again after it, so that
        a revocation of the meantime is not overwritten.
        """
        self._vouched(entry)
        if not entry.authentic or not await self._hashes.matches(text, entry.row.bcrypt):
            raise _invalid()
        self._rows.pop(entry.row.public_id, None)
        again = await self._entry(entry.row.public_id)
        if again is None or not again.authentic or again.row.bcrypt != entry.row.bcrypt:
            raise _invalid()
        vouched = self._vouched(again)
        if again.row.verifier != presented:
            renewed = sealed(self._row_key, replace(again.row, verifier=presented))
            try:
                await self._store.commit(ReplaceKey(renewed))
            except (Missing, Stale):
                raise _invalid() from None
            self._rows.pop(renewed.public_id, None)
        return vouched, again.row.id

    async def _entry(self, public_id: str) -> _Entry | None:
        version = self._store.changed()
        if version != self._version:
            self._rows.clear()
            self._version = version
        entry = self._rows.get(public_id)
        if entry is not None:
            self._rows.move_to_end(public_id)
            return entry
        row = await self._store.key_by_public_id(public_id)
        if row is None:
            return None
        owner = await self._store.person(row.person)
        entry = _Entry(row, is_authentic(self._row_key, row), _vouched_for(row, owner))
        # What was read before a change that was noticed meanwhile must not outlive it.
        if self._version == version:
            self._rows[public_id] = entry
            if len(self._rows) > self._most:
                self._rows.popitem(last=False)
        return entry

    def _vouched(self, entry: _Entry) -> Vouched:
        ends = math.inf if entry.row.expires is None else entry.row.expires
        if entry.vouched is None or self._clock() >= ends:
            raise _invalid()
        return entry.vouched

    def _predates_pepper(self, row: KeyRow) -> bool:
        return row.verifier[:_GENERATION_BYTES] != self._pepper.generation and row.bcrypt != b""


def _invalid() -> Unauthenticated:
    return Unauthenticated(_INVALID, layer="authn", rule="key-invalid", headers=_CHALLENGE)


def _vouched_for(row: KeyRow, owner: PersonRow | None) -> Vouched | None:
    if row.state != ACTIVE or owner is None or not owner.active:
        return None
    return Vouched(
        method=KeyAuthenticator.method,
        application=owner.application,
        roles=owner.roles,
        scopes=None,
        grants=frozenset(row.permissions),
        person=owner.id,
        key_id=row.id,
    )


def _base62(number: int, width: int) -> str:
    digits = []
    for _ in range(width):
        number, digit = divmod(number, 62)
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))


def _check_sum(body: str) -> str:
    number = zlib.crc32(body.encode())
    return _PAIRS[number // 62**4] + _PAIRS[number // 62**2 % 62**2] + _PAIRS[number % 62**2]


def _prefixed(column: bytes) -> bytes:
    return struct.pack(">I", len(column)) + column


def _is_affordable(hashed: bytes, rounds: int) -> bool:
    found = _BCRYPT.fullmatch(hashed)
    return found is not None and int(found[1]) <= rounds


def _matches(text: bytes, hashed: bytes) -> bool:
    try:
        return bcrypt.checkpw(text, hashed)
    except ValueError:
        return False
