"""What a store holds, and the changes that are made to it. Whatever is personal is an envelope.

Times are seconds since the epoch (float, UTC); ids are UUIDs in their canonical text form.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class PersonRow:
    """One person or application. `index` is a keyed blind index of tenant and object id."""

    id: str
    index: bytes = field(repr=False)
    profile: bytes = field(repr=False)
    roles: tuple[str, ...]
    application: bool
    active: bool
    created: float


@dataclass(frozen=True, slots=True)
class KeyRow:
    """One API key. `mac` authenticates every other column but `last_used`."""

    id: str
    public_id: str
    person: str
    name: bytes = field(repr=False)
    verifier: bytes = field(repr=False)
    bcrypt: bytes = field(repr=False)
    permissions: tuple[str, ...]
    state: str
    created: float
    expires: float | None
    mac: bytes = field(repr=False)
    last_used: float | None = None


@dataclass(frozen=True, slots=True)
class ConversationRow:
    """A conversation of `/api/chat`; `messages` counts its messages."""

    id: str
    person: str
    created: float
    updated: float
    messages: int


@dataclass(frozen=True, slots=True)
class MessageRow:
    """One message; `content` is an envelope; `position` counts from 0."""

    id: str
    conversation: str
    person: str
    position: int
    role: str
    content: bytes = field(repr=False)
    created: float


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """An audit record on its way into the tree: its JSON without `seq`, and a MAC over it."""

    id: str
    body: bytes = field(repr=False)
    mac: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class PrivateRow:
    """A personal field of an audit record: salt and value, sealed."""

    record: str
    name: str
    person: str
    envelope: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class TreeState:
    """How far the store knows the tree: its size and root hash."""

    size: int
    root: bytes


@dataclass(frozen=True, slots=True)
class OpenExchange:
    """An exchange without a closing record; its intent is record number `since` or a later one."""

    request: str
    since: int


@dataclass(frozen=True, slots=True)
class AddPerson:
    """Insert a person; a second insert of the same `index` changes nothing."""

    row: PersonRow


@dataclass(frozen=True, slots=True)
class SetRoles:
    """Replace a person's roles."""

    person: str
    roles: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AddKey:
    """Insert an API key."""

    row: KeyRow


@dataclass(frozen=True, slots=True)
class ReplaceKey:
    """Overwrite an API key's row (revocation, a new verifier); Missing where it is gone."""

    row: KeyRow


@dataclass(frozen=True, slots=True)
class TouchKey:
    """Note when a key was last used."""

    id: str
    at: float


@dataclass(frozen=True, slots=True)
class AddTurn:
    """Append messages to a conversation, which is made first where `created`.

    Stale where the conversation does not have `expected` messages or is not this person's.
    """

    conversation: str
    person: str
    at: float
    created: bool
    expected: int
    messages: tuple[MessageRow, ...]


@dataclass(frozen=True, slots=True)
class DeleteConversation:
    """Delete a conversation of this person and its messages; Missing where there is none."""

    id: str
    person: str


@dataclass(frozen=True, slots=True)
class AddRecord:
    """Put an audit record into the outbox, with its sealed private fields.

    `opens` and `closes` are request ids: of an exchange that begins with this record, or ends.
    Ending one that is not open is no fault.
    """

    row: OutboxRow
    private: tuple[PrivateRow, ...] = ()
    opens: str | None = None
    closes: str | None = None


@dataclass(frozen=True, slots=True)
class CloseExchanges:
    """Forget that these exchanges (request ids) are open: their closing records exist."""

    requests: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Sequenced:
    """Take records out of the outbox that the tree holds now, and note the tree's state.

    `opens`: exchanges that are open by the tree, of which an older copy of the store knew nothing.
    """

    ids: tuple[str, ...]
    state: TreeState
    opens: tuple[OpenExchange, ...] = ()


Change = (
    AddPerson
    | SetRoles
    | AddKey
    | ReplaceKey
    | TouchKey
    | AddTurn
    | DeleteConversation
    | AddRecord
    | CloseExchanges
    | Sequenced
)
