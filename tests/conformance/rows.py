"""Rows for the tests of stores: random ids, and bytes that look like envelopes."""

from __future__ import annotations

import os
import uuid

from ostiary.rows import (
    AddRecord,
    AddTurn,
    KeyRow,
    MessageRow,
    OutboxRow,
    PersonRow,
    PrivateRow,
)


def new_id() -> str:
    return str(uuid.uuid4())


def sealed(length: int = 200) -> bytes:
    head = b"AF\x01\x01\x00\x01"
    return head + os.urandom(length - len(head))


def person(**fields) -> PersonRow:
    row = {
        "id": new_id(),
        "index": os.urandom(32),
        "profile": sealed(),
        "roles": ("User",),
        "application": False,
        "active": True,
        "created": 1.5,
    }
    return PersonRow(**{**row, **fields})


def key(owner: str, **fields) -> KeyRow:
    row = {
        "id": new_id(),
        "public_id": os.urandom(8).hex()[:11],
        "person": owner,
        "name": sealed(),
        "verifier": os.urandom(32),
        "bcrypt": b"$2b$12$" + b"x" * 53,
        "permissions": ("ai.chat.use",),
        "state": "active",
        "created": 1.5,
        "expires": None,
        "mac": os.urandom(32),
    }
    return KeyRow(**{**row, **fields})


def turn(owner: str, conversation: str | None = None, expected: int = 0, **fields) -> AddTurn:
    """Two messages; a new conversation where none is named."""
    conversation, created = conversation or new_id(), conversation is None
    at = fields.pop("at", 2.25)
    lengths = fields.pop("lengths", (1100, 2100))
    messages = tuple(
        MessageRow(new_id(), conversation, owner, expected + i, role, sealed(length), at)
        for i, (role, length) in enumerate(zip(("user", "assistant"), lengths, strict=True))
    )
    row = {"at": at, "created": created, "expected": expected, "messages": messages}
    return AddTurn(conversation, owner, **{**row, **fields})


def record(*names: str, owner: str = "") -> AddRecord:
    id_ = new_id()
    private = tuple(PrivateRow(id_, name, owner, sealed(150)) for name in names)
    return AddRecord(OutboxRow(id_, os.urandom(400), os.urandom(32)), private)
