"""The key hierarchy: root (a vault) → epoch key → one data key and one pseudonym key per subject.

The keystore is an SQLite file of its own, so that it has its own short-lived backups:

epochs          one key per epoch, wrapped by the vault          ┐ authenticated by the manifest
subject_keys    one data key per subject and generation          ┐
pseudonym_keys  one key per subject                              │ sealed under an epoch key, each
secrets         named keys of the gateway                        ┘ in its own place
manifest        the keystore's identity and a MAC over all epochs

Who can write the file but lacks the root cannot plant an epoch, move a key to another subject or
exchange two keys. He can put back an old copy of a row or of the file, or replace the whole
keystore; that is why `manifest_hash` is recorded in the audit log and erased ids are known there.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import re
import sqlite3
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Generic, Protocol, TypeVar

from ostiary.envelope import (
    KEY_ID_LENGTH,
    KEY_LENGTH,
    Context,
    DataKey,
    Purpose,
    Random,
    seal,
    unseal,
)
from ostiary.errors import ConfigurationError, IntegrityError, UnavailableError
from ostiary.keystore import (
    Epoch,
    commitment,
    connect,
    explained,
    lay_out,
    read_epochs,
    schema_version,
    transaction,
    verify_manifest,
)

CACHE_LIMIT: Final = 10_000

_COLUMN: Final = "wrapped"
_GATEWAY: Final = "gateway"
_TOMBSTONES: Final = "keystore.tombstones"
_MONTH: Final = re.compile(r"[0-9]{4}-(0[1-9]|1[0-2])")

Clock = Callable[[], float]
K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Wrapped:
    """A key under the root: the version of the root that wrapped it, and the wrapped bytes."""

    version: str
    blob: bytes = field(repr=False)


class KeyVault(Protocol):
    """Holds the root of the key hierarchy (`keyvaults/`) and never hands it out."""

    provider: str

    async def wrap(self, key: bytes) -> Wrapped:
        """Wrap a 32-byte key under the newest root; the first call may create the root.

        Raises ConfigurationError where the root may not be used as it lies, UnavailableError
        where it cannot be reached now.
        """
        ...

    async def unwrap(self, version: str, blob: bytes) -> bytes:
        """Return what was wrapped; IntegrityError for a wrong root or changed bytes.

        Never creates a root. Raises ConfigurationError and UnavailableError as `wrap` does.
        """
        ...


class KeyDestroyed(IntegrityError):
    """The key was destroyed by an erasure: what it sealed is gone for ever, by intention."""


class Keyring:
    """All keys of the gateway; safe to use from several threads and beside other processes.

    A key that another process destroyed is refused at the next call, and subjects that another
    process made are found. Reads answer from memory (at most 10 000 entries of each kind); the
    calls that write block until their change is on disk.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        identity: str,
        epochs: Mapping[int, DataKey],
        manifest: bytes,
        *,
        clock: Clock,
        random: Random,
    ) -> None:
        """Take an opened and verified keystore; `Keyring.open` is the way here."""
        self._connection = connection
        self._identity = identity
        self._epochs = epochs
        self._epoch = max(epochs)
        self._manifest_hash = hashlib.sha256(manifest).hexdigest()
        self._clock = clock
        self._random = random
        self._lock = threading.Lock()
        self._active: _Recent[str, DataKey] = _Recent(CACHE_LIMIT)
        self._by_id: _Recent[bytes, DataKey] = _Recent(CACHE_LIMIT)
        self._pseudonyms: _Recent[tuple[str, str], str] = _Recent(CACHE_LIMIT)
        self._secrets: _Recent[str, bytes] = _Recent(CACHE_LIMIT)
        self._data_version: int = -1
        self._tombstone_key = self.secret(_TOMBSTONES)

    @classmethod
    async def open(
        cls,
        path: Path,
        vault: KeyVault,
        *,
        create: bool,
        clock: Clock = time.time,
        random: Random = os.urandom,
    ) -> Keyring:
        """Open the keystore at `path`, or make one where `create` allows and none is there.

        The file is 0600, a folder made for it 0700, whatever the umask. Making it is atomic: a
        process killed in between leaves nothing that stops the next start, and of two processes
        one makes it. Every epoch is unwrapped and the manifest verified before this returns.
        Raises ConfigurationError (missing, open to others, newer schema, another vault),
        IntegrityError (wrong root, planted or changed epoch, damaged file), UnavailableError.
        """
        with explained():
            connection = connect(path, create=create)
        try:
            if create:
                await _make_first_epoch(connection, vault, clock, random)
            with explained():
                stored = read_epochs(connection)
            living = [epoch for epoch in stored.epochs if epoch.state != "destroyed"]
            opened = {epoch.id: await _open_epoch(epoch, vault) for epoch in living}
            keys = {number: key.key for number, key in opened.items()}
            manifest = verify_manifest(stored, keys)
            return cls(connection, stored.identity, opened, manifest, clock=clock, random=random)
        except BaseException:
            connection.close()
            raise

    def data_key(self, subject: str) -> DataKey:
        """Return the subject's active data key.

        Raises KeyDestroyed after an erasure, IntegrityError for a subject that was never made or
        a key row that was changed.
        """
        with self._lock, explained():
            self._notice_changes()
            return self._active_key(subject)

    def key_by_id(self, key_id: bytes) -> DataKey:
        """Return the data key of this id, active or for decryption only.

        Raises KeyDestroyed after an erasure, IntegrityError for an unknown id or a changed row.
        """
        with self._lock, explained():
            self._notice_changes()
            if (cached := self._by_id.get(key_id)) is not None:
                return cached
            row = self._connection.execute(
                "SELECT subject, generation, state, wrapped, epoch FROM subject_keys"
                " WHERE key_id = ?",
                (key_id,),
            ).fetchone()
            if row is None:
                raise IntegrityError("a record names a key that the keystore does not know")
            subject, generation, state, wrapped, epoch = row
            if state == "destroyed":
                raise KeyDestroyed("the key of this record was destroyed by an erasure")
            key = self._open(
                wrapped, epoch, subject, "subject_keys", key_id.hex(), revision=generation
            )
            return self._by_id.put(key_id, DataKey(key_id, key))

    def pseudonym(self, subject: str, month: str) -> str:
        """Return the subject's name in records of `month` ("YYYY-MM"): 26 base32 characters.

        Equal within a month, unlinkable across months without the subject's pseudonym key, and
        beyond recomputing once that key is destroyed. Raises KeyDestroyed and IntegrityError as
        `data_key` does, ValueError for another form of month.
        """
        with self._lock, explained():
            self._notice_changes()
            if (cached := self._pseudonyms.get((subject, month))) is not None:
                return cached
            if not _MONTH.fullmatch(month):
                raise ValueError("a month is written YYYY-MM")
            row = self._connection.execute(
                "SELECT wrapped, epoch FROM pseudonym_keys WHERE subject = ?", (subject,)
            ).fetchone()
            if row is None:
                raise self._missing(subject)
            wrapped, epoch = row
            key = self._open(wrapped, epoch, subject, "pseudonym_keys", subject)
            digest = hmac.digest(key, month.encode(), "sha256")[:16]
            name = base64.b32encode(digest).decode().rstrip("=").lower()
            return self._pseudonyms.put((subject, month), name)

    def create_subject(self, subject: str) -> None:
        """Make the subject's keys; they are on disk when this returns.

        Does nothing for a subject that has them, also where two processes ask at once. Raises
        KeyDestroyed for an erased subject: no late request can bring it back.
        """
        with self._lock, explained():
            self._notice_changes()
            if self._is_known(subject):
                return
            key = DataKey(self._random(KEY_ID_LENGTH), self._random(KEY_LENGTH))
            pseudonym_key = self._random(KEY_LENGTH)
            with transaction(self._connection):
                if self._is_known(subject):
                    return
                if self._is_destroyed(subject):
                    raise KeyDestroyed("this subject was erased")
                row = key.key_id.hex()
                self._connection.execute(
                    "INSERT INTO subject_keys VALUES (?, ?, 1, 'active', ?, ?, ?, NULL)",
                    (
                        key.key_id,
                        subject,
                        self._seal(key.key, subject, "subject_keys", row, 1),
                        self._epoch,
                        self._clock(),
                    ),
                )
                self._connection.execute(
                    "INSERT INTO pseudonym_keys VALUES (?, ?, ?)",
                    (
                        subject,
                        self._seal(pseudonym_key, subject, "pseudonym_keys", subject),
                        self._epoch,
                    ),
                )
            self._active.put(subject, key)
            self._by_id.put(key.key_id, key)

    def has_subject(self, subject: str) -> bool:
        """Whether the subject has keys: made by any process, and not destroyed."""
        with self._lock, explained():
            self._notice_changes()
            return self._is_known(subject)

    def is_destroyed(self, subject: str) -> bool:
        """Whether the subject was erased; a restored older database is checked against this."""
        with self._lock, explained():
            self._notice_changes()
            return self._is_destroyed(subject)

    def destroy_subject(self, subject: str) -> tuple[bytes, ...]:
        """Destroy all keys of the subject and return their ids, oldest first.

        When this returns, no byte of a wrapped key is left in the keystore or its WAL; the ids
        stay known as destroyed, the subject only as a keyed digest. Repeating it returns the same
        ids, and () for a subject that never was. Raises UnavailableError where another process
        kept the WAL from being emptied: the keys are destroyed, and a repetition empties it.
        """
        tombstone = self._tombstone(subject)
        with self._lock, explained():
            with transaction(self._connection):
                self._connection.execute(
                    "UPDATE subject_keys SET subject = ?, state = 'destroyed', wrapped = NULL,"
                    " destroyed = ? WHERE subject = ?",
                    (tombstone, self._clock(), subject),
                )
                self._connection.execute("DELETE FROM pseudonym_keys WHERE subject = ?", (subject,))
                rows = self._connection.execute(
                    "SELECT key_id FROM subject_keys WHERE subject = ? ORDER BY generation",
                    (tombstone,),
                ).fetchall()
            self._forget()
            self._empty_wal()
        return tuple(key_id for (key_id,) in rows)

    def secret(self, name: str, make: Callable[[], bytes] | None = None) -> bytes:
        """Return the named secret, made durably at the first use: 32 random bytes, or `make()`.

        All processes get the same bytes. Raises IntegrityError for a changed row.
        """
        with self._lock, explained():
            self._notice_changes()
            if (cached := self._secrets.get(name)) is not None:
                return cached
            row = self._secret_row(name)
            if row is None:
                value = self._random(KEY_LENGTH) if make is None else make()
                with transaction(self._connection):
                    if self._secret_row(name) is None:
                        self._write_secret(name, 1, value)
                row = self._secret_row(name)
            generation, wrapped, epoch = row
            value = self._open(wrapped, epoch, _GATEWAY, "secrets", name, revision=generation)
            return self._secrets.put(name, value)

    def put_secret(self, name: str, value: bytes) -> None:
        """Store `value` as the named secret, durably; what it replaces is overwritten on disk."""
        with self._lock, explained():
            with transaction(self._connection):
                row = self._secret_row(name)
                self._write_secret(name, 1 if row is None else row[0] + 1, value)
            self._secrets.put(name, value)
            if row is not None:
                self._empty_wal()

    def manifest_hash(self) -> str:
        """Return SHA-256, in hex, of the verified manifest: RFC 8785 JSON of every epoch.

        It pins the keystore's identity and each epoch's key. A start-up whose hash the audit log
        does not know means that the keystore was replaced.
        """
        return self._manifest_hash

    def close(self) -> None:
        """Forget all keys and close the file; every later call raises UnavailableError."""
        with self._lock:
            self._forget()
            self._connection.close()

    def _notice_changes(self) -> None:
        version = self._connection.execute("PRAGMA data_version").fetchone()[0]
        if version != self._data_version:
            self._forget()
            self._data_version = version

    def _forget(self) -> None:
        for cache in (self._active, self._by_id, self._pseudonyms, self._secrets):
            cache.clear()

    def _active_key(self, subject: str) -> DataKey:
        if (cached := self._active.get(subject)) is not None:
            return cached
        row = self._connection.execute(
            "SELECT key_id, generation, wrapped, epoch FROM subject_keys"
            " WHERE subject = ? AND state = 'active'",
            (subject,),
        ).fetchone()
        if row is None:
            raise self._missing(subject)
        key_id, generation, wrapped, epoch = row
        if not isinstance(key_id, bytes):
            raise IntegrityError("a row of the keystore was changed")
        key = self._open(wrapped, epoch, subject, "subject_keys", key_id.hex(), revision=generation)
        return self._active.put(subject, DataKey(key_id, key))

    def _is_known(self, subject: str) -> bool:
        if self._active.get(subject) is not None:
            return True
        query = "SELECT 1 FROM subject_keys WHERE subject = ? AND state = 'active'"
        return self._connection.execute(query, (subject,)).fetchone() is not None

    def _is_destroyed(self, subject: str) -> bool:
        query = "SELECT 1 FROM subject_keys WHERE subject = ? LIMIT 1"
        tombstone = self._tombstone(subject)
        return self._connection.execute(query, (tombstone,)).fetchone() is not None

    def _missing(self, subject: str) -> IntegrityError:
        if self._is_destroyed(subject):
            return KeyDestroyed("this subject was erased")
        return IntegrityError("the keystore has no keys for this subject")

    def _tombstone(self, subject: str) -> str:
        # A keyed digest: whoever finds the file cannot tell who was erased.
        return "erased:" + hmac.digest(self._tombstone_key, subject.encode(), "sha256").hex()

    def _secret_row(self, name: str) -> Any:
        return self._connection.execute(
            "SELECT generation, wrapped, epoch FROM secrets WHERE name = ?", (name,)
        ).fetchone()

    def _write_secret(self, name: str, generation: int, value: bytes) -> None:
        sealed = self._seal(value, _GATEWAY, "secrets", name, generation)
        self._connection.execute(
            "INSERT OR REPLACE INTO secrets VALUES (?, ?, ?, ?)",
            (name, generation, sealed, self._epoch),
        )

    def _seal(self, key: bytes, subject: str, table: str, row: str, revision: int = 0) -> bytes:
        context = Context(self._identity, subject, table, _COLUMN, row, revision)
        epoch = self._epochs[self._epoch]
        return seal(key, epoch, Purpose.WRAPPED_KEY, context, random=self._random)

    def _open(
        self, wrapped: Any, epoch: Any, subject: str, table: str, row: str, *, revision: Any = 0
    ) -> bytes:
        # SQLite columns hold any type, whatever they declare, once another hand wrote them.
        key = self._epochs.get(epoch) if isinstance(epoch, int) else None
        if key is None or not isinstance(wrapped, bytes) or not isinstance(revision, int):
            raise IntegrityError("a row of the keystore was changed")
        context = Context(self._identity, subject, table, _COLUMN, row, revision)
        return unseal(wrapped, key, Purpose.WRAPPED_KEY, context)

    def _empty_wal(self) -> None:
        busy = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        if busy:
            raise UnavailableError("the keystore's WAL is in use and could not be emptied")


class _Recent(Generic[K, V]):
    """The most recently used entries, at most `limit`; its repr names no entry."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._entries: OrderedDict[K, V] = OrderedDict()

    def get(self, key: K) -> V | None:
        value = self._entries.get(key)
        if value is not None:
            self._entries.move_to_end(key)
        return value

    def put(self, key: K, value: V) -> V:
        self._entries[key] = value
        self._entries.move_to_end(key)
        if len(self._entries) > self._limit:
            self._entries.popitem(last=False)
        return value

    def clear(self) -> None:
        self._entries.clear()


async def _make_first_epoch(
    connection: sqlite3.Connection, vault: KeyVault, clock: Clock, random: Random
) -> None:
    with explained():
        if schema_version(connection) != 0:
            return
    key, identity = random(KEY_LENGTH), random(KEY_ID_LENGTH).hex()
    wrapped = await vault.wrap(key)
    first = Epoch(1, vault.provider, wrapped.version, wrapped.blob, commitment(key), "active")
    with explained():
        lay_out(connection, identity, first, key, clock())


async def _open_epoch(epoch: Epoch, vault: KeyVault) -> DataKey:
    if epoch.provider != vault.provider:
        raise ConfigurationError(
            f"the keystore's root is in the key vault {epoch.provider!r},"
            f" but the configuration names {vault.provider!r}"
        )
    if epoch.wrapped is None:
        raise IntegrityError("an epoch of the keystore was changed")
    key = await vault.unwrap(epoch.version, epoch.wrapped)
    if len(key) != KEY_LENGTH or not hmac.compare_digest(commitment(key), epoch.commitment):
        raise IntegrityError("an epoch of the keystore was changed")
    return DataKey(epoch.commitment[:KEY_ID_LENGTH], key)
