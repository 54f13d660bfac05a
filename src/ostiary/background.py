"""The named tasks beside the requests: started together, restarted when they fail, ended in order.

A task that fails is started again after a pause that doubles up to a minute; while it is down,
`healthy` says so, and readiness with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import structlog

log = structlog.get_logger("ostiary")
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 60.0


@dataclass(frozen=True, slots=True)
class Periodic:
    """Work to do again and again: `run` every `seconds`, and once more at the end if `last`."""

    name: str
    seconds: float
    run: Callable[[], Awaitable[object]]
    last: bool = False


class Background:
    """Supervises periodic work and one-off work that nobody waits for."""

    def __init__(self, work: tuple[Periodic, ...]) -> None:
        """Take the periodic work, in the order in which it is ended."""
        self._work = work
        self._loops: list[asyncio.Task[None]] = []
        self._loose: set[asyncio.Task[Any]] = set()
        self._failing: set[str] = set()

    @property
    def failing(self) -> frozenset[str]:
        """The names of work whose last run failed."""
        return frozenset(self._failing)

    def start(self) -> None:
        """Start every loop."""
        self._loops = [asyncio.create_task(self._repeat(item)) for item in self._work]

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run something to its end, whoever waits for it leaves; `stop` does wait for it."""
        task = asyncio.create_task(work)
        self._loose.add(task)
        task.add_done_callback(self._loose.discard)
        return task

    async def stop(self) -> None:
        """End the loops, finish what was spawned, and run once more what must not be left."""
        for task in self._loops:
            task.cancel()
        await asyncio.gather(*self._loops, *self._loose, return_exceptions=True)
        for item in self._work:
            if item.last:
                await self._once(item)

    async def _repeat(self, item: Periodic) -> None:
        pause = _FIRST_PAUSE
        while True:
            if await self._once(item):
                pause = _FIRST_PAUSE
                await asyncio.sleep(item.seconds)
            else:
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)

    async def _once(self, item: Periodic) -> bool:
        try:
            await item.run()
        except Exception as cause:
            if item.name not in self._failing:
                log.error("background_failed", task=item.name, cause=type(cause).__name__)
            self._failing.add(item.name)
            return False
        self._failing.discard(item.name)
        return True
