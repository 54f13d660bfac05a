"""Whether active content is spoken about: quoted in a question, not handed over."""

from __future__ import annotations

import re

CONTEXT = 240
"""How many characters to the left are read for a quotation and the question around it."""

_ABOUT = re.compile(
    r"\b(?:why|explain|how (?:would|do|does|can|to)|what (?:is|does|did)|example|dangerous|attacker"
    r"|neutrali[sz]|prevent|prepared statement|payload|training|unit test|detect|catch|mean"
    r"|understand|escape|sanitis|sanitiz|our waf|logged|review|fix|vulnerab|security)",
    re.IGNORECASE,
)


def discussed(text: str, start: int) -> bool:
    """Whether `start` lies after a back-tick that a sentence of discussion leads up to.

    Reads at most `CONTEXT` characters to the left and nothing to the right, so that a stream can
    decide it; it is a courtesy to honest questions, not a boundary of security.
    """
    before = text[max(0, start - CONTEXT) : start]
    tick = before.find("`")
    return tick > 0 and _ABOUT.search(before[:tick]) is not None
