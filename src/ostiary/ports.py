"""Every extension point, on one page. A plural folder holds one file for each implementation."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any, Protocol

from ostiary.errors import OstiaryError
from ostiary.exchange import Call, Finding, Limit, Vouched
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


class Stale(OstiaryError):
    """A change's precondition does not hold; nothing of its commit happened."""


class Missing(OstiaryError):
    """A change names a row that does not exist; nothing of its commit happened."""


class Authenticator(Protocol):
    """Proves who a credential belongs to (`authenticators/`)."""

    method: str

    def claims(self, credential: str) -> bool:
        """Whether this credential is this authenticator's to judge (decided by its form alone)."""
        ...

    async def authenticate(self, credential: str, address: str) -> Vouched:
        """Prove it, or raise Unauthenticated (401) or ServiceUnavailable (503)."""
        ...


class Detector(Protocol):
    """One kind of finding, decided locally, so that a stream needs only a bounded window.

    `text` is always folded text (`ostiary.folding`), offsets are into it. The law, which the answer
    guard depends on and `tests/conformance/test_detectors.py` checks for every detector:

    - bounded: no finding is longer than `reach`, and `len(text) - settled(text) <= reach`;
    - settled: for n = settled(text), the findings that begin before n are the same in `text` and in
      `text` followed by anything;
    - local: the findings that begin at or after `a + reach` are the same in `text` and `text[a:]`;
    - signed: every finding holds a match of `sign`, a regular expression as RE2 reads it.
    """

    @property
    def kind(self) -> str:
        """The name of the file, of the setting, and in audit and documents."""
        ...

    @property
    def personal(self) -> bool:
        """Personal data (redacted by default) or else active content."""
        ...

    @property
    def reach(self) -> int:
        """Code points: see the law."""
        ...

    @property
    def sign(self) -> str:
        """A cheap pattern, with its own inline flags, without which there can be no finding."""
        ...

    def find(self, text: str) -> list[Finding]:
        """All findings, sorted by start; each is decided by itself, so two may overlap."""
        ...

    def settled(self, text: str) -> int:
        """The offset before which no finding can appear, change or vanish, whatever follows."""
        ...


class Provider(Protocol):
    """Speaks to a model (`providers/`)."""

    name: str

    def answer(self, call: Call) -> AsyncGenerator[dict[str, Any], None]:
        """Yield the answer's events: decoded `chat.completion.chunk` objects, or one completion.

        Ends normally only after a whole answer; raises a Refusal of the layer "forward", never
        with the provider's text: ProviderFailed, ProviderSilent, TooManyRequests,
        ServiceUnavailable, or MalformedRequest and ProviderFiltered where the provider does not
        take this request. TooManyRequests, ServiceUnavailable and the rules
        `provider-unreachable` and `provider-connect` say that it surely did not begin.
        Every call it makes is taken off `call.course.calls`, and none is made beyond them.
        Closing the iterator cancels the call.
        """
        ...

    async def close(self) -> None:
        """Release connections."""
        ...


class Counters(Protocol):
    """Counts that decide (`counters/`): atomic, shared by whoever shares the backend."""

    async def spend(
        self, key: str, amount: int, *, quota: int, window: int, name: str
    ) -> tuple[bool, Limit]:
        """Take `amount` of `quota` per `window` seconds if there is room; say what is left.

        A refused spend takes nothing; `Limit.reset` is then when the same spend would pass.
        A full quota may be spent at once.
        """
        ...

    async def refund(self, key: str, amount: int, *, quota: int, window: int) -> None:
        """Give back (or, negative, take unconditionally) what a spend over- or under-took."""
        ...

    async def strike(self, key: str, *, limit: int, window: int, hold: int) -> float:
        """Count a failure; 0.0 while at most `limit` in `window` s, else seconds left to wait.

        The first strike above `limit` starts a hold of `hold` seconds, after which counting
        starts anew.
        """
        ...

    async def close(self) -> None:
        """Release connections."""
        ...


class Store(Protocol):
    """Durable state (`stores/`). A commit that returned survives kill -9 and a power cut."""

    async def commit(self, *changes: Change) -> None:
        """Apply all changes in one transaction, durably, or none; raises Stale or Missing."""
        ...

    def submit(self, *changes: Change) -> None:
        """Hand in a commit without waiting for it (for work that is being cancelled)."""
        ...

    def changed(self) -> int:
        """A number that moves when persons or keys change in any process; cheap (≤ 10 µs)."""
        ...

    async def person(self, person: str) -> PersonRow | None:
        """A person by id."""
        ...

    async def person_by_index(self, index: bytes) -> PersonRow | None:
        """A person by blind index."""
        ...

    async def persons(self) -> Sequence[PersonRow]:
        """Every person, oldest first."""
        ...

    async def key(self, key: str) -> KeyRow | None:
        """A key by id."""
        ...

    async def key_by_public_id(self, public_id: str) -> KeyRow | None:
        """A key by its public id."""
        ...

    async def keys(self, person: str | None = None) -> Sequence[KeyRow]:
        """A person's keys, or everyone's, oldest first, revoked ones too."""
        ...

    async def conversation(self, conversation: str) -> ConversationRow | None:
        """A conversation by id."""
        ...

    async def conversations(
        self, person: str, *, limit: int, before: tuple[float, str] | None = None
    ) -> Sequence[ConversationRow]:
        """A person's conversations, newest `updated` first (then id), after the cursor."""
        ...

    async def messages(self, conversation: str) -> Sequence[MessageRow]:
        """A conversation's messages in order."""
        ...

    async def outbox(self, limit: int) -> Sequence[OutboxRow]:
        """The oldest records that wait for the tree."""
        ...

    async def open_exchanges(self) -> Sequence[OpenExchange]:
        """The exchanges that have an intent and no closing record."""
        ...

    async def private(self, records: Sequence[str]) -> Mapping[str, Sequence[PrivateRow]]:
        """The sealed private fields of these records."""
        ...

    async def tree_state(self) -> TreeState | None:
        """The tree as the store last saw it."""
        ...

    async def close(self) -> None:
        """Finish what was handed in, checkpoint, close."""
        ...
