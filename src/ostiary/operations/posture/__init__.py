"""How good a set-up is, judged from its settings and files alone; nothing is dialled.

One file for each layer of the founding page. What settings cannot tell is `unknown`, never good.
"""

from __future__ import annotations

from ostiary.config import Settings
from ostiary.operations.posture import (
    audit,
    authorisation,
    detection,
    encryption,
    identity,
    limits,
    network,
    privacy,
    testing,
    threat,
    validation,
)
from ostiary.operations.posture.check import Check, report, score
from ostiary.operations.posture.files import repair

__all__ = ["LAYERS", "Check", "examine", "repair", "report", "score"]

_JUDGES = (
    identity,
    authorisation,
    limits,
    validation,
    detection,
    encryption,
    audit,
    privacy,
    threat,
    network,
    testing,
)
LAYERS = tuple(judge.LAYER for judge in _JUDGES)


def examine(settings: Settings) -> tuple[Check, ...]:
    """Every check, in the order of the layers; each layer has at least one."""
    return tuple(check for judge in _JUDGES for check in judge.checks(settings))
