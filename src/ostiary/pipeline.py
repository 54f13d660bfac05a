"""The whole way of a request, and the one place that records.

Every request ends in exactly one closing record: an outcome, a refusal, or `interrupted`. The
order is in the types: each stage takes the value that only the stage before it can make.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Mapping
from concurrent.futures import Executor
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any

import structlog

from ostiary.errors import (
    Conflict,
    IntegrityError,
    ProviderFailed,
    RecordDamaged,
    Refusal,
    UnavailableError,
)
from ostiary.exchange import (
    Admitted,
    Arrival,
    Checked,
    Course,
    Face,
    Funded,
    Identified,
    Limit,
    Permission,
    Permitted,
    Screened,
    Usage,
)
from ostiary.policy import Policy
from ostiary.ports import Stale
from ostiary.rows import AddRecord, AddTurn
from ostiary.stages.admit import Door, admit, knows_host, peer_address
from ostiary.stages.authn import Identities, authenticate
from ostiary.stages.authz import permit
from ostiary.stages.budget import (
    MINUTE,
    Budget,
    LimitReached,
    Reservation,
    fund,
    reserve,
    settle,
)
from ostiary.stages.check import Rules, Turn, check, with_history
from ostiary.stages.detect import detect
from ostiary.stages.forward import Model, forward
from ostiary.stages.guard import AnswerGuard, guard_answer
from ostiary.stages.keep import Keeper, Thread
from ostiary.stages.ledger import Ledger, agent_of, unavailable

log = structlog.get_logger("ostiary")


@dataclass(frozen=True, slots=True)
class Done:
    """What an operation gives back: a status, a JSON body (None: empty) and what it recorded."""

    body: Any = field(repr=False, default=None)
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    limits: tuple[Limit, ...] = ()


Event = dict[str, Any] | Refusal

Operation = Callable[[Funded], Awaitable[Done]]


@dataclass(frozen=True, slots=True)
class Answer:
    """A model's answer on its way out. `events` are judged; `conversation` is set on /api/chat.

    A whole answer is a sequence of one event, and its record is durable already. A stream's
    events may end with a Refusal. Whoever holds `events` must close it: that is what notices a
    client that left.
    """

    screened: Screened
    limits: tuple[Limit, ...]
    events: Started = field(repr=False)
    guard: AnswerGuard = field(repr=False)
    conversation: str | None = None

    def usage(self) -> Usage:
        """Tokens so far."""
        return self.guard.usage

    def blocked(self) -> bool:
        """Whether the policy ended the answer, so far."""
        return self.guard.blocked

    def filters(self) -> dict[str, dict[str, bool]]:
        """What was found and done so far, as Azure's `content_filter_results` say it."""
        return self.guard.filter_results


@dataclass(frozen=True, slots=True)
class Refused:
    """A refusal that is recorded; `arrival` says whose shapes the body takes."""

    refusal: Refusal
    limits: tuple[Limit, ...] = ()


Reply = Done | Answer | Refused


@dataclass(frozen=True, slots=True)
class Parts:
    """What the pipeline is made of; `assemble` builds it from the configuration."""

    door: Door
    identities: Identities
    roles: Mapping[str, frozenset[Permission]]
    budget: Budget
    rules: Rules
    policy: Policy
    models: Mapping[str, Model]
    keeper: Keeper
    ledger: Ledger
    operations: Mapping[str, Operation]
    threads: Executor
    spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]


@dataclass(slots=True)
class _Progress:
    """How far a request has come, so that its end can be recorded wherever it is."""

    admitted: Admitted | None = None
    identified: Identified | None = None
    funded: Funded | None = None

    def limits(self) -> tuple[Limit, ...]:
        return self.funded.limits if self.funded else ()


class Pipeline:
    """Walks requests through the stages."""

    def __init__(self, parts: Parts) -> None:
        """Take the built parts."""
        self._parts = parts

    @property
    def standing(self) -> tuple[Limit, ...]:
        """The limits that a caller begins with, for answers to whom no count belongs."""
        quota = self._parts.budget.requests_per_minute
        return (Limit("rpm", quota, MINUTE, remaining=quota, reset=0.0),)

    def knows_host(self, arrival: Arrival) -> bool:
        """Whether a public route may answer this at once, without a record."""
        return knows_host(arrival, self._parts.door)

    async def walk(self, arrival: Arrival) -> Reply:
        """Take a request all the way; a refusal is recorded before it is returned."""
        progress = _Progress()
        try:
            funded = await self._enter(arrival, progress)
            if funded.admitted.route.converses:
                return await self._converse(funded)
            return await self._operate(funded)
        except Refusal as refusal:
            return await self._refuse(arrival, progress, refusal)
        except Exception as cause:
            log.error("request_failed", request_id=arrival.request_id, cause=type(cause).__name__)
            return await self._refuse(arrival, progress, explain(cause))

    async def _enter(self, arrival: Arrival, progress: _Progress) -> Funded:
        """admit, authn, authz, budget: for every route, administration and privacy too."""
        parts = self._parts
        progress.admitted = await admit(arrival, parts.door)
        progress.identified = await authenticate(progress.admitted, parts.identities)
        permitted: Permitted = permit(progress.identified, parts.roles)
        progress.funded = await fund(permitted, parts.budget)
        return progress.funded

    async def _operate(self, funded: Funded) -> Done:
        done = await self._parts.operations[funded.admitted.route.operation](funded)
        return replace(done, limits=funded.limits)

    async def _converse(self, funded: Funded) -> Answer:
        """check, detect, budget, then the exchange with the model; nothing is left half taken."""
        parts = self._parts
        checked = check(funded, parts.rules)
        thread: Thread | None = None
        if funded.admitted.route.face is Face.NATIVE:
            thread = await parts.keeper.begin(funded.principal.person, checked.conversation)
        exchange = None
        try:
            if thread is not None:
                checked = _continued(checked, thread)
            screened = await detect(checked, parts.policy, parts.threads)
            reservation = await reserve(checked, parts.budget)
            exchange = _Exchange(parts, screened, reservation, thread)
            return await exchange.begin()
        finally:
            if thread is not None and exchange is None:
                parts.keeper.end(thread)

    async def _refuse(self, arrival: Arrival, progress: _Progress, refusal: Refusal) -> Refused:
        """Record a refusal; where even that fails the caller is told so instead."""
        if not refusal.recorded:
            caller = progress.identified.principal if progress.identified else None
            address, agent = _client(arrival, progress.admitted, self._parts.door)
            try:
                await self._parts.ledger.commit(
                    self._parts.ledger.refused(arrival, address, agent, refusal, caller)
                )
            except Exception as cause:
                log.error(
                    "refusal_not_recorded",
                    request_id=arrival.request_id,
                    cause=type(cause).__name__,
                )
                refusal = unavailable()
        reached = (refusal.limit,) if isinstance(refusal, LimitReached) else ()
        return Refused(refusal, (*progress.limits(), *reached))


class Started:
    """An event sequence whose first event is there already, so that closing it always counts.

    (Closing a generator that was never asked runs none of its code, and so records nothing.)
    """

    def __init__(self, first: Event, rest: AsyncGenerator[Event, None]) -> None:
        """Take the first event and the generator that gave it."""
        self._first: Event | None = first
        self._rest = rest

    def __aiter__(self) -> Started:
        return self

    async def __anext__(self) -> Event:
        if self._first is not None:
            first, self._first = self._first, None
            return first
        return await anext(self._rest)

    async def aclose(self) -> None:
        """Stop asking; what is not finished is recorded as interrupted."""
        await self._rest.aclose()


class _Exchange:
    """One question to a model, from its intent to its one closing record."""

    def __init__(
        self, parts: Parts, screened: Screened, reservation: Reservation, thread: Thread | None
    ) -> None:
        self._parts = parts
        self._screened = screened
        self._reservation = reservation
        self._thread = thread
        self._guard = guard_answer(screened, parts.policy)
        self._said: list[str] = []
        self._course = Course()
        self._asked = False
        self._open = True

    async def begin(self) -> Answer:
        """Record the intent, ask, and return when the first event is judged.

        A model that fails before that gives a refusal with a status of its own.
        """
        events = self._run()
        first = await anext(events)
        return Answer(
            screened=self._screened,
            limits=(*self._screened.checked.funded.limits, self._reservation.limit),
            events=Started(first, events),
            guard=self._guard,
            conversation=self._thread.id if self._thread else None,
        )

    async def _run(self) -> AsyncGenerator[Event, None]:
        """The judged events. Whatever happens, `finally` leaves one closing record."""
        begun = False
        try:
            await self._parts.ledger.commit(self._parts.ledger.intent(self._screened))
            self._asked = True
            events = self._streamed() if self._screened.checked.stream else self._whole()
            async with aclosing(events):
                async for event in events:
                    begun = True
                    yield event
        except Refusal as refusal:
            failed = await self._fail(refusal)
            if not begun:
                raise failed from refusal
            yield failed
        except Exception as cause:
            log.error("exchange_failed", cause=type(cause).__name__)
            failed = await self._fail(explain(cause))
            if not begun:
                raise failed from cause
            yield failed
        finally:
            self._abandon()

    async def _whole(self) -> AsyncGenerator[Event, None]:
        async with aclosing(forward(self._screened, self._parts.models, self._course)) as source:
            event = await anext(source, None)
        if event is None:
            raise no_answer()
        released = self._guard.whole(event)
        self._hear(released, "message")
        await self._conclude()
        yield released

    async def _streamed(self) -> AsyncGenerator[Event, None]:
        """Events as they are judged; the finish and the held text only after the record."""
        async with aclosing(forward(self._screened, self._parts.models, self._course)) as source:
            async for event in source:
                for released in self._guard.release(event):
                    self._hear(released, "delta")
                    yield released
                if self._guard.blocked:
                    break
        tail = self._guard.finish()
        if not tail:
            raise no_answer()
        for released in tail:
            self._hear(released, "delta")
        await self._conclude()
        for released in tail:
            yield released

    def _hear(self, event: Mapping[str, Any], field_name: str) -> None:
        """Gather what is to be kept: the text of the first choice."""
        if self._thread is None:
            return
        for choice in event.get("choices", ()):
            if choice["index"] == 0:
                self._said.append(text_of(choice.get(field_name) or {}))

    # Each end below is a task of its own: a client that leaves while a record is written can
    # neither lose it nor keep the conversation taken.

    async def _conclude(self) -> None:
        """Outcome and turn durable in one transaction; only then may the last byte leave."""
        thread, turn = self._thread, self._turn()
        record = self._parts.ledger.outcome(
            self._screened,
            self._guard.usage,
            findings=self._guard.findings,
            blocked=self._guard.blocked,
            resource=thread.id if thread else None,
            provider=self._course.provider,
        )
        self._open = False
        await asyncio.shield(self._parts.spawn(self._close(record, turn)))

    async def _fail(self, refusal: Refusal) -> Refusal:
        """Record that the exchange ended in a refusal; nothing of it is kept."""
        if self._open:
            self._open = False
            await asyncio.shield(self._parts.spawn(self._give_up(refusal)))
            if not refusal.recorded:
                return unavailable()
        return refusal

    def _abandon(self) -> None:
        """Seal what was released and record the interruption, without waiting for either."""
        if self._open:
            self._open = False
            self._parts.spawn(self._leave())

    async def _close(self, record: AddRecord, turn: AddTurn | None) -> None:
        try:
            await self._parts.ledger.commit(*([turn] if turn else []), record)
        except Exception as cause:
            refusal = conversation_moved() if isinstance(cause, Stale) else explain(cause)
            await self._record(refusal)
            raise (refusal if refusal.recorded else unavailable()) from cause
        finally:
            await self._free()

    async def _give_up(self, refusal: Refusal) -> None:
        try:
            await self._record(refusal)
        finally:
            await self._free()

    async def _leave(self) -> None:
        try:
            record = self._parts.ledger.interrupted(
                self._screened, self._used(), self._guard.findings, self._course.provider
            )
            turn = self._turn() if any(self._said) else None
            try:
                await self._parts.ledger.commit(*([turn] if turn else []), record)
            except Stale:
                await self._parts.ledger.commit(record)
        except Exception as cause:
            log.error(
                "interruption_not_recorded",
                request_id=self._request_id,
                cause=type(cause).__name__,
            )
        finally:
            await self._free()

    async def _record(self, refusal: Refusal) -> None:
        """Make a refusal's record durable, and note on the refusal whether it is."""
        try:
            await self._parts.ledger.commit(
                self._parts.ledger.broken(
                    self._screened,
                    self._used(),
                    refusal,
                    self._guard.findings,
                    self._course.provider,
                )
            )
        except Exception as cause:
            log.error(
                "refusal_not_recorded", request_id=self._request_id, cause=type(cause).__name__
            )
        else:
            refusal.recorded = True

    async def _free(self) -> None:
        """Give back the conversation, and the tokens that were not used."""
        if self._thread is not None:
            self._parts.keeper.end(self._thread)
        await settle(self._reservation, self._used().total, self._parts.budget)

    def _used(self) -> Usage:
        """What is to be paid for: nothing, where the model was never asked."""
        return self._guard.usage if self._asked else Usage()

    @property
    def _request_id(self) -> str:
        return self._screened.checked.funded.admitted.request_id

    def _turn(self) -> AddTurn | None:
        if self._thread is None:
            return None
        return self._parts.keeper.turn(self._thread, self._screened, "".join(self._said))


def text_of(message: Mapping[str, Any]) -> str:
    """What a message says: its content, or its refusal."""
    content = message.get("content") or message.get("refusal") or ""
    if isinstance(content, list):
        return "".join(part.get("text") or "" for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


def _continued(checked: Checked, thread: Thread) -> Checked:
    return with_history(checked, [Turn(said.role, said.content) for said in thread.history])


def _client(arrival: Arrival, admitted: Admitted | None, door: Door) -> tuple[str, str]:
    """Address and agent for the record of a refusal, as far as they could be established."""
    if admitted is not None:
        return admitted.address, agent_of(admitted.headers.get("user-agent", ()))
    agents = tuple(v.decode("latin-1") for n, v in arrival.headers if n.lower() == b"user-agent")
    forwarded = [v.decode("latin-1") for n, v in arrival.headers if n.lower() == b"x-forwarded-for"]
    try:
        address = peer_address(arrival.peer, forwarded, door.trusted_proxies)
    except Refusal:
        address = arrival.peer
    return address, agent_of(agents)


def explain(cause: Exception) -> Refusal:
    """The refusal for an error that no stage turned into one; it tells nothing of the cause."""
    if isinstance(cause, Refusal):
        return cause
    if isinstance(cause, IntegrityError):
        return RecordDamaged(
            "A stored record cannot be authenticated; nothing of it is given out.",
            layer="keep",
            rule="record-damaged",
        )
    if isinstance(cause, UnavailableError):
        return unavailable()
    return Refusal("The gateway failed; the request id finds the record.", layer="edge", rule="bug")


def no_answer() -> ProviderFailed:
    """The refusal of a model that ended without an answer."""
    return ProviderFailed("The model gave no answer.", layer="forward", rule="provider-empty")


def conversation_moved() -> Conflict:
    """The refusal of a turn whose conversation another process continued meanwhile."""
    return Conflict(
        "This conversation was continued or deleted meanwhile; read it again.",
        layer="keep",
        rule="conversation-moved",
    )
