"""US social security numbers, by the rules of their areas and groups (SSA POMS RM 10201.035)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ostiary.exchange import Finding
from ostiary.numerals import APART, CONTEXT, GAP, nearest, only_digits, settled_number
from ostiary.ports import Detector

_WRITTEN = re.compile(r"(?<!\d)\d{3}([-. ])\d{2}\1\d{4}(?!\d)")
_SPACED = re.compile(rf"{APART}\d(?:{GAP}{{1,3}}\d){{8}}(?!{GAP}{{0,3}}\d)")
_PLAIN = re.compile(r"(?<![\w.,#\-])\d{9}(?![\w\-]|[.,]\d)")
_HOLD = 9 + 8 * 3 + 5
_WORDS = re.compile(
    r"(?P<mine>ssn|social[ -]?sec|soc\.? sec|social number|taxpayer|my details|my data)"
    r"|(?P<other>routing|aba\b|account|order|invoice|ticket|tracking|passport|licen[cs]e|sin\b"
    r"|insurance|tfn|bsn|tax file|nhs|phone|mobile|tel\b|fax|zip|serial|part n|sku|isbn|id\b)",
    re.IGNORECASE,
)
_PUBLISHED = frozenset({"078051120", "219099999", "123456789", "987654321"})


@dataclass(frozen=True, slots=True)
class Options:
    """Nothing to choose."""


def issued(digits: str) -> bool:
    """Whether nine digits can have been given out: area not 000, 666 or 9xx, no part all zero."""
    return not (
        digits[:3] in {"000", "666"}
        or digits[0] == "9"
        or digits[3:5] == "00"
        or digits[5:] == "0000"
    )


class _UsSsn:
    kind = "us_ssn"
    personal = True
    reach = CONTEXT * 2 + _HOLD
    sign = r"\d"

    def find(self, text: str) -> list[Finding]:
        """Written 3-2-4, spaced out digit by digit, or nine bare digits after a word for it."""
        spans = [m.span() for m in _WRITTEN.finditer(text) if self._alone(text, m)]
        spans += [m.span() for m in _SPACED.finditer(text)]
        spans += [
            m.span()
            for m in _PLAIN.finditer(text)
            if m.group() not in _PUBLISHED
            and nearest(_WORDS, text, m.start(), CONTEXT * 2) == "mine"
        ]
        return [Finding(self.kind, a, b) for a, b in sorted(spans) if issued(only_digits(text[a:b]))]

    def settled(self, text: str) -> int:
        """Up to a number that may go on."""
        return settled_number(text, _HOLD)

    @staticmethod
    def _alone(text: str, match: re.Match[str]) -> bool:
        """No further group hangs on by the same sign: then it is some longer number."""
        start, end = match.span()
        before = start > 1 and text[start - 1] == match[1] and text[start - 2].isdigit()
        after = text[end : end + 1] == match[1] and text[end + 1 : end + 2].isdigit()
        return not before and not after


def build(options: Options) -> Detector:
    """The detector."""
    del options
    return _UsSsn()
