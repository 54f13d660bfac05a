"""What all counters promise (`ports.Counters`), beside a model that is naive and exact."""

from __future__ import annotations

import asyncio
from fractions import Fraction

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

FIXTURE = settings(
    deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150
)


def on(make_counters, story):
    async def told():
        counters = make_counters()
        try:
            return await story(counters)
        finally:
            await counters.close()

    return asyncio.run(told())


def test_a_full_quota_may_be_spent_at_once_and_the_next_is_told_when(make_counters, clock):
    async def story(counters):
        for count in range(60):
            passed, limit = await counters.spend("k", 1, quota=60, window=60, name="requests")
            assert passed
            assert limit.remaining == 59 - count
        passed, limit = await counters.spend("k", 1, quota=60, window=60, name="requests")
        assert not passed
        assert (limit.name, limit.quota, limit.window, limit.remaining) == ("requests", 60, 60, 0)
        assert 0.99 <= limit.reset <= 1.0
        clock.now += limit.reset
        assert (await counters.spend("k", 1, quota=60, window=60, name="requests"))[0]
        assert not (await counters.spend("k", 1, quota=60, window=60, name="requests"))[0]

    on(make_counters, story)


def test_an_awkward_rate_loses_nothing_to_rounding(make_counters):
    async def story(counters):
        for quota, window in ((7, 60), (99_999, 3_600), (3, 7)):
            key = f"{quota}/{window}"
            for _ in range(quota if quota < 100 else 33_333):
                amount = 1 if quota < 100 else 3
                assert (await counters.spend(key, amount, quota=quota, window=window, name=""))[0]
            assert not (await counters.spend(key, 1, quota=quota, window=window, name=""))[0]

    on(make_counters, story)


def test_a_refused_spend_takes_nothing(make_counters):
    async def story(counters):
        await counters.spend("k", 40, quota=100, window=10, name="")
        for _ in range(50):
            passed, limit = await counters.spend("k", 61, quota=100, window=10, name="")
            assert not passed
            assert limit.remaining == 60
        assert (await counters.spend("k", 60, quota=100, window=10, name=""))[0]

    on(make_counters, story)


def test_what_never_fits_is_refused_with_a_finite_wait(make_counters):
    async def story(counters):
        passed, limit = await counters.spend("k", 101, quota=100, window=10, name="")
        assert not passed
        assert limit.reset == 10.0
        assert limit.remaining == 100

    on(make_counters, story)


def test_keys_do_not_share(make_counters):
    async def story(counters):
        await counters.spend("a", 5, quota=5, window=10, name="")
        assert (await counters.spend("b", 5, quota=5, window=10, name=""))[0]

    on(make_counters, story)


def test_a_refund_gives_back_but_never_more_than_a_quota(make_counters):
    async def story(counters):
        await counters.spend("k", 10, quota=10, window=10, name="")
        await counters.refund("k", 4, quota=10, window=10)
        assert (await counters.spend("k", 4, quota=10, window=10, name=""))[0]
        await counters.refund("k", 1_000, quota=10, window=10)
        await counters.refund("fresh", 1_000, quota=10, window=10)
        for key in ("k", "fresh"):
            assert (await counters.spend(key, 10, quota=10, window=10, name=""))[0]
            assert not (await counters.spend(key, 1, quota=10, window=10, name=""))[0]

    on(make_counters, story)


def test_what_was_used_beyond_the_quota_is_waited_for(make_counters, clock):
    async def story(counters):
        await counters.spend("k", 10, quota=10, window=10, name="")
        await counters.refund("k", -20, quota=10, window=10)
        passed, limit = await counters.spend("k", 1, quota=10, window=10, name="")
        assert not passed
        assert limit.remaining == 0
        assert abs(limit.reset - 21.0) < 0.001
        clock.now += 20.5
        assert not (await counters.spend("k", 1, quota=10, window=10, name=""))[0]
        clock.now += 0.5
        assert (await counters.spend("k", 1, quota=10, window=10, name=""))[0]

    on(make_counters, story)


def test_the_sixth_failure_begins_a_hold_after_which_counting_starts_anew(make_counters, clock):
    async def story(counters):
        async def strike():
            return await counters.strike("k", limit=5, window=60, hold=300)

        assert [await strike() for _ in range(5)] == [0.0] * 5
        assert await strike() == 300.0
        clock.now += 100
        assert abs(await strike() - 200.0) < 0.001
        clock.now += 199.5
        assert 0.0 < await strike() <= 0.501
        clock.now += 0.5
        assert [await strike() for _ in range(5)] == [0.0] * 5
        assert await strike() == 300.0

    on(make_counters, story)


def test_failures_count_in_every_stretch_of_a_window(make_counters, clock):
    async def story(counters):
        async def strike():
            return await counters.strike("k", limit=2, window=60, hold=300)

        assert await strike() == 0.0
        clock.now += 50
        assert await strike() == 0.0
        clock.now += 20  # the first is out of the window, the second is not
        assert await strike() == 0.0
        clock.now += 30
        assert await strike() == 300.0

    on(make_counters, story)


def test_strikes_and_spends_of_one_name_do_not_meet(make_counters):
    async def story(counters):
        await counters.spend("k", 5, quota=5, window=60, name="")
        assert await counters.strike("k", limit=1, window=60, hold=300) == 0.0

    on(make_counters, story)


class NaiveBucket:
    """The same promise in exact fractions, as one would write it down."""

    def __init__(self, quota: int, window: int) -> None:
        self.quota, self.window = quota, window
        self.taken, self.at = Fraction(0), Fraction(0)

    def at_time(self, now: Fraction) -> None:
        back = (now - self.at) * self.quota / self.window
        self.taken, self.at = max(Fraction(0), self.taken - back), now

    def spend(self, amount: int) -> tuple[bool, Fraction]:
        over = self.taken + amount - self.quota
        if over > 0:
            never = amount > self.quota
            return False, Fraction(self.window) if never else over * self.window / self.quota
        self.taken += amount
        return True, self.taken * self.window / self.quota

    def refund(self, amount: int) -> None:
        self.taken = max(Fraction(0), self.taken - amount)


steps = st.lists(
    st.tuples(
        st.sampled_from(["spend", "spend", "spend", "refund"]),
        st.integers(-3, 12),
        st.sampled_from([0, 0, 0, 0.125, 0.25, 1, 2.5, 30, 5_000]),
    ),
    max_size=60,
)


@FIXTURE
@given(steps=steps, quota=st.integers(1, 20), window=st.integers(1, 90))
def test_spends_and_refunds_agree_with_the_naive_model(make_counters, clock, steps, quota, window):
    async def story(counters):
        model = NaiveBucket(quota, window)
        model.at = Fraction(clock.now)
        for kind, amount, pause in steps:
            clock.now += pause
            model.at_time(Fraction(clock.now))
            if kind == "refund":
                await counters.refund("k", amount, quota=quota, window=window)
                model.refund(amount)
                continue
            near = abs(model.taken + abs(amount) - quota) < Fraction(1, 10_000)
            if near and (model.taken + abs(amount)).denominator != 1:
                continue  # closer than any clock can tell
            passed, limit = await counters.spend(
                "k", abs(amount), quota=quota, window=window, name="n"
            )
            assert (passed, limit.reset) == (
                (expected := model.spend(abs(amount)))[0],
                limit.reset,
            )
            assert abs(limit.reset - float(expected[1])) < 0.001
            left = max(Fraction(0), quota - model.taken)
            assert limit.remaining in {int(left), round(left)}

    on(make_counters, story)


class NaiveStrikes:
    def __init__(self) -> None:
        self.times: list[float] = []
        self.until: float | None = None

    def strike(self, now: float, limit: int, window: int, hold: int) -> float:
        if self.until is not None and now < self.until:
            return self.until - now
        if self.until is not None:
            self.times, self.until = [], None
        self.times.append(now)
        if sum(time > now - window for time in self.times) <= limit:
            return 0.0
        self.until = now + hold
        return hold


@FIXTURE
@given(
    pauses=st.lists(st.sampled_from([0, 0, 0.5, 1, 3, 10, 40]), max_size=80),
    limit=st.integers(1, 6),
    window=st.integers(1, 30),
    hold=st.integers(1, 60),
)
def test_strikes_agree_with_the_naive_model(make_counters, clock, pauses, limit, window, hold):
    async def story(counters):
        model = NaiveStrikes()
        for pause in pauses:
            clock.now += pause
            left = await counters.strike("k", limit=limit, window=window, hold=hold)
            assert abs(left - model.strike(clock.now, limit, window, hold)) < 0.001

    on(make_counters, story)


@FIXTURE
@given(jumps=st.lists(st.floats(-1e6, 1e6, allow_nan=False), min_size=1, max_size=30))
def test_a_clock_that_jumps_locks_nobody_out_for_long(make_counters, clock, jumps):
    async def story(counters):
        for jump in jumps:
            clock.now += jump
            _, limit = await counters.spend("k", 1, quota=5, window=10, name="")
            assert 0.0 <= limit.reset <= 10.001
            assert 0.0 <= await counters.strike("k", limit=1, window=5, hold=20) <= 20.0
        clock.now += 20.5
        assert (await counters.spend("k", 5, quota=5, window=10, name=""))[0]
        assert await counters.strike("k", limit=1, window=5, hold=20) == 0.0

    on(make_counters, story)
