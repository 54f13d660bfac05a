"""What is looked for in texts."""

from __future__ import annotations

from collections.abc import Iterator

from ostiary.config import Settings
from ostiary.exchange import Action
from ostiary.operations.posture.check import Check, judged

LAYER = "detection"


def checks(settings: Settings) -> Iterator[Check]:
    """A policy that acts on what it finds."""
    policy = settings.policy
    yield judged(
        "policy-mode",
        LAYER,
        8,
        good=policy.mode == "enforce",
        evidence="policy.mode",
        fix='policy.mode = "enforce"',
    )
    idle = sorted(k for k, a in policy.kinds.items() if a in {Action.OFF, Action.OBSERVE})
    yield judged(
        "policy-kinds",
        LAYER,
        5,
        good=not idle,
        evidence=f"policy.kinds.{idle[0]}" if idle else "policy.kinds",
        fix='"redact", "mask" or "block" for kinds of personal data',
    )
