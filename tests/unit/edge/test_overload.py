"""When requests are refused for want of room: on two signs of overload, and on nothing else."""

from __future__ import annotations

import asyncio
from typing import Any

from ostiary.edge.overload import (
    BEAT_SECONDS,
    CROWD,
    LATE_SECONDS,
    LONG_SECONDS,
    VERY_LATE_SECONDS,
    Overload,
)
from ostiary.edge.shed import MOST_WAITING, ShedRecords
from ostiary.errors import UnavailableError
from ostiary.exchange import Arrival
from ostiary.stages.admit import Door


class Time:
    """Beats of a load, and requests between them."""

    def __init__(self, most: int = 10_000) -> None:
        self.load = Overload(most=most)
        self.now = 0.0
        self.waiting: list[Any] = []
        self.taken = 0
        self.refused = 0

    def beat(self, late: float, *, come: int = 0, answered: int = 0) -> None:
        self.taken = self.refused = 0
        for _ in range(come):
            if self.load.admits():
                self.waiting.append(self.load.stay())
                self.taken += 1
            else:
                self.refused += 1
        for _ in range(min(answered, len(self.waiting))):
            self.waiting.pop().__exit__()
        self.now += BEAT_SECONDS + late
        self.load.beat(self.now, late)


def test_a_burst_is_taken_whole() -> None:
    time = Time()
    time.beat(0.0, come=120)
    assert (time.taken, time.refused) == (120, 0)
    for _ in range(40):
        time.beat(2 * LATE_SECONDS, answered=3)
    assert not time.load.shedding


def test_many_that_wait_for_a_slow_model_are_no_overload() -> None:
    time = Time()
    for _ in range(100):
        time.beat(0.001, come=10)
        assert time.refused == 0
    assert time.load.under_way == 1_000


def test_a_crowd_that_grows_on_a_late_loop_is_overload_and_passes() -> None:
    time = Time()
    for _ in range(30):
        time.beat(2 * LATE_SECONDS, come=30, answered=5)
    assert time.load.shedding
    assert time.refused > time.taken
    beats = 0
    while time.load.shedding:
        time.beat(0.0, come=2, answered=50)
        beats += 1
    assert beats * BEAT_SECONDS < 5
    assert time.refused == 0


def test_a_late_loop_on_which_few_wait_is_no_overload() -> None:
    time = Time()
    while time.now < LONG_SECONDS * 3:
        time.beat(2 * VERY_LATE_SECONDS, come=3, answered=3)
        assert not time.load.shedding


def test_a_loop_that_is_very_late_for_long_is_overload() -> None:
    time = Time()
    time.beat(0.0, come=CROWD // 2)
    while time.now < LONG_SECONDS / 2:
        time.beat(2 * VERY_LATE_SECONDS, come=1, answered=1)
    time.beat(0.0)
    while time.now < LONG_SECONDS:
        time.beat(2 * VERY_LATE_SECONDS, come=1, answered=1)
        assert not time.load.shedding
    while time.now < LONG_SECONDS * 2.5:
        time.beat(2 * VERY_LATE_SECONDS, come=1, answered=1)
    assert time.load.shedding


def test_while_it_lasts_some_are_taken_and_the_share_follows_the_room() -> None:
    time = Time()
    while not time.load.shedding:
        time.beat(2 * LATE_SECONDS, come=30, answered=5)
    taken = []
    for _ in range(400):
        room = time.taken * 0.002
        time.beat(room, come=20, answered=20)
        taken.append(time.taken)
    assert 0 < sum(taken) < 20 * len(taken)
    assert time.load.unanswered <= CROWD * 4


def test_no_more_than_the_stated_number_are_under_way() -> None:
    load = Overload(most=2)
    assert load.admits()
    with load.stay(), load.stay() as second:
        second.answered()
        assert not load.admits()
        assert (load.under_way, load.unanswered) == (2, 1)
    assert load.admits()
    assert (load.under_way, load.unanswered) == (0, 0)


class Books:
    """A ledger that can be unable to write."""

    def __init__(self) -> None:
        self.kept: list[str] = []
        self.broken = False

    def refused(self, arrival: Arrival, *_: Any) -> str:
        return arrival.request_id

    async def commit(self, *records: str) -> None:
        if self.broken:
            raise UnavailableError("full")
        self.kept += records


def request(number: int) -> Arrival:
    async def read(_: int) -> bytes:
        return b""

    return Arrival(
        request_id=str(number),
        method="GET",
        route=None,
        allowed=(),
        params={},
        query=b"",
        headers=((b"x-forwarded-for", b"unreadable"),),
        peer="192.0.2.1",
        read=read,
    )


def test_every_refusal_is_recorded_once_even_after_the_store_failed() -> None:
    async def test() -> None:
        books = Books()
        shed = ShedRecords(books, Door(frozenset(), (), str))
        assert all(shed.note(request(n)) for n in range(150))
        books.broken = True
        try:
            await shed.flush()
        except UnavailableError:
            books.broken = False
        assert shed.note(request(150))
        await shed.flush()
        await shed.flush()
        assert books.kept == [str(n) for n in range(151)]

    asyncio.run(test())


def test_what_would_never_be_recorded_is_not_noted() -> None:
    shed = ShedRecords(Books(), Door(frozenset(), (), str))
    assert all(shed.note(request(n)) for n in range(MOST_WAITING))
    assert not shed.note(request(0))
