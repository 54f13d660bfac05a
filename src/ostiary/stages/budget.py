"""Limits: requests a minute for every route; tokens an hour reserved before a model is asked.

A reservation is the prompt's estimate plus the request's own maximum for each choice; when the
answer is there, the difference to what was used is given back (or taken).
"""

from __future__ import annotations

from dataclasses import dataclass

from ostiary.errors import TooManyRequests
from ostiary.exchange import Checked, Funded, Limit, Permitted
from ostiary.ports import Counters
from ostiary.wire.tokens import estimate

LAYER = "budget"
MINUTE, HOUR = 60, 3_600
DEFAULT_MAX_TOKENS = 1_000


@dataclass(frozen=True, slots=True)
class Budget:
    """The limits in force and the counters that hold them."""

    counters: Counters
    requests_per_minute: int
    tokens_per_hour: int


@dataclass(frozen=True, slots=True)
class Reservation:
    """Tokens that were set aside for one exchange of one person."""

    person: str
    tokens: int
    limit: Limit


class LimitReached(TooManyRequests):
    """429: `limit` is the one that is reached, so that the answer can tell where it stands."""

    def __init__(self, limit: Limit, what: str) -> None:
        """Take the limit and its words; it says to come back when the same would pass."""
        super().__init__(
            f"The limit of {what} is reached.",
            layer=LAYER,
            rule=limit.name,
            retry_after=max(limit.reset, 1.0),
        )
        self.limit = limit


async def fund(permitted: Permitted, budget: Budget) -> Funded:
    """Count the request against its caller's minute, or refuse with 429."""
    passed, limit = await budget.counters.spend(
        f"rpm:{permitted.principal.person}",
        1,
        quota=budget.requests_per_minute,
        window=MINUTE,
        name="rpm",
    )
    if not passed:
        raise LimitReached(limit, f"{limit.quota} requests a minute")
    return Funded(permitted, (limit,))


async def reserve(checked: Checked, budget: Budget) -> Reservation:
    """Set tokens aside before the model is asked, or refuse with 429."""
    person = checked.funded.principal.person
    answer = checked.choices * (checked.max_tokens or DEFAULT_MAX_TOKENS)
    tokens = estimate(checked.body) + answer
    passed, limit = await budget.counters.spend(
        f"tph:{person}", tokens, quota=budget.tokens_per_hour, window=HOUR, name="tph"
    )
    if not passed:
        raise LimitReached(limit, f"{limit.quota} tokens an hour")
    return Reservation(person, tokens, limit)


async def settle(reservation: Reservation, used: int, budget: Budget) -> None:
    """Give back what was not used; take what was used beyond the reservation."""
    if reservation.tokens != used:
        await budget.counters.refund(
            f"tph:{reservation.person}",
            reservation.tokens - used,
            quota=budget.tokens_per_hour,
            window=HOUR,
        )
