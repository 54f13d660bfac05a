"""Limits are counted for each person; what is set aside comes back."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from ostiary.counters import memory
from ostiary.errors import TooManyRequests
from ostiary.exchange import (
    Admitted,
    Checked,
    Face,
    Funded,
    Identified,
    Permitted,
    Principal,
    Route,
    Trace,
)
from ostiary.stages.budget import DEFAULT_MAX_TOKENS, HOUR, Budget, fund, reserve, settle
from tests.unit.doorway import doorway

ROUTE = Route("POST", "/v1/chat/completions", "chat.completions", Face.OPENAI, converses=True)


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def budget(clock: Clock) -> Budget:
    return Budget(memory.build(memory.Options(), clock=clock), 60, 10_000)


def permitted(person: str = "ann") -> Permitted:
    admitted = Admitted("r", 0.0, ROUTE, Trace("1" * 32), {}, {}, {}, "", None)
    principal = Principal(person, "key", False, ("User",), None, None)
    return Permitted(Identified(admitted, principal), frozenset())


def checked(text: str, person: str = "ann", **more: Any) -> Checked:
    body = {"messages": [{"role": "user", "content": text}]}
    return Checked(Funded(permitted(person), ()), "gpt-4o", body, **more)


def test_sixty_pass_at_once_and_then_one_a_second(budget: Budget, clock: Clock) -> None:
    async def test() -> None:
        limits = [(await fund(permitted(), budget)).limits[0] for _ in range(60)]
        assert [limit.remaining for limit in limits] == list(range(59, -1, -1))
        with pytest.raises(TooManyRequests) as caught:
            await fund(permitted(), budget)
        assert (caught.value.rule, caught.value.retry_after) == ("rpm", pytest.approx(1.0))
        assert await fund(permitted("bob"), budget)
        clock.now += 1.01
        assert await fund(permitted(), budget)

    asyncio.run(test())


def test_a_reservation_is_the_prompt_and_every_choices_maximum(budget: Budget) -> None:
    async def test() -> None:
        text = "x" * 396
        prompt = (396 + len("user")) // 4
        one = await reserve(checked(text, max_tokens=50), budget)
        assert one.tokens == prompt + 50
        many = await reserve(checked(text, max_tokens=50, choices=3), budget)
        assert many.tokens == prompt + 150
        open_end = await reserve(checked(text), budget)
        assert open_end.tokens == prompt + DEFAULT_MAX_TOKENS

    asyncio.run(test())


@pytest.mark.parametrize(("used", "left"), [(0, 10_000), (10, 9_990), (1_000, 9_000)])
def test_what_was_not_used_comes_back_and_what_was_used_beyond_is_taken(
    budget: Budget, used: int, left: int
) -> None:
    async def test() -> None:
        reservation = await reserve(checked("Hi", max_tokens=100), budget)
        await settle(reservation, used, budget)
        _, limit = await budget.counters.spend("tph:ann", 0, quota=10_000, window=HOUR, name="tph")
        assert limit.remaining == left

    asyncio.run(test())


def test_tokens_that_are_not_there_are_refused_and_not_taken(budget: Budget) -> None:
    async def test() -> None:
        with pytest.raises(TooManyRequests) as caught:
            await reserve(checked("Hi", max_tokens=10_001), budget)
        assert caught.value.rule == "tph"
        assert (await reserve(checked("Hi", max_tokens=9_000), budget)).limit.remaining < 1_000

    asyncio.run(test())


def test_a_refused_minute_is_refused_before_anything_is_asked(tmp_path: Path) -> None:
    async def test() -> None:
        async with doorway(tmp_path, requests=1) as door:
            await door.events(door.completion())
            arrival = door.completion()
            refusal = await door.refusal(arrival)
            assert (refusal.status, refusal.rule) == (429, "rpm")
            assert len(door.provider.calls) == 1
            assert (await door.closing(arrival))["kind"] == "security"

    asyncio.run(test())
