"""The keystore's file: its schema, its closed modes, and the manifest that binds its epochs.

Errors of SQLite become UnavailableError or IntegrityError here; nothing of this module ever holds
an unwrapped key longer than a call.
"""

from __future__ import annotations

import hmac
import json
import os
import sqlite3
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from ostiary.errors import ConfigurationError, IntegrityError, UnavailableError

SCHEMA_VERSION: Final = 1
BUSY_SECONDS: Final = 5.0

_SCHEMA: Final = (
    """CREATE TABLE epochs (
        id INTEGER PRIMARY KEY,
        provider TEXT NOT NULL,
        version TEXT NOT NULL,
        wrapped BLOB,
        commitment BLOB NOT NULL,
        state TEXT NOT NULL CHECK (state IN ('active', 'decrypt_only', 'destroyed')),
        created REAL NOT NULL,
        CHECK ((state = 'destroyed') = (wrapped IS NULL)))""",
    """CREATE TABLE subject_keys (
        key_id BLOB PRIMARY KEY NOT NULL,
        subject TEXT NOT NULL,
        generation INTEGER NOT NULL,
        state TEXT NOT NULL CHECK (state IN ('active', 'decrypt_only', 'destroyed')),
        wrapped BLOB,
        epoch INTEGER NOT NULL REFERENCES epochs (id),
        created REAL NOT NULL,
        destroyed REAL,
        UNIQUE (subject, generation),
        CHECK ((state = 'destroyed') = (wrapped IS NULL)))""",
    "CREATE UNIQUE INDEX one_active_key ON subject_keys (subject) WHERE state = 'active'",
    """CREATE TABLE pseudonym_keys (
        subject TEXT PRIMARY KEY NOT NULL,
        wrapped BLOB NOT NULL,
        epoch INTEGER NOT NULL REFERENCES epochs (id))""",
    """CREATE TABLE secrets (
        name TEXT PRIMARY KEY NOT NULL,
        generation INTEGER NOT NULL,
        wrapped BLOB NOT NULL,
        epoch INTEGER NOT NULL REFERENCES epochs (id))""",
    """CREATE TABLE manifest (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        identity TEXT NOT NULL,
        mac BLOB NOT NULL)""",
)
_EPOCH_COMMITMENT: Final = b"ostiary/keystore/epoch-commitment/v1"
_MANIFEST_MAC: Final = b"ostiary/keystore/manifest/v1"


@dataclass(frozen=True, slots=True)
class Epoch:
    """One row of `epochs`, as it lies: nothing of it is proven before `verify_manifest`."""

    id: int
    provider: str
    version: str
    wrapped: bytes | None = field(repr=False)
    commitment: bytes
    state: str


@dataclass(frozen=True, slots=True)
class Stored:
    """Manifest and epochs of one moment; nothing of it is proven before `verify_manifest`."""

    identity: str
    mac: bytes
    epochs: Sequence[Epoch]


def make_private_folder(path: Path) -> None:
    """Make the folder with mode 0700, whatever the umask; leave one that exists as it is.

    Raises ConfigurationError where others may replace what lies in it, or it cannot be made.
    """
    try:
        _make_folder(path)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be made: {error.strerror}") from None


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(mode=0o700, parents=True)
        path.chmod(0o700)
    except FileExistsError:
        mode = path.stat().st_mode
        if mode & (stat.S_IWGRP | stat.S_IWOTH) and not mode & stat.S_ISVTX:
            raise ConfigurationError(
                f"{path} can be written by others: run `chmod 700 {path}`"
            ) from None


def require_private(path: Path, mode: int) -> None:
    """Raise ConfigurationError, with the chmod to run, where a key file is open to others."""
    if not stat.S_ISREG(mode):
        raise ConfigurationError(f"{path} is not a regular file")
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ConfigurationError(f"{path} is open to others: run `chmod 600 {path}`")


class explained:  # noqa: N801 - read like a function; a generator costs a microsecond more
    """Turn SQLite's errors into ours; their texts may name paths and stay the private cause."""

    __slots__ = ()

    def __enter__(self) -> None:
        """Do nothing."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Raise UnavailableError (cannot be used now) or IntegrityError (damaged) instead."""
        if isinstance(error, (sqlite3.OperationalError, sqlite3.ProgrammingError)):
            raise UnavailableError("the keystore cannot be used now") from error
        if isinstance(error, sqlite3.DatabaseError):
            raise IntegrityError("the keystore is damaged") from error


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All or nothing, and on disk at the end; no other process writes in between."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.commit()
    except BaseException:
        connection.rollback()
        raise


def connect(path: Path, *, create: bool) -> sqlite3.Connection:
    """Open the file in WAL mode, durable and with secure deletion; make an empty one if asked.

    Raises ConfigurationError where it is missing, open to others or of a newer schema. The
    connection may be used from any thread, by one at a time.
    """
    try:
        if create:
            make_private_folder(path.parent)
            _make_private_file(path)
        require_private(path, path.stat().st_mode)
    except FileNotFoundError:
        raise ConfigurationError(f"{path} is missing: there is no keystore") from None
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be used: {error.strerror}") from None
    connection = sqlite3.connect(
        path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
    )
    try:
        _prepare(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _make_private_file(path: Path) -> None:
    # SQLite gives its WAL and shared memory the mode that this file has.
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if os.fstat(descriptor).st_size == 0:
            os.fchmod(descriptor, 0o600)
    finally:
        os.close(descriptor)


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    if schema_version(connection) > SCHEMA_VERSION:
        raise ConfigurationError(
            f"{path} was written by a newer Ostiary: this one knows schema {SCHEMA_VERSION}"
        )
    for pragma in ("secure_delete = ON", "journal_mode = WAL", "synchronous = FULL"):
        connection.execute(f"PRAGMA {pragma}")


def schema_version(connection: sqlite3.Connection) -> int:
    """Return the schema's number; 0 where no keystore was laid out yet."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def lay_out(
    connection: sqlite3.Connection, identity: str, first: Epoch, key: bytes, now: float
) -> None:
    """Make the tables, the first epoch and its manifest, unless another process just did."""
    mac = manifest_mac(_manifest(identity, [first]), [key])
    with transaction(connection):
        if schema_version(connection) != 0:
            return
        for statement in _SCHEMA:
            connection.execute(statement)
        connection.execute(
            "INSERT INTO epochs VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                first.id,
                first.provider,
                first.version,
                first.wrapped,
                first.commitment,
                first.state,
                now,
            ),
        )
        connection.execute("INSERT INTO manifest VALUES (1, ?, ?)", (identity, mac))
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def read_epochs(connection: sqlite3.Connection) -> Stored:
    """Read manifest and epochs as of one moment, from exactly the schema of `lay_out`.

    Raises ConfigurationError where nothing was laid out, IntegrityError for anything else.
    """
    connection.execute("BEGIN")
    try:
        version = schema_version(connection)
        laid = connection.execute("SELECT sql FROM sqlite_master WHERE sql NOT NULL").fetchall()
        # A planted trigger could keep copies of keys that are to be destroyed.
        genuine = sorted(sql for (sql,) in laid) == sorted(_SCHEMA)
        manifest = rows = None
        if genuine:
            manifest = connection.execute("SELECT identity, mac FROM manifest").fetchone()
            rows = connection.execute(
                "SELECT id, provider, version, wrapped, commitment, state FROM epochs ORDER BY id"
            ).fetchall()
    finally:
        connection.rollback()
    if version == 0:
        raise ConfigurationError("the file of the keystore is empty: there is no keystore")
    if manifest is None or rows is None:
        raise IntegrityError("the keystore's schema or manifest was changed")
    if not _typed(manifest, str, bytes) or not all(
        _typed(row, int, str, str, (bytes, type(None)), bytes, str) for row in rows
    ):
        raise IntegrityError("an epoch of the keystore was changed")
    return Stored(manifest[0], manifest[1], [Epoch(*row) for row in rows])


def _typed(row: Sequence[Any], *kinds: Any) -> bool:
    return all(isinstance(value, kind) for value, kind in zip(row, kinds, strict=True))


def verify_manifest(stored: Stored, keys: Mapping[int, bytes]) -> bytes:
    """Return the manifest if its MAC holds under the keys of all living epochs, by their ids.

    The newest living epoch, and only it, is active. Raises IntegrityError else.
    """
    manifest = _manifest(stored.identity, stored.epochs)
    active = [epoch.id for epoch in stored.epochs if epoch.state == "active"]
    mac = manifest_mac(manifest, [keys[number] for number in sorted(keys)])
    if active != [max(keys, default=0)] or not hmac.compare_digest(mac, stored.mac):
        raise IntegrityError("the keystore's manifest does not verify: an epoch was planted")
    return manifest


def _manifest(identity: str, epochs: Sequence[Epoch]) -> bytes:
    # All names and values are ASCII strings and small integers: this is RFC 8785's form.
    return json.dumps(
        {
            "epochs": [
                {"commitment": epoch.commitment.hex(), "id": epoch.id, "state": epoch.state}
                for epoch in epochs
            ],
            "keystore": identity,
            "v": 1,
        },
        sort_keys=True,
        separators=(",", ":"),
    ).encode()


def manifest_mac(manifest: bytes, keys: Sequence[bytes]) -> bytes:
    """HMAC under a key that only who knows every living epoch key can derive (RFC 5869 §2.2).

    A vault that wraps with a public key lets anybody wrap an epoch of his own; he cannot make
    it a member of this set.
    """
    return hmac.digest(hmac.digest(_MANIFEST_MAC, b"".join(keys), "sha512"), manifest, "sha512")


def commitment(key: bytes) -> bytes:
    """Return 32 public bytes that no other epoch key has (HKDF-Expand-SHA-512, RFC 5869)."""
    return HKDFExpand(SHA512(), 32, _EPOCH_COMMITMENT).derive(key)
