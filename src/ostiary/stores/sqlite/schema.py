"""The file, closed to others, and its schema: numbered scripts, each run once."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from importlib import resources
from pathlib import Path
from typing import Final

from ostiary.errors import ConfigurationError, UnavailableError

OLDEST_SQLITE: Final = (3, 37, 0)  # STRICT tables; RETURNING came with 3.35
PATIENCE: Final = 10.0  # seconds that a writer or reader waits for another process


def create(path: Path) -> None:
    """Make the file closed to others, whatever the umask; SQLite gives -wal and -shm its mode.

    An existing file is never opened here: closing it would drop the locks that this process may
    hold on it (POSIX advisory locks).
    """
    try:
        missing = [folder for folder in (path.parent, *path.parent.parents) if not folder.exists()]
        for folder in reversed(missing):
            folder.mkdir(mode=0o700, exist_ok=True)
            folder.chmod(0o700)
        with contextlib.suppress(FileExistsError):
            handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
            os.fchmod(handle, 0o600)
            os.close(handle)
            _settle(path.parent)
        for name in (path, path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")):
            with contextlib.suppress(FileNotFoundError):
                name.chmod(0o600)
    except OSError as error:
        raise UnavailableError(f"store.path: {error.strerror}") from None


def _settle(folder: Path) -> None:
    """Make a new name in a folder survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def connect(path: Path, patience: float) -> sqlite3.Connection:
    """Connect with what every connection needs; `patience` is in seconds."""
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        raise ConfigurationError(
            f"store.kind: SQLite {sqlite3.sqlite_version} is too old, 3.37 is the oldest that works"
        )
    connection = sqlite3.connect(
        path, timeout=patience, isolation_level=None, check_same_thread=False
    )
    for pragma in (
        "PRAGMA synchronous = FULL",
        "PRAGMA fullfsync = ON",  # macOS: fsync alone leaves the drive's cache
        "PRAGMA checkpoint_fullfsync = ON",
        "PRAGMA secure_delete = ON",
        "PRAGMA foreign_keys = ON",
        "PRAGMA trusted_schema = OFF",
        "PRAGMA temp_store = MEMORY",  # no temporary file may hold what is deleted here
        "PRAGMA journal_size_limit = 67108864",
    ):
        connection.execute(pragma).fetchall()
    return connection


def migrate(connection: sqlite3.Connection) -> None:
    """Bring the schema up to date; safe where several processes start at once."""
    _use_wal(connection)
    scripts = _scripts()
    connection.execute("BEGIN EXCLUSIVE")
    try:
        version: int = connection.execute("PRAGMA user_version").fetchone()[0]
        if version > len(scripts):
            raise ConfigurationError(
                f"store.path: the database has schema {version}, this version knows {len(scripts)};"
                " start the version that wrote it, or restore a backup"
            )
        for script in scripts[version:]:
            for statement in _statements(script):
                connection.execute(statement)
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _use_wal(connection: sqlite3.Connection) -> None:
    """Switch to WAL; the switch is the one lock for which SQLite itself does not wait."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
            continue
        if mode != "wal":
            raise ConfigurationError("store.path: the file system there does not support WAL")
        return


def _scripts() -> list[str]:
    """The numbered scripts in order; each sets `user_version` to its own number."""
    folder = resources.files("ostiary.stores.sqlite")
    files = sorted((f for f in folder.iterdir() if f.name.endswith(".sql")), key=lambda f: f.name)
    return [file.read_text("utf-8") for file in files]


def _statements(script: str) -> list[str]:
    """A script's statements, those of triggers whole."""
    found, pending = [], ""
    for line in script.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            found.append(pending)
            pending = ""
    return found
