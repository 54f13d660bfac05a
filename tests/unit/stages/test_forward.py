"""What goes to the model is the screened body under the model's own name, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from ostiary.errors import (
    MalformedRequest,
    ProviderFailed,
    ProviderSilent,
    Refusal,
    ServiceUnavailable,
    TooManyRequests,
)
from ostiary.exchange import Call, Course
from ostiary.stages.forward import _first_that_takes_it
from tests.unit.doorway import Scripted, doorway, piece, says

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"


def test_the_models_own_name_and_the_callers_trace_go_out(tmp_path: Path) -> None:
    async def test() -> None:
        async with doorway(tmp_path) as door:
            body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}], "seed": 3}
            path = "/v1/chat/completions"
            await door.events(door.arrival("POST", path, body, {"traceparent": TRACE}))
            [call] = door.provider.calls
            assert call.model == call.body["model"] == "upstream-name"
            assert call.body["seed"] == 3
            assert call.body["stream"] is False
            version, trace, span, flags = call.traceparent.split("-")
            assert (version, trace, flags) == ("00", "4bf92f3577b34da6a3ce929d0e0e4736", "00")
            assert span != "00f067aa0ba902b7"
            assert len(span) == 16
            assert "Hi" not in repr(call)

    asyncio.run(test())


def test_a_stream_always_asks_for_its_usage(tmp_path: Path) -> None:
    async def test() -> None:
        async with doorway(tmp_path, says(piece({"content": "x"}, "stop"))) as door:
            await door.events(door.completion(stream=True))
            [call] = door.provider.calls
            assert call.stream
            assert call.body["stream_options"]["include_usage"] is True

    asyncio.run(test())


def provider(name: str, script: Any) -> Scripted:
    made = Scripted(script)
    made.name = name
    return made


def refuses(refusal: Refusal, after: int = 0, calls: int = 1) -> Any:
    async def script(call: Call) -> AsyncGenerator[dict[str, Any], None]:
        call.course.calls -= calls
        for _ in range(after):
            yield piece({"content": "x"})
        raise refusal

    return script


async def asked(*providers: Scripted) -> tuple[list[dict[str, Any]], Course]:
    course = Course()
    call = Call("r", "m", {}, course=course)
    return [event async for event in _first_that_takes_it(providers, call)], course


ELSEWHERE = [
    TooManyRequests("", layer="forward", rule="provider-429", retry_after=60),
    ServiceUnavailable("", layer="forward", rule="provider-503", retry_after=60),
    ServiceUnavailable("", layer="forward", rule="provider-breaker", retry_after=9),
    ProviderFailed("", layer="forward", rule="provider-unreachable"),
    ProviderSilent("", layer="forward", rule="provider-connect"),
]
STAYS = [
    ProviderFailed("", layer="forward", rule="provider-broken"),
    ProviderFailed("", layer="forward", rule="provider-status"),
    ProviderFailed("", layer="forward", rule="provider-tls"),
    ProviderSilent("", layer="forward", rule="provider-silence"),
    MalformedRequest("", layer="forward", rule="provider-rejected"),
]


@pytest.mark.parametrize("refusal", ELSEWHERE, ids=lambda r: r.rule)
def test_the_next_provider_is_asked_where_the_former_did_not_begin(refusal: Refusal) -> None:
    main, spare = provider("main", refuses(refusal)), provider("spare", says(piece({}, "stop")))
    events, course = asyncio.run(asked(main, spare))
    assert events == [piece({}, "stop")]
    assert course.provider == "spare"
    assert (main.calls[0].spare, spare.calls[0].spare) == (True, False)
    assert (main.closed, spare.closed) == (1, 1)


@pytest.mark.parametrize(
    ("refusal", "after"),
    [*((r, 0) for r in STAYS), *((r, 1) for r in ELSEWHERE)],
    ids=lambda value: getattr(value, "rule", str(value)),
)
def test_nothing_that_may_have_begun_is_done_twice(refusal: Refusal, after: int) -> None:
    main = provider("main", refuses(refusal, after))
    spare = provider("spare", says(piece({}, "stop")))
    with pytest.raises(Refusal) as caught:
        asyncio.run(asked(main, spare))
    assert caught.value is refusal
    assert spare.calls == []


def test_there_are_at_most_three_calls_over_all_providers() -> None:
    busy = refuses(ELSEWHERE[0])
    chain = [provider(str(number), busy) for number in range(5)]
    with pytest.raises(TooManyRequests):
        asyncio.run(asked(*chain))
    assert [len(one.calls) for one in chain] == [1, 1, 1, 0, 0]
    tired = provider("tired", refuses(ELSEWHERE[1], calls=3))
    spare = provider("spare", says(piece({}, "stop")))
    with pytest.raises(ServiceUnavailable):
        asyncio.run(asked(tired, spare))
    assert spare.calls == []
