"""What follows from an attack."""

from __future__ import annotations

from collections.abc import Iterator

from ostiary.config import Settings
from ostiary.operations.posture.check import Check, judged

LAYER = "threat"
_SHORTEST_THROTTLE, _SHORTEST_BLOCK = 60, 300


def checks(settings: Settings) -> Iterator[Check]:
    """Throttles and blocks that are felt."""
    limits = settings.limits
    yield judged(
        "throttle-seconds",
        LAYER,
        3,
        good=limits.throttle_seconds >= _SHORTEST_THROTTLE,
        evidence="limits.throttle_seconds",
        fix=f"limits.throttle_seconds of at least {_SHORTEST_THROTTLE}",
    )
    yield judged(
        "block-seconds",
        LAYER,
        3,
        good=limits.block_seconds >= _SHORTEST_BLOCK,
        evidence="limits.block_seconds",
        fix=f"limits.block_seconds of at least {_SHORTEST_BLOCK}",
    )
