"""From overlapping findings to released text: one fate per character, so that cuts do not matter.

Where findings overlap, each character has the strongest action of those that cover it. A maximal
run of characters that are redacted becomes one marker, however many findings made it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from ostiary.exchange import Action, Finding

MARKER = "[REDACTED]"
HIDDEN = "*"


class Decided(NamedTuple):
    """A finding and what the policy does with its kind."""

    finding: Finding
    action: Action


@dataclass(frozen=True, slots=True)
class Cover:
    """What one finding does to its range: `shown` is None where nothing of it may be seen."""

    start: int
    end: int
    shown: str | None = field(repr=False)


def mask(value: str) -> str:
    """As long as `value`, with at most a third of its letters and digits left to see.

    An e-mail address keeps the first character and its signs, other values at most their last four
    letters or digits and what separates them.
    """
    seen = [i for i, c in enumerate(value) if c.isalnum()]
    share = len(seen) // 3
    kept = set(seen[:1] if "@" in value and share else seen[len(seen) - min(4, share) :])
    return "".join(c if i in kept or c in "@.-/() " else HIDDEN for i, c in enumerate(value))


def cover(text: str, decided: Decided, offset: int = 0) -> Cover | None:
    """What is done to the range of a finding, or None where it stays as it is.

    `text[0]` is the character at `offset`; the finding's whole range must be in `text`.
    """
    finding, action = decided
    if action in (Action.OFF, Action.OBSERVE):
        return None
    if action is Action.MASK:
        value = text[finding.start - offset : finding.end - offset]
        return Cover(finding.start, finding.end, mask(value))
    return Cover(finding.start, finding.end, None)


def render(
    text: str, covers: Iterable[Cover], offset: int = 0, in_marker: bool = False
) -> tuple[str, bool]:
    """The text under its covers, and whether it ends inside a marker.

    `in_marker` is that of the text right before, so that a run cut in two has one marker. Linear in
    the text and the covers.
    """
    covers = list(covers)
    if not covers:
        return text, in_marker and not text
    fates: list[str | None] = list(text)
    for one in covers:
        first = max(one.start - offset, 0)
        last = max(first, min(one.end - offset, len(text)))
        if one.shown is None:
            fates[first:last] = [None] * (last - first)
            continue
        for i in range(first, last):
            fate = fates[i]
            if fate is not None and fate != HIDDEN:
                fates[i] = one.shown[i + offset - one.start]
    pieces = []
    for fate in fates:
        if fate is not None:
            pieces.append(fate)
        elif not in_marker:
            pieces.append(MARKER)
        in_marker = fate is None
    return "".join(pieces), in_marker


def first_block(decided: Iterable[Decided]) -> int | None:
    """Where the first finding begins that the policy blocks."""
    return min((f.start for f, action in decided if action is Action.BLOCK), default=None)


def apply(text: str, decided: Iterable[Decided]) -> str:
    """The text that may be passed on: redacted, masked, and cut off where a block begins."""
    decided = list(decided)
    covers = [c for one in decided if (c := cover(text, one)) is not None]
    return render(text[: first_block(decided)], covers)[0]
