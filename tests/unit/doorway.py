"""A pipeline over a real store and keyring, behind which the model is what a test makes of it."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ostiary import policy
from ostiary.assemble import detectors
from ostiary.authenticators import apikey
from ostiary.background import Background
from ostiary.counters import memory
from ostiary.edge.routes import Table
from ostiary.envelope import Context, Purpose, seal
from ostiary.errors import UnavailableError
from ostiary.exchange import Action, Arrival, Call, Permission, Subject
from ostiary.keyring import Keyring
from ostiary.keyvaults.file import FileVault
from ostiary.persons import TENANT, Persons
from ostiary.pipeline import Answer, Done, Parts, Pipeline, Refused
from ostiary.rows import AddKey, Change
from ostiary.stages.admit import Door
from ostiary.stages.authn import Identities
from ostiary.stages.authz import ROLES
from ostiary.stages.budget import HOUR, Budget
from ostiary.stages.check import Rules
from ostiary.stages.forward import Model
from ostiary.stages.keep import Keeper
from ostiary.stages.ledger import Ledger
from ostiary.stores import sqlite

MODEL = "gpt-4o"
REQUESTS, TOKENS = 60, 100_000
Script = Callable[[Call], AsyncGenerator[dict[str, Any], None]]


def whole(text: str, **more: Any) -> dict[str, Any]:
    """A whole answer of a model."""
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": MODEL,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": text},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12},
        **more,
    }


def piece(
    delta: Mapping[str, Any], reason: str | None = None, index: int = 0, **more: Any
) -> dict[str, Any]:
    """One event of a streamed answer."""
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": MODEL,
        "choices": [{"index": index, "delta": dict(delta), "finish_reason": reason, **more}],
    }


def says(*events: dict[str, Any]) -> Script:
    """A model that answers with these events."""

    async def script(_: Call) -> AsyncGenerator[dict[str, Any], None]:
        for event in events:
            yield json.loads(json.dumps(event))

    return script


class Scripted:
    """A provider that does what it is told, and notes what it was asked and whether it ended."""

    name = "main"

    def __init__(self, script: Script) -> None:
        self.script = script
        self.calls: list[Call] = []
        self.closed = 0

    async def answer(self, call: Call) -> AsyncGenerator[dict[str, Any], None]:
        self.calls.append(call)
        try:
            async for event in self.script(call):
                yield event
        finally:
            self.closed += 1

    async def close(self) -> None:
        pass


class Breakable:
    """A store whose commits fail where `fails` says so."""

    def __init__(self, store: sqlite.SqliteStore) -> None:
        self._store = store
        self.fails: Callable[[Sequence[Change]], bool] = lambda _: False
        self.waits: Callable[[Sequence[Change]], asyncio.Event | None] = lambda _: None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def commit(self, *changes: Change) -> None:
        if self.fails(changes):
            raise UnavailableError("the disk is full")
        event = self.waits(changes)
        if event is not None:
            await event.wait()
        await self._store.commit(*changes)


class Clock:
    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@dataclass
class Doorway:
    """The built pipeline and what stands around it."""

    pipeline: Pipeline
    parts: Parts
    store: Breakable
    keyring: Keyring
    ledger: Ledger
    keeper: Keeper
    persons: Persons
    provider: Scripted
    background: Background
    clock: Clock
    key: str
    person: str
    bodies: list[bytes] = field(default_factory=list)

    def arrival(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        *,
        raw: bytes | None = None,
        query: bytes = b"",
        peer: str = "127.0.0.1",
        key: str | None = "",
    ) -> Arrival:
        """A request as the edge hands it over; `key` None sends no credential."""
        match = Table().match(method, path)
        data = raw if raw is not None else (b"" if body is None else json.dumps(body).encode())
        sent = {"host": "127.0.0.1:8787"}
        if key is not None:
            sent["authorization"] = f"Bearer {key or self.key}"
        if data:
            sent["content-type"] = "application/json"
        sent |= headers or {}

        async def read(_: int) -> bytes:
            return data

        return Arrival(
            request_id=str(uuid.uuid4()),
            method=method,
            route=match.route,
            allowed=match.allowed,
            params=match.params,
            query=query,
            headers=tuple((n.lower().encode(), v.encode("latin-1")) for n, v in sent.items()),
            peer=peer,
            read=read,
        )

    def chat(self, message: str, **more: Any) -> Arrival:
        """`POST /api/chat`."""
        return self.arrival("POST", "/api/chat", {"message": message, **more})

    def completion(self, text: str = "Hello", **more: Any) -> Arrival:
        """`POST /v1/chat/completions`."""
        messages = [{"role": "user", "content": text}]
        return self.arrival(
            "POST", "/v1/chat/completions", {"model": MODEL, "messages": messages, **more}
        )

    async def walk(self, arrival: Arrival) -> Done | Answer | Refused:
        return await self.pipeline.walk(arrival)

    async def events(self, arrival: Arrival) -> list[Any]:
        """Every event of an answer."""
        answer = await self.walk(arrival)
        assert isinstance(answer, Answer), answer
        return [event async for event in answer.events]

    async def refusal(self, arrival: Arrival) -> Any:
        """The refusal of a request that must be refused."""
        reply = await self.walk(arrival)
        assert isinstance(reply, Refused), reply
        return reply.refusal

    async def settled(self) -> None:
        """Let everything that was spawned come to its end."""
        for _ in range(3):
            await asyncio.gather(*self.background._loose, return_exceptions=True)
            await asyncio.sleep(0)

    async def records(self) -> list[dict[str, Any]]:
        """Every audit record, oldest first."""
        await self.settled()
        await asyncio.sleep(0.02)
        return [json.loads(row.body) for row in await self.store.outbox(10_000)]

    async def closing(self, arrival: Arrival) -> dict[str, Any]:
        """The one closing record of a request."""
        ends = [
            record
            for record in await self.records()
            if record["requestId"] == arrival.request_id and record["event"] != "intent"
        ]
        assert len(ends) == 1, ends
        return ends[0]

    async def tokens_left(self) -> int:
        """What the caller has left of the hour."""
        await self.settled()
        _, limit = await self.parts.budget.counters.spend(
            f"tph:{self.person}", 0, quota=TOKENS, window=HOUR, name="tph"
        )
        return limit.remaining

    async def new_key(self, person: str, *permissions: str) -> str:
        """A key of this person."""
        minted, key_id = apikey.mint(live=False), str(uuid.uuid4())
        place = Context(TENANT, person, "api_keys", "name", key_id)
        name = seal(b"a key", self.keyring.data_key(person), Purpose.KEY_NAME, place)
        await self.store.commit(
            AddKey(
                apikey.new_row(
                    minted,
                    key_id=key_id,
                    person=person,
                    name=name,
                    permissions=permissions or (Permission.CHAT_USE.value,),
                    created=self.clock(),
                    expires=None,
                    slow_hash=b"",
                    pepper=self.keyring.secret("api-key-pepper"),
                    row_key=self.keyring.secret("api-key-rows"),
                )
            )
        )
        return minted.text


@asynccontextmanager
async def doorway(
    home: Path,
    script: Script | None = None,
    *,
    kinds: Mapping[str, Action] | None = None,
    observe: bool = False,
    record: str = "native",
    requests: int = REQUESTS,
    tokens: int = TOKENS,
    operations: Mapping[str, Any] | None = None,
    authenticators: Sequence[Any] = (),
) -> AsyncIterator[Doorway]:
    """Open a home and build a pipeline on it; a Developer with a key is there."""
    home.mkdir(exist_ok=True)
    clock = Clock(time.time())
    keyring = await Keyring.open(
        home / "keystore.db", FileVault(home / "root.key"), create=True, clock=clock
    )
    real = sqlite.build(sqlite.Options(path=str(home / "ostiary.db")))
    await real.open()
    store = Breakable(real)
    ledger = Ledger(store, keyring, clock, os.urandom, log="ostiary/log/test", configuration="c0")
    persons = Persons(store, keyring, clock)
    keeper = Keeper(store, keyring, clock, history_tokens=16_000, record=record)
    provider = Scripted(script or says(whole("Hello.")))
    background = Background(())
    threads = ThreadPoolExecutor(1)
    keys = apikey.build(
        apikey.Options(),
        store,
        clock,
        pepper=keyring.secret("api-key-pepper"),
        row_key=keyring.secret("api-key-rows"),
    )
    counters = memory.build(memory.Options(), clock=clock)
    parts = Parts(
        door=Door(
            hosts=frozenset({"127.0.0.1", "localhost"}),
            trusted_proxies=(),
            new_trace_id=lambda: secrets.token_hex(16),
            clock=clock,
        ),
        identities=Identities((keys, *authenticators), persons, counters, 5, 300),
        roles=ROLES,
        budget=Budget(counters, requests, tokens),
        rules=Rules((MODEL, "gpt-4o-mini"), "refuse"),
        policy=policy.build(detectors(), kinds or {}, observe_only=observe),
        models={MODEL: Model(MODEL, provider, "upstream-name")},
        keeper=keeper,
        ledger=ledger,
        operations=operations or {},
        threads=threads,
        spawn=background.spawn,
    )
    person = await persons.named(Subject("tenant", "alice"), roles=("Developer",))
    door = Doorway(
        pipeline=Pipeline(parts),
        parts=parts,
        store=store,
        keyring=keyring,
        ledger=ledger,
        keeper=keeper,
        persons=persons,
        provider=provider,
        background=background,
        clock=clock,
        key="",
        person=person.id,
    )
    door.key = await door.new_key(person.id)
    try:
        yield door
    finally:
        await background.stop()
        threads.shutdown()
        keys.close()
        await real.close()
        keyring.close()
