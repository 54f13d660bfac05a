"""When one more request would make all others wait: it is refused instead.

The event loop is the one queue that everything passes, and a beat measures how late it is.
Overload begins in two ways: a crowd waits for answers on a late loop, and for a while twice as
many requests came as were answered; or the loop is very late for long. Then only such a share of
new requests is admitted as keeps the loop nearly on time, and the share grows back when there is
room. A burst does not count, nor do many requests that wait for a slow model.
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
CROWD_SECONDS: Final = 0.25
FEW: Final = 8
LATE_SECONDS: Final = 0.03
VERY_LATE_SECONDS: Final = 0.25
LONG_SECONDS: Final = 3.0
TARGET_SECONDS: Final = 0.003
RETRY_SECONDS: Final = 2.0
_FIRST, _LEAST, _SHRINK, _GROW = 0.1, 0.02, 0.8, 0.001
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
            self._load.answers += 1

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
        self.arrivals = 0
        self.answers = 0
        self._most = most
        self._clock = clock
        self._crowded: deque[tuple[float, int, int]] = deque()
        self._late_since: float | None = None
        self._share: float | None = None
        self._credit = 0.0
        self._good = 0

    @property
    def shedding(self) -> bool:
        """Whether only a share of the requests is admitted now."""
        return self._share is not None

    def admits(self) -> bool:
        """Whether a request that comes now is taken; asked once for each."""
        self.arrivals += 1
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
        if self._share is not None:
            self._steer(late)
        elif self._is_long(now, late) or self._is_crowd(now, late):
            self._share, self._credit, self._good = _FIRST, 0.0, 0

    def _is_long(self, now: float, late: float) -> bool:
        if late < VERY_LATE_SECONDS or self.unanswered <= CROWD // 4:
            self._late_since = None
            return False
        if self._late_since is None:
            self._late_since = now
        return now - self._late_since >= LONG_SECONDS

    def _is_crowd(self, now: float, late: float) -> bool:
        """Whether a crowd grew twice as fast as it was served, for `CROWD_SECONDS` on end."""
        if late < LATE_SECONDS or self.unanswered <= CROWD:
            self._crowded.clear()
            return False
        self._crowded.append((now, self.arrivals, self.answers))
        while len(self._crowded) > 1 and now - self._crowded[1][0] >= CROWD_SECONDS:
            self._crowded.popleft()
        since, arrivals, answers = self._crowded[0]
        grew = self.arrivals - arrivals > 2 * (self.answers - answers)
        return grew and now - since >= CROWD_SECONDS

    def _steer(self, late: float) -> None:
        """Shrink the share by a part at each late beat; let it grow ever faster between them."""
        share = self._share or _LEAST
        # A loop that is late though few wait is short of a processor, not of room.
        if late > TARGET_SECONDS and self.unanswered > FEW:
            self._share, self._good = max(_LEAST, share * _SHRINK), 0
            return
        self._good += 1
        self._share = min(1.0, share + _GROW * self._good)
        if self._share == 1.0 and self._good >= _CALM_BEATS:
            self._share, self._late_since = None, None
            self._crowded.clear()


def overloaded() -> ServiceUnavailable:
    """The refusal of a request that came when there was no room."""
    return ServiceUnavailable(
        "The gateway is at its limit; try again in a moment.",
        layer="admit",
        rule="overload",
        retry_after=RETRY_SECONDS,
    )
