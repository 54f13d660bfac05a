"""Records of requests that were refused for want of room: every one, without a wait for the disk.

Any other refusal is durable before it is answered. These are answered first and become durable
together, a quarter of a second later, so that refusing stays cheaper than serving; a crash in
between loses the records of that quarter.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import replace
from typing import Final

from ostiary.edge.overload import overloaded
from ostiary.errors import MalformedRequest
from ostiary.exchange import Arrival
from ostiary.stages.admit import Door, peer_address
from ostiary.stages.ledger import Ledger, agent_of

FLUSH_SECONDS: Final = 0.25
MOST_WAITING: Final = 20_000
_AT_ONCE, _IN_A_ROW = 64, 4


class ShedRecords:
    """Gathers refusals and makes their records durable; `flush` is run again and again."""

    def __init__(self, ledger: Ledger, door: Door) -> None:
        self._ledger = ledger
        self._door = door
        self._waiting: deque[tuple[Arrival, str, str]] = deque()

    def note(self, arrival: Arrival) -> bool:
        """Take a refusal in; False where so many wait that this one would never be recorded."""
        if len(self._waiting) >= MOST_WAITING:
            return False
        forwarded = [v.decode("latin-1") for n, v in arrival.headers if n == b"x-forwarded-for"]
        agents = [v.decode("latin-1") for n, v in arrival.headers if n == b"user-agent"]
        try:
            address = peer_address(arrival.peer, forwarded, self._door.trusted_proxies)
        except MalformedRequest:
            address = arrival.peer
        # Without what holds its connection.
        kept = replace(arrival, read=_nothing, headers=(), query=b"")
        self._waiting.append((kept, address, agent_of(agents)))
        return True

    async def flush(self) -> None:
        """Make durable what waits now; what a failing store does not take waits on."""
        left = len(self._waiting)
        while left > 0:
            taken = min(_AT_ONCE, left)
            records = []
            for number in range(taken):
                records.append(self._ledger.refused(*self._waiting[number], overloaded(), None))
                if number % _IN_A_ROW == 0:
                    await asyncio.sleep(0)
            await self._ledger.commit(*records)
            for _ in records:
                self._waiting.popleft()
            left -= taken


async def _nothing(_limit: int) -> bytes:
    return b""
