"""What each stage of a conversation costs, one after the other in one process.

    python bench/stages.py [--batches 40]

Each figure is the fastest of several batches of 20, in µs of the event loop's thread for one
request: the fastest is what the work costs on a machine that does nothing else. The request and
the answer are as large as those of `bench/run.py`: 0.9 KB and 1.9 KB. Of a stream, whose events
hold a word each, the figures are for one event; of embeddings, for an answer with one vector. The
network is not in it.
"""

from __future__ import annotations

import argparse
import asyncio
import copy
import os
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

import msgspec  # noqa: E402

from ostiary.answers.chat import ChatGuard  # noqa: E402
from ostiary.answers.embeddings import EmbeddingsGuard  # noqa: E402
from ostiary.assemble import Foundation, lay, new_request_id, raise_gateway  # noqa: E402
from ostiary.config import load  # noqa: E402
from ostiary.edge import render  # noqa: E402
from ostiary.edge.routes import Table  # noqa: E402
from ostiary.exchange import Arrival  # noqa: E402
from ostiary.operations.keys import named_permissions  # noqa: E402
from ostiary.parts import part_names  # noqa: E402
from ostiary.stages.admit import admit  # noqa: E402
from ostiary.stages.authn import authenticate  # noqa: E402
from ostiary.stages.authz import permit  # noqa: E402
from ostiary.stages.budget import fund, reserve, settle  # noqa: E402
from ostiary.stages.check import check  # noqa: E402
from ostiary.stages.detect import detect  # noqa: E402
from ostiary.wire import sse  # noqa: E402
from ostiary.wire.readings import ChatReading, EmbeddingsReading  # noqa: E402
from ostiary.wire.tokens import estimate  # noqa: E402

CALLS = 20
EVENTS = 100
DIMENSIONS = 1536
MODEL = "gpt-4o-mini"
SENTENCE = (
    "The quarterly review covered stock levels, the new supplier onboarding plan, two delayed "
    "shipments and a proposal to move the weekly report to an automated dashboard. "
)


def question() -> bytes:
    """A request of 0.9 KB."""
    messages = [
        {"role": "system", "content": "You are a careful assistant."},
        {"role": "user", "content": "Summarise the notes in five points. " + SENTENCE * 4},
    ]
    body = {"model": MODEL, "temperature": 0.2, "max_tokens": 400, "messages": messages}
    return msgspec.json.encode(body)


def answer() -> dict[str, Any]:
    """An answer of 1.9 KB, about 300 tokens."""
    message = {"role": "assistant", "content": SENTENCE * 8, "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    return {
        "id": "chatcmpl-" + os.urandom(12).hex(),
        "object": "chat.completion",
        "created": int(time.time()),
        "model": MODEL,
        "system_fingerprint": "fp_44709d6fcb",
        "choices": [choice],
        "usage": {"prompt_tokens": 150, "completion_tokens": 300, "total_tokens": 450},
    }


def stream() -> list[bytes]:
    """The frames of a streamed answer: a word in each of 100 events, then the finish."""
    words = (SENTENCE * 5).split(" ")[:EVENTS]
    deltas: list[dict[str, Any]] = [{"content": f" {word}"} for word in words]
    deltas[0]["role"] = "assistant"
    head = {k: v for k, v in answer().items() if k not in {"choices", "usage"}}
    head["object"] = "chat.completion.chunk"
    choices = [
        {"index": 0, "delta": delta, "logprobs": None, "finish_reason": None} for delta in deltas
    ]
    choices.append({"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"})
    return [sse.frame(msgspec.json.encode({**head, "choices": [c]})) for c in choices]


def embedding() -> bytes:
    """An answer with one vector."""
    vector = [(number % 199 - 99) / 3217 for number in range(DIMENSIONS)]
    body = {
        "object": "list",
        "data": [{"object": "embedding", "index": 0, "embedding": vector}],
        "model": "text-embedding-3-small",
        "usage": {"prompt_tokens": 8, "total_tokens": 8},
    }
    return msgspec.json.encode(body)


class Course:
    """The stages of one gateway, each fed with what the one before it made."""

    def __init__(self, foundation: Foundation, batches: int) -> None:
        self._foundation = foundation
        self._batches = batches
        self._parts = raise_gateway(foundation).app._edge.pipeline._parts  # noqa: SLF001
        self._costs: dict[str, float] = {}

    async def _time(self, name: str, call: Callable[[], Any]) -> Any:
        """Run a stage in batches; note the fastest, give back what the last call made."""
        best, made = float("inf"), None
        for _ in range(self._batches):
            began = time.thread_time_ns()
            for _ in range(CALLS):
                made = call()
                if isinstance(made, Awaitable):
                    made = await made
            best = min(best, (time.thread_time_ns() - began) / CALLS / 1000)
        self._costs[name] = best
        return made

    async def run(self, credentials: dict[str, str]) -> dict[str, float]:
        """Every stage, in order."""
        parts, timed = self._parts, self._time
        funded = None
        for name, credential in credentials.items():
            arrival = _arrival(credential)
            admitted = await timed("admit", lambda a=arrival: admit(a, parts.door))
            identified = await timed(
                f"authn, {name}", lambda a=admitted: authenticate(a, parts.identities)
            )
            permitted = await timed("authz", lambda i=identified: permit(i, parts.roles))
            funded = await timed("budget: request", lambda p=permitted: fund(p, parts.budget))
        checked = await timed("check", lambda: check(funded, parts.rules))
        screened = await timed("detect", lambda: detect(checked, parts.policy, parts.threads))
        reservation = await timed("budget: reserve", lambda: reserve(checked, parts.budget))
        event = answer()
        copying = await timed("(copy)", lambda: copy.deepcopy(event)) and self._costs.pop("(copy)")
        guard = ChatGuard(parts.policy, estimate(screened.body))
        released = await timed(
            "guard",
            lambda: ChatGuard(parts.policy, 1).whole(copy.deepcopy(event)),
        )
        self._costs["guard"] -= copying
        ledger = parts.ledger
        await timed("ledger: intent", lambda: ledger.intent(screened))
        usage = guard.usage
        await timed(
            "ledger: outcome", lambda: ledger.outcome(screened, usage, findings={}, blocked=False)
        )
        await timed("ledger: commit", lambda: ledger.commit(ledger.intent(screened)))
        self._costs["ledger: commit"] -= self._costs["ledger: intent"]
        await timed("budget: settle", lambda: settle(reservation, 450, parts.budget))
        limits = (*funded.limits, reservation.limit)
        await timed("edge: headers", lambda: render.limit_headers(limits))
        await timed("edge: body", lambda: msgspec.json.encode(released))
        return self._costs

    async def run_stream(self) -> dict[str, float]:
        """The way of a stream from the model's bytes to ours, for one event."""
        self._costs = {}
        frames, policy = stream(), self._parts.policy

        def read() -> list[dict[str, Any]]:
            parser, reading = sse.Parser(), ChatReading()
            return [
                reading.event(msgspec.json.decode(event.data))
                for frame in frames
                for event in parser.feed(frame)
            ]

        def judge() -> list[dict[str, Any]]:
            guard = ChatGuard(policy, 1)
            released = [one for event in read() for one in guard.release(event)]
            return [*released, *guard.finish()]

        await self._time("read", read)
        released = await self._time("guard", judge)
        self._costs["guard"] -= self._costs["read"]
        await self._time("frame", lambda: [sse.frame(msgspec.json.encode(e)) for e in released])
        return {name: cost / EVENTS for name, cost in self._costs.items()}

    async def run_embeddings(self) -> dict[str, float]:
        """The way of an answer with one vector from the model's bytes to ours."""
        self._costs = {}
        body, policy = embedding(), self._parts.policy

        def read() -> dict[str, Any]:
            return EmbeddingsReading().whole(msgspec.json.decode(body))

        await self._time("read", read)
        event = read()
        released = await self._time("guard", lambda: EmbeddingsGuard(policy, 1).whole({**event}))
        await self._time("body", lambda: msgspec.json.encode(released))
        return self._costs


def _arrival(credential: str) -> Arrival:
    body = question()

    async def read(_: int) -> bytes:
        return body

    match = Table().match("POST", "/v1/chat/completions")
    return Arrival(
        request_id=new_request_id(),
        method="POST",
        route=match.route,
        allowed=(),
        params={},
        query=b"",
        headers=(
            (b"host", b"localhost"),
            (b"authorization", b"Bearer " + credential.encode()),
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"user-agent", b"bench"),
        ),
        peer="127.0.0.1",
        read=read,
    )


Costs = dict[str, float]


async def measure(home: Path, batches: int) -> tuple[Costs, Costs, Costs]:
    """The cost of every stage in µs, in running order: of a chat, a stream's event, a vector."""
    settings = load(
        flags={"limits.requests_per_minute": 1_000_000, "limits.tokens_per_hour": 1_000_000_000},
        environ={"OSTIARY_HOME": str(home)},
        cwd=home.parent,
        config_path=None,
        known_kinds=frozenset(part_names("ostiary.detectors")),
    )
    foundation = await lay(settings)
    try:
        issuer = foundation.issuer
        if issuer is None:
            raise RuntimeError("the measurement wants the development identity")
        person = await foundation.persons.named(issuer.subject("bench"), roles=("Developer",))
        key = await foundation.keys.make(
            person.id,
            "bench",
            named_permissions(["ai.chat.use"]),
            None,
            lambda _: foundation.ledger.command("keys.create", person=person.id),
        )
        token = issuer.token("bench", ("Developer",), ("ai.chat.use",))
        course = Course(foundation, batches)
        costs = await course.run({"key": key.text, "token": token})
        return costs, await course.run_stream(), await course.run_embeddings()
    finally:
        await foundation.close()


def main() -> None:
    """Print one line for each stage."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batches", type=int, default=40)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ostiary-bench-") as folder:
        costs, event, vector = asyncio.run(measure(Path(folder) / "home", options.batches))
    for name, cost in costs.items():
        sys.stdout.write(f"{name:20}{cost:9.1f} µs\n")
    both = sum(cost for name, cost in costs.items() if name != "authn, token")
    sys.stdout.write(f"{'sum, with a key':20}{both:9.1f} µs\n")
    for title, parts in (("stream, an event", event), ("embeddings", vector)):
        sys.stdout.write(f"\n{title}\n")
        for name, cost in parts.items():
            sys.stdout.write(f"  {name:18}{cost:9.1f} µs\n")


if __name__ == "__main__":
    main()
