"""`ports.Store` on SQLite.

A commit that returned survives kill -9 and a power cut: WAL with `synchronous=FULL` (NORMAL loses
some at a power cut). Reads of one row by an index run where they are asked, in microseconds; the
others run in one reader thread. Both see every commit that returned before they began.

Deleted contents are overwritten with zeros in place, and an orderly close leaves no write-ahead
log, so that no file holds them then.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from ostiary.errors import UnavailableError
from ostiary.rows import (
    Change,
    ConversationRow,
    KeyRow,
    MessageRow,
    OpenExchange,
    OutboxRow,
    PersonRow,
    PrivateRow,
    TreeState,
)
from ostiary.stores.sqlite import schema
from ostiary.stores.sqlite.changes import APPLY
from ostiary.stores.sqlite.faults import translated, unavailable
from ostiary.stores.sqlite.writer import Group, Writer

_Row = tuple[Any, ...]
_T = TypeVar("_T")

_PERSON: Final = (
    "SELECT id, blind_index, profile, roles, application, active, created FROM persons WHERE id = ?"
)
_PERSON_BY_INDEX: Final = (
    "SELECT id, blind_index, profile, roles, application, active, created FROM persons"
    " WHERE blind_index = ?"
)
_PERSONS: Final = (
    "SELECT id, blind_index, profile, roles, application, active, created FROM persons"
    " ORDER BY created, seq"
)
_KEY_COLUMNS: Final = (
    "SELECT k.id, k.public_id, p.id, k.name, k.verifier, k.bcrypt, k.permissions, k.state,"
    " k.created, k.expires, k.mac, u.at FROM api_keys k JOIN persons p ON p.seq = k.person"
    " LEFT JOIN key_uses u ON u.key = k.seq "
)
_KEY: Final = _KEY_COLUMNS + "WHERE k.id = ?"
_KEY_BY_PUBLIC_ID: Final = _KEY_COLUMNS + "WHERE k.public_id = ?"
_KEYS: Final = _KEY_COLUMNS + "ORDER BY k.created, k.seq"
_KEYS_OF_PERSON: Final = _KEY_COLUMNS + "WHERE p.id = ? ORDER BY k.created, k.seq"
_CONVERSATION_COLUMNS: Final = (
    "SELECT c.id, p.id, c.created, c.updated, c.messages"
    " FROM conversations c JOIN persons p ON p.seq = c.person "
)
_CONVERSATION: Final = _CONVERSATION_COLUMNS + "WHERE c.id = ?"
_CONVERSATIONS: Final = (
    _CONVERSATION_COLUMNS + "WHERE p.id = ? ORDER BY c.updated DESC, c.id DESC LIMIT ?"
)
_CONVERSATIONS_BEFORE: Final = (
    _CONVERSATION_COLUMNS + "WHERE p.id = ? AND (c.updated, c.id) < (?, ?)"
    " ORDER BY c.updated DESC, c.id DESC LIMIT ?"
)
_MESSAGES: Final = (
    "SELECT m.id, c.id, p.id, m.position, m.role, substr(x.sealed, 1, m.length), m.created"
    " FROM conversations c JOIN persons p ON p.seq = c.person"
    " JOIN messages m ON m.conversation = c.seq JOIN cells x ON x.seq = m.cell"
    " WHERE c.id = ? ORDER BY m.position"
)
_OUTBOX: Final = "SELECT id, body, mac FROM audit_outbox ORDER BY position LIMIT ?"
_OPEN: Final = "SELECT request, since FROM open_exchanges ORDER BY request"
_PRIVATE: Final = (
    "SELECT record, name, person, envelope FROM audit_private"
    " WHERE record IN (SELECT value FROM json_each(?)) ORDER BY record, name"
)
_TREE_STATE: Final = "SELECT size, root FROM tree_state"
_COUNT: Final = "SELECT count FROM changes"


@dataclass(frozen=True, slots=True)
class Options:
    """`path` is the database file; its folder is made (0700) where it is missing."""

    path: str


def build(options: Options) -> SqliteStore:
    """A store that is not open yet; it touches no file before `open`."""
    return SqliteStore(Path(options.path))


class SqliteStore:
    """`ports.Store` on SQLite. `open` first; all methods belong to the loop that opened it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._open = False

    async def open(self) -> None:
        """Make or migrate the file and start the writer.

        Raises ConfigurationError where the file cannot be ours (a newer schema, no database, an
        SQLite that is too old) and UnavailableError where it cannot be used now.
        """
        self._loop = asyncio.get_running_loop()
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="sqlite-read")
        try:
            await self._loop.run_in_executor(self._reader, self._connect)
        except BaseException:
            self._reader.shutdown(wait=False)
            raise
        self._writer = Writer(self._writing, self._loop)
        self._open = True

    def _connect(self) -> None:
        with translated("open"):
            schema.create(self._path)
            connections = contextlib.ExitStack()
            with connections:
                self._writing = connections.enter_context(
                    contextlib.closing(schema.connect(self._path, schema.PATIENCE))
                )
                schema.migrate(self._writing)
                self._reading = connections.enter_context(
                    contextlib.closing(schema.connect(self._path, schema.PATIENCE))
                )
                # The loop never waits for a lock: what is busy moves to the reader thread.
                self._glancing = connections.enter_context(
                    contextlib.closing(schema.connect(self._path, 0.0))
                )
                for connection in (self._reading, self._glancing):
                    connection.execute("PRAGMA query_only = ON")
                connections.pop_all()

    # Writing

    async def commit(self, *changes: Change) -> None:
        """Apply all changes in one transaction, durably, or none.

        Raises Stale or Missing by the changes' own docstrings, Stale for an id that is taken,
        Missing for a person that is not there, IntegrityError for a personal value that is no
        envelope, and UnavailableError where the disk or another process forbids writing.
        A commit whose caller is cancelled meanwhile happens or not, as a whole.
        """
        future = self._loop.create_future()
        self._hand_in(Group(changes, future))
        await future

    def submit(self, *changes: Change) -> None:
        """Hand in a commit without waiting; nobody is told where it fails."""
        self._hand_in(Group(changes, None))

    def _hand_in(self, group: Group) -> None:
        if not self._open:
            raise UnavailableError("the store is closed")
        if any(type(change) not in APPLY for change in group.changes):
            raise TypeError("a change must be one of rows.Change")
        self._writer.put(group)

    # Reading

    def changed(self) -> int:
        """A number that moves when persons or keys change, whichever process changed them.

        Read anew each time: `PRAGMA data_version` first would save nothing, since it moves with
        every commit and costs as much as this row.
        """
        if not self._open:
            raise UnavailableError("the store is closed")
        try:
            count: int = self._glancing.execute(_COUNT).fetchone()[0]
        except sqlite3.Error as error:
            raise unavailable("read", error) from None
        return count

    async def person(self, person: str) -> PersonRow | None:
        """A person by id."""
        return _first(_person, await self._glance(_PERSON, (person,)))

    async def person_by_index(self, index: bytes) -> PersonRow | None:
        """A person by blind index."""
        return _first(_person, await self._glance(_PERSON_BY_INDEX, (index,)))

    async def persons(self) -> Sequence[PersonRow]:
        """Every person, oldest first."""
        return [_person(row) for row in await self._read(_PERSONS)]

    async def key(self, key: str) -> KeyRow | None:
        """A key by id."""
        return _first(_key, await self._glance(_KEY, (key,)))

    async def key_by_public_id(self, public_id: str) -> KeyRow | None:
        """A key by its public id."""
        return _first(_key, await self._glance(_KEY_BY_PUBLIC_ID, (public_id,)))

    async def keys(self, person: str | None = None) -> Sequence[KeyRow]:
        """A person's keys, or everyone's, oldest first, revoked ones too."""
        if person is None:
            return [_key(row) for row in await self._read(_KEYS)]
        return [_key(row) for row in await self._read(_KEYS_OF_PERSON, (person,))]

    async def conversation(self, conversation: str) -> ConversationRow | None:
        """A conversation by id."""
        return _first(_conversation, await self._glance(_CONVERSATION, (conversation,)))

    async def conversations(
        self, person: str, *, limit: int, before: tuple[float, str] | None = None
    ) -> Sequence[ConversationRow]:
        """A person's conversations by (updated, id), both descending, after the cursor."""
        if before is None:
            rows = await self._read(_CONVERSATIONS, (person, limit))
        else:
            rows = await self._read(_CONVERSATIONS_BEFORE, (person, *before, limit))
        return [_conversation(row) for row in rows]

    async def messages(self, conversation: str) -> Sequence[MessageRow]:
        """A conversation's messages in order."""
        return [MessageRow(*row) for row in await self._read(_MESSAGES, (conversation,))]

    async def outbox(self, limit: int) -> Sequence[OutboxRow]:
        """The oldest records that wait for the tree, in the order of their commits."""
        return [OutboxRow(*row) for row in await self._read(_OUTBOX, (limit,))]

    async def open_exchanges(self) -> Sequence[OpenExchange]:
        """The exchanges that have an intent and no closing record, oldest first."""
        return [OpenExchange(*row) for row in await self._read(_OPEN)]

    async def private(self, records: Sequence[str]) -> Mapping[str, Sequence[PrivateRow]]:
        """The sealed private fields of these records; an empty sequence where there are none."""
        found: dict[str, list[PrivateRow]] = {record: [] for record in records}
        for row in await self._read(_PRIVATE, (json.dumps(list(found)),)):
            found[row[0]].append(PrivateRow(*row))
        return found

    async def tree_state(self) -> TreeState | None:
        """The tree as the store last saw it."""
        return _first(lambda row: TreeState(*row), await self._read(_TREE_STATE))

    async def _glance(self, sql: str, values: _Row) -> list[_Row]:
        """Read one row where we are; what another process keeps busy waits in the thread."""
        if not self._open:
            raise UnavailableError("the store is closed")
        try:
            return self._glancing.execute(sql, values).fetchall()
        except sqlite3.OperationalError:
            return await self._read(sql, values)
        except sqlite3.Error as error:
            raise unavailable("read", error) from None

    async def _read(self, sql: str, values: _Row = ()) -> list[_Row]:
        if not self._open:
            raise UnavailableError("the store is closed")
        return await self._loop.run_in_executor(self._reader, self._fetch, sql, values)

    def _fetch(self, sql: str, values: _Row) -> list[_Row]:
        with translated("read"):
            return self._reading.execute(sql, values).fetchall()

    async def close(self) -> None:
        """Finish what was handed in, write the log back and cut it to nothing, close; once."""
        if not self._open:
            return
        self._open = False
        await self._loop.run_in_executor(self._reader, self._finish)
        self._reader.shutdown()

    def _finish(self) -> None:
        self._writer.stop()
        self._reading.close()
        self._glancing.close()
        # Another process that reads meanwhile checkpoints when it closes; we do not insist.
        with contextlib.closing(self._writing) as connection, contextlib.suppress(sqlite3.Error):
            connection.execute("PRAGMA busy_timeout = 1000")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def _first(make: Callable[[_Row], _T], rows: list[_Row]) -> _T | None:
    return make(rows[0]) if rows else None


def _person(row: _Row) -> PersonRow:
    return PersonRow(
        id=row[0],
        index=row[1],
        profile=row[2],
        roles=tuple(json.loads(row[3])),
        application=bool(row[4]),
        active=bool(row[5]),
        created=row[6],
    )


def _key(row: _Row) -> KeyRow:
    return KeyRow(
        id=row[0],
        public_id=row[1],
        person=row[2],
        name=row[3],
        verifier=row[4],
        bcrypt=row[5],
        permissions=tuple(json.loads(row[6])),
        state=row[7],
        created=row[8],
        expires=row[9],
        mac=row[10],
        last_used=row[11],
    )


def _conversation(row: _Row) -> ConversationRow:
    return ConversationRow(*row)
