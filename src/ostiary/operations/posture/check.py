"""One judgement of a set-up, and how judgements add up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

GOOD, WEAK, UNKNOWN = "good", "weak", "unknown"


@dataclass(frozen=True, slots=True)
class Check:
    """One judgement; `evidence` names a setting or file, `fix` a setting or command.

    `unknown` is what settings and files alone cannot tell; its `fix` is the command that can.
    """

    id: str
    layer: str
    state: str
    weight: int
    evidence: str
    fix: str


def judged(name: str, layer: str, weight: int, *, good: bool, evidence: str, fix: str) -> Check:
    """A check that is good or weak; what is good needs no fix."""
    return Check(name, layer, GOOD if good else WEAK, weight, evidence, "" if good else fix)


def untold(name: str, layer: str, weight: int, *, evidence: str, fix: str) -> Check:
    """A check that settings and files cannot decide."""
    return Check(name, layer, UNKNOWN, weight, evidence, fix)


def score(checks: Sequence[Check]) -> int:
    """0 to 100: the weight of good checks in that of all that could be judged."""
    decided = [check for check in checks if check.state != UNKNOWN]
    total = sum(check.weight for check in decided)
    good = sum(check.weight for check in decided if check.state == GOOD)
    return round(100 * good / total) if total else 0


def report(checks: Sequence[Check]) -> dict[str, Any]:
    """The whole judgement as JSON."""
    return {"score": score(checks), "checks": [asdict(check) for check in checks]}
