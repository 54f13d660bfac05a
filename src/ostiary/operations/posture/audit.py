"""Whether the log could be rewritten, or lost with its machine."""

from __future__ import annotations

from collections.abc import Iterator

from ostiary.config import Settings
from ostiary.operations.posture.check import Check, untold

LAYER = "audit"


def checks(settings: Settings) -> Iterator[Check]:
    """Copies of the log, and of its checkpoint, elsewhere."""
    log = settings.home / "ledger" / "checkpoint"
    yield untold(
        "log-anchor",
        LAYER,
        5,
        evidence=str(log.relative_to(settings.home.parent)),
        fix="copy ledger/checkpoint to another machine regularly; ostiary audit key verifies it",
    )
