"""A provider that fails is left alone, and is never left alone for long."""

from __future__ import annotations

from ostiary.upstream.breaker import FAILURES, Breaker


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def opened(clock: Clock) -> Breaker:
    breaker = Breaker(clock)
    for _ in range(FAILURES):
        assert breaker.wait() == 0
        breaker.failed()
    assert breaker.open
    return breaker


def test_it_opens_after_ten_failures_in_a_row() -> None:
    breaker = Breaker(Clock())
    for _ in range(FAILURES - 1):
        breaker.failed()
    breaker.succeeded()
    for _ in range(FAILURES - 1):
        breaker.failed()
    assert not breaker.open
    assert breaker.wait() == 0
    breaker.failed()
    assert breaker.open
    assert breaker.wait() == 10


def test_while_it_is_open_there_is_one_probe_at_a_time() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now += 9.5
    assert breaker.wait() == 0.5
    clock.now += 0.5
    assert breaker.wait() == 0
    assert breaker.wait() == 10
    assert breaker.open


def test_a_success_closes_it_and_a_failed_probe_does_not() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now += 10
    assert breaker.wait() == 0
    breaker.failed()
    assert breaker.wait() == 10
    clock.now += 10
    assert breaker.wait() == 0
    breaker.succeeded()
    assert not breaker.open
    assert breaker.wait() == 0
    breaker.failed()
    assert not breaker.open


def test_a_probe_that_hangs_does_not_hold_up_the_next() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now += 10
    assert breaker.wait() == 0
    clock.now += 10
    assert breaker.wait() == 0


def test_late_failures_of_older_exchanges_do_not_keep_it_open() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now += 9
    for _ in range(50):
        breaker.failed()
    clock.now += 1
    assert breaker.wait() == 0
