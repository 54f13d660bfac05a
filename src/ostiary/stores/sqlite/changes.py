"""What each change writes, inside the writer's transaction.

What decides is looked at and written at once; what is only appended is gathered and written with
one statement for each table, which halves the cost of a commit.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from typing import Any, Final

from ostiary.ports import Missing, Stale
from ostiary.rows import (
    AddKey,
    AddPerson,
    AddRecord,
    AddTurn,
    CloseExchanges,
    DeleteConversation,
    KeyRow,
    MessageRow,
    ReplaceKey,
    Sequenced,
    SetRoles,
    TouchKey,
)

_SMALLEST_CELL: Final = 128

_FIND: Final = (
    "SELECT c.seq, c.messages, p.id FROM conversations c JOIN persons p ON p.seq = c.person"
    " WHERE c.id = ?"
)
_BEGIN: Final = (
    "INSERT INTO conversations (id, created, updated, messages, person)"
    " VALUES (?1, ?2, ?2, 0, (SELECT seq FROM persons WHERE id = ?3))"
)
_GROW: Final = (
    "UPDATE conversations SET messages = messages + ?, updated = max(updated, ?) WHERE seq = ?"
)
_LAY: Final = "INSERT INTO cells (seq, sealed) VALUES (?, ?)"
_REFILL: Final = "UPDATE cells SET sealed = ? WHERE seq = ?"
_MESSAGE: Final = (
    "INSERT INTO messages (conversation, position, id, role, created, cell, length)"
    " VALUES (?, ?, ?, ?, ?, ?, ?)"
)
_RECORD: Final = "INSERT INTO audit_outbox (id, body, mac) VALUES (?, ?, ?)"
_PRIVATE: Final = "INSERT INTO audit_private (record, name, person, envelope) VALUES (?, ?, ?, ?)"
_OPEN: Final = (
    "INSERT INTO open_exchanges (request, since)"
    " VALUES (?, coalesce((SELECT size FROM tree_state), 0)) ON CONFLICT DO NOTHING"
)
_REOPEN: Final = "INSERT INTO open_exchanges (request, since) VALUES (?, ?) ON CONFLICT DO NOTHING"
_CLOSE: Final = "DELETE FROM open_exchanges WHERE request = ?"
_TOUCH: Final = (
    "INSERT INTO key_uses (key, at) SELECT seq, ? FROM api_keys WHERE id = ?"
    " ON CONFLICT (key) DO UPDATE SET at = max(at, excluded.at)"
)


class Batch:
    """Changes that share a transaction. Nothing gathered is written before `flush`."""

    def __init__(self, cursor: sqlite3.Cursor) -> None:
        self.cursor = cursor
        self._known: dict[str, list[Any]] = {}
        self._growth: list[tuple[int, float, int]] = []
        self._messages: list[tuple[Any, ...]] = []
        self._cells: list[tuple[int, bytes]] = []
        self._records: list[tuple[Any, ...]] = []
        self._private: list[tuple[Any, ...]] = []
        self._opened: list[tuple[str]] = []
        self._closed: list[tuple[str]] = []
        self._next_cell = 0
        self._vacancies = False

    @property
    def gathered(self) -> int:
        """How many rows wait for `flush`."""
        return len(self._growth) + len(self._records)

    def flush(self) -> None:
        """Write what was gathered; constraints speak here at the latest."""
        many = self.cursor.executemany
        for sql, rows in (
            (_LAY, self._cells),
            (_MESSAGE, self._messages),
            (_GROW, self._growth),
            (_RECORD, self._records),
            (_PRIVATE, self._private),
            (_OPEN, self._opened),
            (_CLOSE, self._closed),
        ):
            if rows:
                many(sql, rows)
                rows.clear()
        self._known.clear()

    def add_turn(self, change: AddTurn) -> None:
        """Append messages; Stale by the change's own docstring."""
        for position, row in enumerate(change.messages, change.expected):
            if (
                row.position != position
                or row.conversation != change.conversation
                or row.person != change.person
            ):
                raise ValueError("a message does not belong to the turn that it came in")
        known = self._begin(change) if change.created else self._find(change.conversation)
        if known is None or known[1] != change.expected or known[2] != change.person:
            raise Stale("the conversation has moved on, or is not this person's")
        seq = known[0]
        known[1] += len(change.messages)
        self._growth.append((len(change.messages), change.at, seq))
        for row in change.messages:
            self._messages.append(
                (
                    seq,
                    row.position,
                    row.id,
                    row.role,
                    row.created,
                    self._lay(row),
                    len(row.content),
                )
            )

    def _begin(self, change: AddTurn) -> list[Any]:
        values = (change.conversation, change.at, change.person)
        self.cursor.execute(_BEGIN, values)
        known = [self.cursor.lastrowid, 0, change.person]
        self._known[change.conversation] = known
        return known

    def _find(self, conversation: str) -> list[Any] | None:
        known = self._known.get(conversation)
        if known is None:
            found = self.cursor.execute(_FIND, (conversation,)).fetchone()
            if found is not None:
                known = self._known[conversation] = list(found)
        return known

    def _lay(self, row: MessageRow) -> int:
        """Lay sealed bytes into an empty cell of their size, or append one; the cell's number."""
        size = cell_size(len(row.content))
        padded = row.content.ljust(size, b"\0")
        if not self._next_cell:
            self._next_cell, self._vacancies = self.cursor.execute(
                "SELECT coalesce(max(seq), 0) + 1, EXISTS (SELECT 1 FROM vacancies) FROM cells"
            ).fetchone()
        if self._vacancies:
            found = self.cursor.execute(
                "DELETE FROM vacancies WHERE cell ="
                " (SELECT cell FROM vacancies WHERE size = ? LIMIT 1) RETURNING cell",
                (size,),
            ).fetchall()
            if found:
                cell: int = found[0][0]
                self.cursor.execute(_REFILL, (padded, cell))
                return cell
        cell = self._next_cell
        self._next_cell += 1
        self._cells.append((cell, padded))
        return cell

    def add_record(self, change: AddRecord) -> None:
        """Put a record into the outbox, behind every earlier one."""
        row = change.row
        self._records.append((row.id, row.body, row.mac))
        for private in change.private:
            self._private.append((private.record, private.name, private.person, private.envelope))
        if change.opens is not None:
            self._opened.append((change.opens,))
        if change.closes is not None:
            self._closed.append((change.closes,))

    def close_exchanges(self, change: CloseExchanges) -> None:
        """Forget open exchanges; one that is not open is no fault."""
        self.flush()
        self.cursor.executemany(_CLOSE, [(request,) for request in change.requests])


def cell_size(length: int) -> int:
    """Round up to an eighth of the power of two below: at most 12.5 % air, eight sizes an octave.

    Few sizes, so that an emptied cell soon fits again.
    """
    if length <= _SMALLEST_CELL:
        return _SMALLEST_CELL
    step = 1 << (length.bit_length() - 4)
    return -(-length // step) * step


def _add_person(batch: Batch, change: AddPerson) -> None:
    row = change.row
    batch.cursor.execute(
        "INSERT INTO persons (id, blind_index, profile, roles, application, active, created)"
        " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (blind_index) DO NOTHING",
        (
            row.id,
            row.index,
            row.profile,
            json.dumps(row.roles),
            row.application,
            row.active,
            row.created,
        ),
    )


def _set_roles(batch: Batch, change: SetRoles) -> None:
    batch.cursor.execute(
        "UPDATE persons SET roles = ? WHERE id = ?", (json.dumps(change.roles), change.person)
    )
    if batch.cursor.rowcount != 1:
        raise Missing("the person does not exist")


def _key_values(row: KeyRow) -> tuple[Any, ...]:
    return (
        row.public_id,
        row.person,
        row.name,
        row.verifier,
        row.bcrypt,
        json.dumps(row.permissions),
        row.state,
        row.created,
        row.expires,
        row.mac,
        row.id,
    )


def _add_key(batch: Batch, change: AddKey) -> None:
    batch.cursor.execute(
        "INSERT INTO api_keys (public_id, person, name, verifier, bcrypt, permissions, state,"
        " created, expires, mac, id)"
        " VALUES (?, (SELECT seq FROM persons WHERE id = ?), ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        _key_values(change.row),
    )
    if change.row.last_used is not None:
        batch.cursor.execute(_TOUCH, (change.row.last_used, change.row.id))


def _replace_key(batch: Batch, change: ReplaceKey) -> None:
    batch.cursor.execute(
        "UPDATE api_keys SET public_id = ?, person = (SELECT seq FROM persons WHERE id = ?),"
        " name = ?, verifier = ?, bcrypt = ?, permissions = ?, state = ?, created = ?,"
        " expires = ?, mac = ? WHERE id = ?",
        _key_values(change.row),
    )
    if batch.cursor.rowcount != 1:
        raise Missing("the key does not exist")


def _touch_key(batch: Batch, change: TouchKey) -> None:
    """A key that is gone is no fault: its last use must not undo the commit that it rides on."""
    batch.cursor.execute(_TOUCH, (change.at, change.id))


def _delete_conversation(batch: Batch, change: DeleteConversation) -> None:
    batch.flush()
    found = batch.cursor.execute(_FIND, (change.id,)).fetchone()
    if found is None or found[2] != change.person:
        raise Missing("the conversation does not exist")
    conversation = found[:1]
    batch.cursor.execute(
        "INSERT INTO vacancies (cell, size) SELECT c.seq, length(c.sealed)"
        " FROM messages m JOIN cells c ON c.seq = m.cell WHERE m.conversation = ?",
        conversation,
    )
    batch.cursor.execute(
        "UPDATE cells SET sealed = zeroblob(length(sealed))"
        " WHERE seq IN (SELECT cell FROM messages WHERE conversation = ?)",
        conversation,
    )
    batch.cursor.execute("DELETE FROM conversations WHERE seq = ?", conversation)


def _sequenced(batch: Batch, change: Sequenced) -> None:
    """Records that are gone already are no fault; a tree that would shrink is."""
    batch.flush()
    batch.cursor.execute(
        "INSERT INTO tree_state (id, size, root) VALUES (1, ?, ?) ON CONFLICT (id) DO UPDATE"
        " SET size = excluded.size, root = excluded.root WHERE excluded.size >= size",
        (change.state.size, change.state.root),
    )
    if batch.cursor.rowcount != 1:
        raise Stale("the tree was larger already")
    ids = json.dumps(change.ids)
    batch.cursor.execute(
        "DELETE FROM audit_outbox WHERE position IN"
        " (SELECT position FROM audit_outbox ORDER BY position LIMIT ?)"
        " AND id IN (SELECT value FROM json_each(?))",
        (len(change.ids), ids),
    )
    if batch.cursor.rowcount < len(change.ids):  # not all stood in front
        batch.cursor.execute(
            "DELETE FROM audit_outbox WHERE id IN (SELECT value FROM json_each(?))", (ids,)
        )
    batch.cursor.executemany(_REOPEN, [(row.request, row.since) for row in change.opens])


APPLY: Final[dict[type, Callable[[Batch, Any], None]]] = {
    AddPerson: _add_person,
    SetRoles: _set_roles,
    AddKey: _add_key,
    ReplaceKey: _replace_key,
    TouchKey: _touch_key,
    AddTurn: Batch.add_turn,
    DeleteConversation: _delete_conversation,
    AddRecord: Batch.add_record,
    CloseExchanges: Batch.close_exchanges,
    Sequenced: _sequenced,
}
