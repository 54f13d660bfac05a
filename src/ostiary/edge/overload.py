"""When one more request would make all others wait: it is refused instead.

The event loop is the one queue that everything passes. A beat measures how late it is. A crowd of
requests without an answer on a late loop, or a loop that is late for long, is overload: then only
such a share of new requests is admitted as keeps the loop nearly on time, and the share grows
back when there is room. Neither a short burst nor many requests that wait for a slow model count.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from ostiary.errors import ServiceUnavailable

BEAT_SECONDS: Final = 0.02
CROWD: Final = 128
LATE_SECONDS: Final = 0.025
LONG_SECONDS: Final = 1.0
TARGET_SECONDS: Final = 0.006
RETRY_SECONDS: Final = 2.0
_LEAST, _SHRINK, _GROW = 0.01, 0.7, 0.004
_CALM_BEATS: Final = 50


class Stay:
    """One request under way: it counts as unanswered until its answer begins."""

    __slots__ = ("_load", "_waits")

    def __init__(self, load: Overload) -> None:
        self._load = load
        self._waits = True
        load.under_way += 1
        load.unanswered += 1

    def answered(self) -> None:
        """The answer has begun."""
        if self._waits:
            self._waits = False
            self._load.unanswered -= 1

    def __enter__(self) -> Stay:
        return self

    def __exit__(self, *_: object) -> None:
        self.answered()
        self._load.under_way -= 1


class Overload:
    """Decides whether one more request is taken; `most` may be under way at once."""

    def __init__(self, *, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` counts seconds and never goes back."""
        self.under_way = 0
        self.unanswered = 0
        self._most = most
        self._clock = clock
        self._late: deque[float] = deque(maxlen=2)
        self._late_since: float | None = None
        self._share: float | None = None
        self._credit = 0.0
        self._calm = 0

    @property
    def shedding(self) -> bool:
        """Whether only a share of the requests is admitted now."""
        return self._share is not None

    def admits(self) -> bool:
        """Whether a request that comes now is taken; asked once for each."""
        if self.under_way >= self._most:
            return False
        if self._share is None:
            return True
        self._credit += self._share
        if self._credit < 1:
            return False
        self._credit -= 1
        return True

    def stay(self) -> Stay:
        """Count one request while it is under way."""
        return Stay(self)

    async def watch(self) -> None:
        """Beat until cancelled."""
        while True:
            due = self._clock() + BEAT_SECONDS
            await asyncio.sleep(BEAT_SECONDS)
            now = self._clock()
            self.beat(now, max(0.0, now - due))

    def beat(self, now: float, late: float) -> None:
        """Take in that the loop was `late` seconds late at `now`."""
        self._late.append(late)
        if late < LATE_SECONDS:
            self._late_since = None
        elif self._late_since is None:
            self._late_since = now
        if self._share is None:
            if self._is_too_much(now):
                self._share, self._credit, self._calm = _LEAST, 0.0, 0
        else:
            self._steer(late)

    def _is_too_much(self, now: float) -> bool:
        long = self._late_since is not None and now - self._late_since >= LONG_SECONDS
        crowd = self.unanswered > CROWD and min(self._late) >= LATE_SECONDS
        return long or (crowd and len(self._late) == self._late.maxlen)

    def _steer(self, late: float) -> None:
        share = self._share or _LEAST
        if late > TARGET_SECONDS:
            self._share, self._calm = max(_LEAST, share * _SHRINK), 0
        else:
            self._share = min(1.0, share * 1.05 + _GROW)
            self._calm = self._calm + 1 if self._share == 1.0 else 0
        if self._calm >= _CALM_BEATS:
            self._share = None


def overloaded() -> ServiceUnavailable:
    """The refusal of a request that came when there was no room."""
    return ServiceUnavailable(
        "The gateway is at its limit; try again in a moment.",
        layer="admit",
        rule="overload",
        retry_after=RETRY_SECONDS,
    )
