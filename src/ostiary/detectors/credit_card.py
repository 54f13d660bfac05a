"""Payment card numbers: length, issuer's range (ISO/IEC 7812) and check digit."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ostiary.exchange import Finding
from ostiary.numerals import (
    APART,
    CONTEXT,
    GAP,
    SIX_DIGITS,
    candidates,
    luhn,
    nearest,
    only_digits,
    settled_number,
)
from ostiary.ports import Detector

_PLAIN = re.compile(r"(?<!\d)(?<!\d[.,])(\d{12,19})(?!\d|[.,]\d)", re.ASCII)
_ISSUED = r"(?<!\d)(?=[3-6]|2[0-7]|18|81)"
_GROUPED = re.compile(
    rf"{_ISSUED}(?=(\d{{4}}([ ._-])"
    r"(?:\d{6}\2\d{4,5}|\d{4}\2\d{4}\2(?:\d{4}\2)?\d{1,3}))(?!\d))",
    re.ASCII,
)
_SIXTEEN = re.compile(rf"{_ISSUED}(?=(\d{{4}}(?:[ \t._\-*`]{{1,4}}+\d{{4}}){{3}})(?!\d))", re.ASCII)
_SPACED = re.compile(rf"{APART}(\d(?:{GAP}{{1,3}}\d){{11,18}})(?!{GAP}{{0,3}}\d)", re.ASCII)
_HOLD = 19 + 18 * 3 + 5
_WORDS = {
    "mine": (
        "card",
        "visa",
        "amex",
        "american express",
        "discover ",
        "diners",
        " jcb ",
        "maestro",
        "paid with",
        " karte",
        "tarjeta",
        " carte ",
        " cartao ",
        " carta di",
    ),
    "other": (
        "order",
        "ticket",
        "invoice",
        "tracking",
        "serial",
        "isbn",
        "imei",
        " ean ",
        " gtin",
        "commit",
        "timestamp",
        " id ",
        "reference",
    ),
}
_FORMS = ((12, _PLAIN), (15, _GROUPED), (19, _SIXTEEN), (23, _SPACED))


@dataclass(frozen=True, slots=True)
class Options:
    """Nothing to choose."""


def _issuer(digits: str) -> bool:
    """Whether an issuer of that range gives out numbers of that length."""
    two, four, length = int(digits[:2]), int(digits[:4]), len(digits)
    if digits[0] == "4":
        return length in {13, 16, 19}
    if 51 <= two <= 55 or 2221 <= four <= 2720:
        return length == 16
    if two in {34, 37}:
        return length == 15
    if two in {36, 38, 39} or 300 <= four // 10 <= 305 or four == 3095:
        return length in {14, 16, 19}
    if two == 35:
        return length in {16, 19}
    if four in {1800, 2131}:
        return length == 15
    if four == 6011 or two in {64, 65, 62, 81} or 2200 <= four <= 2204:
        return 16 <= length <= 19
    return length >= 13 and (two == 50 or 56 <= two <= 69)


class _CreditCard:
    kind = "credit_card"
    personal = True
    reach = CONTEXT + _HOLD
    sign = SIX_DIGITS

    def find(self, text: str) -> list[Finding]:
        """Whole, in the groups that cards are printed in, or spaced out digit by digit."""
        spans = set(candidates(text, *_FORMS))
        return [Finding(self.kind, a, b) for a, b in sorted(spans) if self._holds(text, a, b)]

    def settled(self, text: str) -> int:
        """Up to a number that may go on."""
        return settled_number(text, _HOLD)

    @staticmethod
    def _holds(text: str, start: int, end: int) -> bool:
        digits = only_digits(text[start:end])
        if not luhn(digits) or digits.count(digits[0]) == len(digits):
            return False
        word = nearest(_WORDS, text, start)
        return word == "mine" or (word != "other" and _issuer(digits))


def build(options: Options) -> Detector:
    """The detector."""
    del options
    return _CreditCard()
