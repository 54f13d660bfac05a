"""Work beside the requests goes on after a failure, says that it failed, and ends in order."""

from __future__ import annotations

import asyncio

from ostiary import background
from ostiary.background import Background, Periodic


def test_work_is_done_again_and_again_and_once_more_at_the_end():
    done = []

    async def work():
        done.append("work")

    async def flush():
        done.append("flush")

    async def scenario():
        both = Background(
            (Periodic("work", 0.001, work), Periodic("flush", 3_600, flush, last=True))
        )
        both.start()
        await asyncio.sleep(0.05)
        await both.stop()
        count = len(done)
        await asyncio.sleep(0.02)
        assert len(done) == count

    asyncio.run(scenario())
    assert done.count("work") > 3
    assert done.count("flush") == 2
    assert done[-1] == "flush"


def test_a_failure_is_told_and_the_work_goes_on(monkeypatch):
    monkeypatch.setattr(background, "_FIRST_PAUSE", 0.001)
    attempts = []

    async def work():
        attempts.append(None)
        if len(attempts) < 4:
            raise ValueError("not yet")

    async def scenario():
        beside = Background((Periodic("sequencer", 3_600, work),))
        beside.start()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert beside.failing == {"sequencer"}
        async with asyncio.timeout(5):
            while beside.failing:
                await asyncio.sleep(0.001)
        await beside.stop()

    asyncio.run(scenario())
    assert len(attempts) == 4


def test_a_failure_at_the_end_hinders_nobody_else():
    done = []

    async def fails():
        raise OSError

    async def works():
        done.append(None)

    async def scenario():
        both = Background(
            (Periodic("fails", 3_600, fails, last=True), Periodic("works", 3_600, works, last=True))
        )
        await both.stop()
        assert both.failing == {"fails"}

    asyncio.run(scenario())
    assert done == [None]


def test_stop_waits_for_what_was_spawned():
    done = []

    async def slow():
        await asyncio.sleep(0.02)
        done.append(None)

    async def breaks():
        raise ValueError

    async def scenario():
        beside = Background(())
        beside.spawn(slow())
        beside.spawn(breaks())
        await beside.stop()

    asyncio.run(scenario())
    assert done == [None]
