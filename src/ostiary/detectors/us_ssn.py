"""US social security numbers, by the rules of their areas and groups (SSA POMS RM 10201.035)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ostiary.exchange import Finding
from ostiary.numerals import (
    APART,
    CONTEXT,
    GAP,
    MARKUP,
    SIX_DIGITS,
    candidates,
    nearest,
    only_digits,
    settled_number,
)
from ostiary.ports import Detector

_WRITTEN = re.compile(
    rf"(?<!\d)(\d{{3}}{MARKUP}([-. ]){MARKUP}\d{{2}}{MARKUP}\2{MARKUP}\d{{4}})(?!\d|\2\d)", re.ASCII
)
_SPACED = re.compile(rf"{APART}(\d(?:{GAP}{{1,3}}\d){{8}})(?!{GAP}{{0,3}}\d)", re.ASCII)
_PLAIN = re.compile(r"(?<![\w.,#\-])(\d{9})(?![\w\-]|[.,]\d)", re.ASCII)
_HOLD = 9 + 6 * 4 + 8 + 5
_WORDS = {
    "mine": (
        "ssn",
        "social sec",
        "soc sec",
        "social number",
        "taxpayer",
        "my details",
        "my data",
    ),
    "other": (
        " routing",
        " aba ",
        "account",
        "order",
        "invoice",
        "ticket",
        "tracking",
        "passport",
        "license",
        "licence",
        " sin ",
        "suite",
        "apartment",
        "insurance",
        " tfn ",
        " bsn ",
        "tax file",
        " nhs ",
        "phone",
        "mobile",
        " tel ",
        " fax ",
        " zip",
        "serial",
        " part n",
        " sku ",
        "isbn",
        " id ",
    ),
}
_PUBLISHED = frozenset({"078051120", "219099999", "123456789", "987654321"})
_FORMS = ((11, _WRITTEN), (17, _SPACED), (9, _PLAIN))


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
    sign = SIX_DIGITS

    def find(self, text: str) -> list[Finding]:
        """Written 3-2-4, spaced out digit by digit, or nine bare digits after a word for it."""
        return [
            Finding(self.kind, start, end)
            for start, end in sorted(candidates(text, *_FORMS))
            if issued(only_digits(text[start:end])) and self._called(text, start, end)
        ]

    def settled(self, text: str) -> int:
        """Up to a number that may go on."""
        return settled_number(text, _HOLD)

    @staticmethod
    def _called(text: str, start: int, end: int) -> bool:
        """Dashes speak for themselves; other forms need that nothing, or something, is said."""
        value = text[start:end]
        if value.isdigit():
            words = nearest(_WORDS, text, start, CONTEXT * 2)
            return words == "mine" and value not in _PUBLISHED
        if start > 1 and text[start - 2].isdigit() and text[start - 1] == value[3]:
            return False
        if "-" in value[3:7]:
            return True
        digits = only_digits(value)
        if digits in _PUBLISHED or len(set(digits)) < 3:
            return False
        return nearest(_WORDS, text, start) != "other"


def build(options: Options) -> Detector:
    """The detector."""
    del options
    return _UsSsn()
