"""Whether the gateway was attacked on purpose."""

from __future__ import annotations

from collections.abc import Iterator

from ostiary.config import Settings
from ostiary.operations.posture.check import Check, untold

LAYER = "testing"


def checks(settings: Settings) -> Iterator[Check]:
    """Only a run can tell."""
    yield untold(
        "attack-suite",
        LAYER,
        5,
        evidence=f"{settings.server.host}:{settings.server.port}",
        fix="ostiary probe --self",
    )
