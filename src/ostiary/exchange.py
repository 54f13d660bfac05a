"""The values that travel. Each is made by exactly one stage, and the next stage takes only it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Action(StrEnum):
    """What the policy does with a kind of finding, weakest first."""

    OFF = "off"
    OBSERVE = "observe"
    MASK = "mask"
    REDACT = "redact"
    BLOCK = "block"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a detector saw: a kind and a half-open range of code points; never the text itself."""

    kind: str
    start: int
    end: int
