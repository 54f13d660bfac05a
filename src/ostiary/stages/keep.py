"""The sealed store: prompt and answer of `/api/chat` in one transaction, under her own key.

What is kept is the text after policy. A message's envelope is bound to its person and its row,
so that no row can be moved, and a row that does not verify is an error, never left out.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from ostiary.envelope import Context, Purpose, seal, unseal
from ostiary.errors import Conflict, IntegrityError, NotFound, RecordDamaged
from ostiary.exchange import Screened
from ostiary.keyring import Keyring
from ostiary.persons import TENANT
from ostiary.ports import Store
from ostiary.rows import AddTurn, MessageRow
from ostiary.wire.tokens import estimate

LAYER = "keep"


@dataclass(frozen=True, slots=True)
class Said:
    """One message, opened."""

    id: str
    role: str
    content: str

    def __repr__(self) -> str:
        """Hide the text."""
        return f"Said({self.role})"


@dataclass(frozen=True, slots=True)
class Thread:
    """The conversation that an exchange belongs to, as it was when the exchange began."""

    id: str
    person: str
    created: bool
    count: int
    history: tuple[Said, ...] = ()


class Keeper:
    """Opens and extends conversations. One exchange at a time has a conversation."""

    def __init__(
        self,
        store: Store,
        keyring: Keyring,
        clock: Callable[[], float],
        *,
        history_tokens: int,
        record: str,
    ) -> None:
        """`record` is store.record; `history_tokens` bounds what of the past the model is told."""
        self._store = store
        self._keyring = keyring
        self._clock = clock
        self._history_tokens = history_tokens
        self._record = record
        self._busy: set[str] = set()

    async def begin(self, person: str, conversation: str | None) -> Thread:
        """Take a conversation for one exchange: a new one, or hers. 404, or 409 while taken."""
        if conversation is None:
            thread = Thread(str(uuid.uuid4()), person, created=True, count=0)
        else:
            if conversation in self._busy:
                raise Conflict(
                    "This conversation is still answering another message.",
                    layer=LAYER,
                    rule="conversation-busy",
                )
            self._busy.add(conversation)
            try:
                thread = await self._open(person, conversation)
            except BaseException:
                self._busy.discard(conversation)
                raise
        self._busy.add(thread.id)
        return thread

    def end(self, thread: Thread) -> None:
        """Give the conversation free."""
        self._busy.discard(thread.id)

    async def _open(self, person: str, conversation: str) -> Thread:
        row = await self._store.conversation(conversation)
        if row is None or row.person != person:
            raise unknown_conversation()
        said = self.open(await self._store.messages(conversation))
        history = newest_turns(said, self._history_tokens)
        return Thread(conversation, person, created=False, count=row.messages, history=history)

    def open(self, rows: Iterable[MessageRow]) -> tuple[Said, ...]:
        """Decrypt messages in order; RecordDamaged where one does not verify."""
        try:
            return tuple(Said(row.id, row.role, self._unseal(row).decode()) for row in rows)
        except IntegrityError as cause:
            raise RecordDamaged(
                "A stored message of this conversation cannot be authenticated.",
                layer=LAYER,
                rule="message-damaged",
            ) from cause

    def turn(self, thread: Thread, screened: Screened, answer: str) -> AddTurn | None:
        """The change that keeps this exchange, or None where nothing is to be kept."""
        if self._record == "none":
            return None
        now = self._clock()
        texts = (("user", screened.message), ("assistant", answer))
        messages = tuple(
            self._seal(thread, thread.count + offset, role, text, now)
            for offset, (role, text) in enumerate(texts)
        )
        return AddTurn(
            conversation=thread.id,
            person=thread.person,
            at=now,
            created=thread.created,
            expected=thread.count,
            messages=messages,
        )

    def _seal(self, thread: Thread, position: int, role: str, text: str, now: float) -> MessageRow:
        message = str(uuid.uuid4())
        sealed = seal(
            text.encode(),
            self._keyring.data_key(thread.person),
            Purpose.MESSAGE,
            _context(thread.person, f"{thread.id}/{position}/{role}/{message}"),
        )
        return MessageRow(message, thread.id, thread.person, position, role, sealed, now)

    def _unseal(self, row: MessageRow) -> bytes:
        key = self._keyring.data_key(row.person)
        place = f"{row.conversation}/{row.position}/{row.role}/{row.id}"
        return unseal(row.content, key, Purpose.MESSAGE, _context(row.person, place))


def _context(person: str, place: str) -> Context:
    """Where a message belongs: whoever writes the database can neither move nor relabel it."""
    return Context(TENANT, person, "messages", "content", place)


def newest_turns(said: Sequence[Said], tokens: int) -> tuple[Said, ...]:
    """The newest whole turns (a question and its answer) that fit into so many tokens."""
    start, left = len(said), tokens
    while start >= 2:
        left -= sum(estimate(message.content) for message in said[start - 2 : start])
        if left < 0:
            break
        start -= 2
    return tuple(said[start:])


def unknown_conversation() -> NotFound:
    """The same answer for a conversation that is not there and for somebody else's."""
    return NotFound("There is no such conversation.", layer=LAYER, rule="conversation")
