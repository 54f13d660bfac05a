from __future__ import annotations
import time
from dataclasses import dataclass
from ostiary.exchange import Limit


@dataclass(frozen=True)
class Options:
    pass


class M:
    def __init__(self, clock):
        self.c = clock
        self.t = {}

    async def spend(self, key, amount, *, quota, window, name):
        now = self.c()
        tat = max(self.t.get(key, now), now)
        cost = amount * window / quota
        new = tat + cost
        if new - now > window + 1e-9:
            return False, Limit(
                name,
                quota,
                window,
                max(0, int((window - (tat - now)) * quota / window)),
                new - now - window,
            )
        self.t[key] = new
        return True, Limit(
            name, quota, window, int((window - (new - now)) * quota / window), new - now
        )

    async def refund(self, key, amount, *, quota, window):
        self.t[key] = self.t.get(key, self.c()) - amount * window / quota

    async def strike(self, key, *, limit, window, hold):
        return 0.0

    async def close(self):
        pass


def build(options, clock):
    return M(clock)
