"""What each change writes, inside the writer's transaction.

`vacancies` says whether there are emptied cells; only contents need it (see `cells` in the schema).
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
    ReplaceKey,
    Sequenced,
    SetRoles,
    TouchKey,
)

_SMALLEST_CELL: Final = 128

_TOUCH: Final = (
    "INSERT INTO key_uses (key, at) SELECT seq, ? FROM api_keys WHERE id = ?"
    " ON CONFLICT (key) DO UPDATE SET at = max(at, excluded.at)"
)
_OPEN: Final = (
    "INSERT INTO open_exchanges (request, since)"
    " VALUES (?, coalesce((SELECT size FROM tree_state), 0)) ON CONFLICT DO NOTHING"
)
_REOPEN: Final = "INSERT INTO open_exchanges (request, since) VALUES (?, ?) ON CONFLICT DO NOTHING"
_CLOSE: Final = "DELETE FROM open_exchanges WHERE request = ?"
_NEW_CONVERSATION: Final = (
    "INSERT INTO conversations (id, person, created, updated, messages) VALUES (?1, ?2, ?3, ?3, ?4)"
)
_GROW_CONVERSATION: Final = (
    "UPDATE conversations SET messages = messages + ?, updated = max(updated, ?)"
    " WHERE id = ? AND person = ? AND messages = ? RETURNING seq"
)


def _add_person(cursor: sqlite3.Cursor, change: AddPerson, _: bool) -> None:
    row = change.row
    cursor.execute(
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


def _set_roles(cursor: sqlite3.Cursor, change: SetRoles, _: bool) -> None:
    cursor.execute(
        "UPDATE persons SET roles = ? WHERE id = ?", (json.dumps(change.roles), change.person)
    )
    if cursor.rowcount != 1:
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


def _add_key(cursor: sqlite3.Cursor, change: AddKey, _: bool) -> None:
    cursor.execute(
        "INSERT INTO api_keys (public_id, person, name, verifier, bcrypt, permissions, state,"
        " created, expires, mac, id) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        _key_values(change.row),
    )
    if change.row.last_used is not None:
        cursor.execute(_TOUCH, (change.row.last_used, change.row.id))


def _replace_key(cursor: sqlite3.Cursor, change: ReplaceKey, _: bool) -> None:
    cursor.execute(
        "UPDATE api_keys SET public_id = ?, person = ?, name = ?, verifier = ?, bcrypt = ?,"
        " permissions = ?, state = ?, created = ?, expires = ?, mac = ? WHERE id = ?",
        _key_values(change.row),
    )
    if cursor.rowcount != 1:
        raise Missing("the key does not exist")


def _touch_key(cursor: sqlite3.Cursor, change: TouchKey, _: bool) -> None:
    """A key that is gone is no fault: its last use must not undo the commit that it rides on."""
    cursor.execute(_TOUCH, (change.at, change.id))


def _add_turn(cursor: sqlite3.Cursor, change: AddTurn, vacancies: bool) -> None:
    count = len(change.messages)
    if change.created:
        if change.expected != 0:
            raise Stale("a new conversation has no messages")
        cursor.execute(_NEW_CONVERSATION, (change.conversation, change.person, change.at, count))
        conversation = cursor.lastrowid
    else:
        found = cursor.execute(
            _GROW_CONVERSATION,
            (count, change.at, change.conversation, change.person, change.expected),
        ).fetchall()
        if not found:
            raise Stale("the conversation has moved on, or is not this person's")
        conversation = found[0][0]
    for position, row in enumerate(change.messages, change.expected):
        if (row.conversation, row.person, row.position) != (
            change.conversation,
            change.person,
            position,
        ):
            raise ValueError("a message does not belong to the turn that it came in")
        cell = _fill_cell(cursor, row.content, vacancies)
        cursor.execute(
            "INSERT INTO messages (conversation, position, id, role, created, cell, length)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (conversation, position, row.id, row.role, row.created, cell, len(row.content)),
        )


def _fill_cell(cursor: sqlite3.Cursor, content: bytes, vacancies: bool) -> int | None:
    """Lay sealed bytes into an empty cell of their size, or append one."""
    size = _cell_size(len(content))
    padded = content.ljust(size, b"\0")
    if vacancies:
        found = cursor.execute(
            "DELETE FROM vacancies WHERE cell ="
            " (SELECT cell FROM vacancies WHERE size = ? LIMIT 1) RETURNING cell",
            (size,),
        ).fetchall()
        if found:
            cell: int = found[0][0]
            cursor.execute("UPDATE cells SET sealed = ? WHERE seq = ?", (padded, cell))
            return cell
    cursor.execute("INSERT INTO cells (sealed) VALUES (?)", (padded,))
    return cursor.lastrowid


def _cell_size(length: int) -> int:
    """Round up to an eighth of the power of two below: at most 12.5 % air, eight sizes an octave.

    Few sizes, so that an emptied cell soon fits again.
    """
    if length <= _SMALLEST_CELL:
        return _SMALLEST_CELL
    step = 1 << (length.bit_length() - 4)
    return -(-length // step) * step


def _delete_conversation(cursor: sqlite3.Cursor, change: DeleteConversation, _: bool) -> None:
    found = cursor.execute(
        "SELECT seq FROM conversations WHERE id = ? AND person = ?", (change.id, change.person)
    ).fetchall()
    if not found:
        raise Missing("the conversation does not exist")
    conversation = found[0]
    cursor.execute(
        "INSERT INTO vacancies (cell, size) SELECT c.seq, length(c.sealed)"
        " FROM messages m JOIN cells c ON c.seq = m.cell WHERE m.conversation = ?",
        conversation,
    )
    cursor.execute(
        "UPDATE cells SET sealed = zeroblob(length(sealed))"
        " WHERE seq IN (SELECT cell FROM messages WHERE conversation = ?)",
        conversation,
    )
    cursor.execute("DELETE FROM conversations WHERE seq = ?", conversation)


def _add_record(cursor: sqlite3.Cursor, change: AddRecord, _: bool) -> None:
    row = change.row
    cursor.execute(
        "INSERT INTO audit_outbox (id, body, mac) VALUES (?, ?, ?)", (row.id, row.body, row.mac)
    )
    for private in change.private:
        cursor.execute(
            "INSERT INTO audit_private (record, name, person, envelope) VALUES (?, ?, ?, ?)",
            (private.record, private.name, private.person, private.envelope),
        )
    if change.opens is not None:
        cursor.execute(_OPEN, (change.opens,))
    if change.closes is not None:
        cursor.execute(_CLOSE, (change.closes,))


def _close_exchanges(cursor: sqlite3.Cursor, change: CloseExchanges, _: bool) -> None:
    cursor.executemany(_CLOSE, [(request,) for request in change.requests])


def _sequenced(cursor: sqlite3.Cursor, change: Sequenced, _: bool) -> None:
    """Records that are gone already are no fault; a tree that would shrink is."""
    cursor.execute(
        "INSERT INTO tree_state (id, size, root) VALUES (1, ?, ?) ON CONFLICT (id) DO UPDATE"
        " SET size = excluded.size, root = excluded.root WHERE excluded.size >= size",
        (change.state.size, change.state.root),
    )
    if cursor.rowcount != 1:
        raise Stale("the tree was larger already")
    cursor.execute(
        "DELETE FROM audit_outbox WHERE id IN (SELECT value FROM json_each(?))",
        (json.dumps(change.ids),),
    )
    cursor.executemany(_REOPEN, [(row.request, row.since) for row in change.opens])


APPLY: Final[dict[type, Callable[[sqlite3.Cursor, Any, bool], None]]] = {
    AddPerson: _add_person,
    SetRoles: _set_roles,
    AddKey: _add_key,
    ReplaceKey: _replace_key,
    TouchKey: _touch_key,
    AddTurn: _add_turn,
    DeleteConversation: _delete_conversation,
    AddRecord: _add_record,
    CloseExchanges: _close_exchanges,
    Sequenced: _sequenced,
}
