"""SQLite's errors → ours. Its own texts can quote names and values and are never passed on."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from typing import Final

from ostiary.errors import ConfigurationError, IntegrityError, UnavailableError
from ostiary.ports import Missing, Stale

# What one commit can do wrong; everything else that SQLite raises is the disk's or the file's.
OWN_FAULTS: Final = (
    Stale,
    Missing,
    sqlite3.IntegrityError,
    sqlite3.DataError,
    sqlite3.ProgrammingError,
    sqlite3.InterfaceError,
    OverflowError,
    TypeError,
    ValueError,
)


def own_fault(error: Exception) -> Exception:
    """What the caller of a commit is told that failed by its own contents."""
    if not isinstance(error, sqlite3.IntegrityError):
        return error
    code = error.sqlite_errorcode
    # An owner is looked up by id while its row is written: nobody found is NULL.
    if code in (sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY, sqlite3.SQLITE_CONSTRAINT_NOTNULL):
        return Missing("a row that the change refers to does not exist")
    if code in (sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY):
        return Stale("an id is taken already")
    return IntegrityError("a value is not of its column's form, or not sealed")


def unavailable(doing: str, error: sqlite3.Error) -> UnavailableError:
    """The database cannot be used; the text holds SQLite's name of the reason alone."""
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    return UnavailableError(f"the database cannot {doing}: {name}")


@contextlib.contextmanager
def translated(doing: str) -> Iterator[None]:
    """Raise UnavailableError, or ConfigurationError for no database, in place of SQLite's."""
    try:
        yield
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_NOTADB:
            raise ConfigurationError("store.path: the file is not a database") from None
        raise unavailable(doing, error) from None
