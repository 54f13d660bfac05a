"""What is particular to counting in memory: how much of it."""

from __future__ import annotations

import asyncio

import pytest

from ostiary.counters import memory


class Clock:
    now = 5.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def small(clock, capacity=50):
    return memory.build(memory.Options(capacity=capacity), clock)


def test_keys_that_are_idle_again_are_dropped(clock):
    async def story():
        counters = small(clock, 10_000)
        for i in range(1_000):
            await counters.spend(f"minute {i}", 1, quota=60, window=60, name="")
            await counters.strike(f"strike {i}", limit=5, window=60, hold=300)
            if i % 100 == 0:
                await counters.spend(f"hour {i}", 1_000, quota=1_000, window=3_600, name="")
        assert len(counters) == 2_010
        clock.now += 61
        for _ in range(600):
            await counters.spend("one", 1, quota=10_000, window=60, name="")
            await counters.strike("one", limit=10_000, window=60, hold=300)
        assert len(counters) == 12  # the ten hours, and the two that are in use

    asyncio.run(story())


def test_memory_is_bounded_and_the_idlest_goes_first(clock):
    async def story():
        counters = small(clock)
        await counters.spend("nearly spent", 59, quota=60, window=60, name="")
        for i in range(2_000):
            await counters.spend(f"passer-by {i}", 1, quota=60, window=60, name="")
            assert len(counters) <= 50
        _, limit = await counters.spend("nearly spent", 0, quota=60, window=60, name="")
        assert limit.remaining == 1

    asyncio.run(story())


def test_a_hold_in_force_is_never_forgotten(clock):
    async def story():
        counters = small(clock)
        held = [f"held {i}" for i in range(60)]  # more than the capacity
        for key in held:
            await counters.strike(key, limit=1, window=60, hold=300)
            assert await counters.strike(key, limit=1, window=60, hold=300) == 300.0
        for i in range(2_000):
            await counters.strike(f"passer-by {i}", limit=1, window=60, hold=300)
        assert len(counters) <= 60 + 50
        for key in held:
            assert await counters.strike(key, limit=1, window=60, hold=300) == 300.0
        clock.now += 300
        for _ in range(200):
            await counters.strike("one", limit=1_000, window=60, hold=300)
        assert len(counters) == 1

    asyncio.run(story())


def test_a_capacity_of_nothing_is_refused(clock):
    with pytest.raises(ValueError, match="capacity"):
        small(clock, 0)
