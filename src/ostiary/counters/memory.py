"""Counts in the memory of one process: exact, bounded, gone with the process.

A quota is a bucket that holds `quota` and fills at quota/window a second (GCRA, kept as what was
taken and when, so that whole amounts stay exact). Failures are counted by their times, so that
"at most N in W seconds" holds for every W seconds, not only from one tick of a clock to the next.
"""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Generic, Protocol, TypeVar

from ostiary.exchange import Limit

_SWEPT: Final = 2  # entries looked at by each call: every idle one is found in time
_COMPARED: Final = 8  # candidates among which the idlest is given up when full
_GRAIN: Final = 1e-6  # of one unit: what rounding may take from a full quota


@dataclass(frozen=True, slots=True)
class Options:
    """`capacity` is how many keys of each sort are remembered beside holds; 0.4 KB each."""

    capacity: int = 65_536


def build(options: Options, clock: Callable[[], float] = time.monotonic) -> MemoryCounters:
    """Counters that begin at nought; `clock` is in seconds and may jump."""
    return MemoryCounters(options.capacity, clock)


@dataclass(slots=True)
class _Bucket:
    """What is taken of a quota at a time, and how fast it comes back (units a second)."""

    taken: float
    at: float
    rate: float

    def settle(self, now: float) -> None:
        """Let what has come back until now come back; a clock that jumped back gives nothing."""
        self.taken = max(0.0, self.taken - max(0.0, now - self.at) * self.rate)
        self.at = now

    def idle_in(self, now: float) -> float:
        return self.taken / self.rate - max(0.0, now - self.at)


@dataclass(slots=True)
class _Strikes:
    """The times of failures within the window."""

    window: int
    times: deque[float] = field(default_factory=deque)

    def idle_in(self, now: float) -> float:
        return self.times[-1] + self.window - now if self.times else 0.0


@dataclass(slots=True)
class _Hold:
    """A wait in force, until a time."""

    until: float
    length: int

    def idle_in(self, now: float) -> float:
        """Never more than it was given, whatever the clock does."""
        self.until = min(self.until, now + self.length)
        return self.until - now


class _Entry(Protocol):
    def idle_in(self, now: float) -> float:
        """Seconds until forgetting this changes nothing; ≤ 0 for now."""
        ...


_E = TypeVar("_E", bound=_Entry)


class _Memory(Generic[_E]):
    """A map that drops what is idle: each use looks at a few entries, in turn.

    With a `capacity` it gives up the idlest of a few where it is full.
    """

    def __init__(self, capacity: int | None) -> None:
        self._capacity = capacity
        self._entries: OrderedDict[str, _E] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def use(self, key: str, now: float) -> _E | None:
        self._sweep(now)
        return self._entries.get(key)

    def add(self, key: str, entry: _E, now: float) -> None:
        if self._capacity is not None and len(self._entries) >= self._capacity:
            self._give_up_one(now)
        self._entries[key] = entry

    def forget(self, key: str) -> None:
        del self._entries[key]

    def _sweep(self, now: float) -> None:
        for _ in range(min(_SWEPT, len(self._entries))):
            key, entry = self._entries.popitem(last=False)
            if entry.idle_in(now) > 0.0:
                self._entries[key] = entry

    def _give_up_one(self, now: float) -> None:
        candidates: list[tuple[float, str]] = []
        for _ in range(min(_COMPARED, len(self._entries))):
            key = next(iter(self._entries))
            self._entries.move_to_end(key)
            candidates.append((self._entries[key].idle_in(now), key))
        del self._entries[min(candidates)[1]]


class MemoryCounters:
    """`ports.Counters` in memory. Every call is O(1) and does not wait, so that it is atomic."""

    def __init__(self, capacity: int, clock: Callable[[], float]) -> None:
        if capacity < 1:
            raise ValueError("capacity must be at least 1")
        self._clock = clock
        self._buckets: _Memory[_Bucket] = _Memory(capacity)
        self._strikes: _Memory[_Strikes] = _Memory(capacity)
        # Without a bound, for a hold in force is never forgotten; each costs its maker more than
        # `limit` refused requests, and ends.
        self._holds: _Memory[_Hold] = _Memory(None)

    def __len__(self) -> int:
        """How many keys are remembered."""
        return len(self._buckets) + len(self._strikes) + len(self._holds)

    async def spend(
        self, key: str, amount: int, *, quota: int, window: int, name: str
    ) -> tuple[bool, Limit]:
        """Take `amount` (≥ 0) of `quota` per `window` seconds if there is room.

        `Limit.reset`: after a refusal, seconds until the same spend passes (`window` where it is
        more than the quota and never can); after a pass, seconds until the quota is whole again.
        """
        if amount < 0:
            raise ValueError("an amount cannot be negative; that is a refund")
        now = self._clock()
        bucket, rate = self._bucket(key, quota, window, now), quota / window
        taken = bucket.taken if bucket else 0.0
        over = taken + amount - quota
        if over > _GRAIN:
            reset = float(window) if amount > quota else over / rate
            return False, Limit(name, quota, window, _whole(quota - taken), reset)
        self._keep(key, bucket, taken + amount, rate, now)
        return True, Limit(name, quota, window, _whole(-over), (taken + amount) / rate)

    async def refund(self, key: str, amount: int, *, quota: int, window: int) -> None:
        """Give back, at most to a whole quota; a negative amount is taken even beyond it."""
        now = self._clock()
        bucket = self._bucket(key, quota, window, now)
        taken = bucket.taken if bucket else 0.0
        self._keep(key, bucket, max(0.0, taken - amount), quota / window, now)

    def _bucket(self, key: str, quota: int, window: int, now: float) -> _Bucket | None:
        bucket = self._buckets.use(key, now)
        if bucket is not None:
            bucket.rate = quota / window
            bucket.settle(now)
        return bucket

    def _keep(
        self, key: str, bucket: _Bucket | None, taken: float, rate: float, now: float
    ) -> None:
        if bucket is not None:
            bucket.taken = taken
        elif taken > 0.0:
            self._buckets.add(key, _Bucket(taken, now, rate), now)

    async def strike(self, key: str, *, limit: int, window: int, hold: int) -> float:
        """Count a failure; 0.0 while at most `limit` in `window` s, else seconds left to wait.

        The first strike above `limit` starts a hold of `hold` seconds; strikes within it neither
        count nor lengthen it, and after it counting starts anew.
        """
        now = self._clock()
        held = self._holds.use(key, now)
        left = held.idle_in(now) if held is not None else 0.0
        if left > 0.0:
            return left
        if held is not None:
            self._holds.forget(key)
        strikes = self._strikes.use(key, now)
        if strikes is None:
            strikes = _Strikes(window)
            self._strikes.add(key, strikes, now)
        times, strikes.window = strikes.times, window
        while times and times[-1] > now:  # the clock jumped back: those times tell nothing
            times.pop()
        while times and times[0] <= now - window:
            times.popleft()
        times.append(now)
        if len(times) <= limit:
            return 0.0
        self._strikes.forget(key)
        self._holds.add(key, _Hold(now + hold, hold), now)
        return float(hold)

    async def close(self) -> None:
        """Nothing to release; the counts stay until the process ends."""


def _whole(units: float) -> int:
    return max(0, int(units + _GRAIN))
