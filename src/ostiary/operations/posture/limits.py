"""What one caller may use."""

from __future__ import annotations

from collections.abc import Iterator

from ostiary.config import Settings
from ostiary.operations.posture.check import Check, judged

LAYER = "limits"
_SEED_REQUESTS, _SEED_TOKENS, _SEED_LOGINS = 60, 100_000, 5


def checks(settings: Settings) -> Iterator[Check]:
    """Limits near those of the founding page; loose ones are allowed, and told here."""
    limits = settings.limits
    for name, value, most in (
        ("requests_per_minute", limits.requests_per_minute, 10 * _SEED_REQUESTS),
        ("tokens_per_hour", limits.tokens_per_hour, 20 * _SEED_TOKENS),
        ("failed_logins", limits.failed_logins, 4 * _SEED_LOGINS),
    ):
        yield judged(
            name.replace("_", "-"),
            LAYER,
            3,
            good=value <= most,
            evidence=f"limits.{name}",
            fix=f"limits.{name} of at most {most}",
        )
