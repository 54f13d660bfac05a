"""Telephone numbers: international (ITU-T E.164), national with a trunk 0, North American, local."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ostiary.exchange import Finding
from ostiary.numerals import CONTEXT, nearest, only_digits, settled_number
from ostiary.ports import Detector

_EXTENSION = r"(?: ?(?:x|ext\.?) ?\d{1,5})?+"
_INTERNATIONAL = re.compile(
    rf"(?<![\w+])(?:\+\(?|00(?=[1-9 .\-]))\d(?:[ .\-/()]{{0,2}}\d){{6,15}}(?!\d){_EXTENSION}"
)
_NORTH_AMERICAN = re.compile(
    r"(?<![\w(])(?<!\d[.,:])(?:1[ .\-])?(?:\(\d{3}\)[ .\-]?|\d{3}([ .\-]))\d{3}[ .\-]\d{4}(?!\d)"
    + _EXTENSION
)
_NATIONAL = re.compile(
    r"(?<![\w(])(?<!\d[.,:])(?:\(0\d{1,4}\)|0\d{1,4})(?:[ .\-/]{1,2}\d{2,8}){1,5}(?!\d)" + _EXTENSION
)
_BARE = re.compile(
    rf"(?<![\w(#$€£])(?<!\d[.,:])\(?\d(?:\)?[ .\-/]?\(?\d){{5,12}}(?![\d]){_EXTENSION}(?![\w%]|[.,]\d)"
)
_LONGEST = 64
_AFTER = 10
_HOLD = _LONGEST + _AFTER
_TAIL = re.compile(
    r"(?:[+(]{1,2}|[+(]{0,2}\d[\d .\-/()]*+(?:(?i:x|ext?\.?) ?\d{0,6})?+(?i:[a-z]{0,8}))\Z"
)
_WORDS = re.compile(
    r"(?P<phone>phone|\btel\b|tel[:.]|t[eé]l\b|telefon|tel[eé]fono|telefone|t[eé]l[eé]phone|mobile"
    r"|mobil\b|m[oó]vil|\bcell|celular|\bfax|\bcall|\bring|\bdial|reach (?:me|us|him|her|them|out)"
    r"|answering at|whatsapp|\bsms\b|\btext (?:me|us|him|her)|hotline|\bdesk\b|\boffice:|landline"
    r"|registered(?: number)?|number on file|contact (?:me|us|him|her|number|no)|my number"
    r"|cep numaram|numer telefonu|puhelin)"
    r"|(?P<other>order|ticket|invoice|tracking|version|timestamp|isbn|account|card|ssn|social"
    r"|routing|serial|amount|\bid\b|passport|licen[cs]e|iban|number is|coordinates|nhs|tax|pesel"
    r"|commit|compute|price|date|zip|aadhaar|\bpan\b|cpf|bsn|tfn|sin\b)",
    re.IGNORECASE,
)
_WORD_AFTER = re.compile(r" ?(?i:\(?(?:office|fax|mobile|cell|phone|home|work|tel))\b")


@dataclass(frozen=True, slots=True)
class Options:
    """Nothing to choose."""


class _PhoneNumber:
    kind = "phone_number"
    personal = True
    reach = CONTEXT + _HOLD
    sign = r"\d"

    def find(self, text: str) -> list[Finding]:
        """Forms that speak for themselves; bare digits only beside a word for telephones."""
        spans: dict[int, int] = {}
        for match in _INTERNATIONAL.finditer(text):
            self._keep(spans, match, 8, 15)
        for match in _NORTH_AMERICAN.finditer(text):
            if self._north_american(text, match):
                self._keep(spans, match, 10, 16)
        for match in _NATIONAL.finditer(text):
            if self._national(text, match):
                self._keep(spans, match, 8, 12)
        for match in _BARE.finditer(text):
            if self._called(text, match):
                self._keep(spans, match, 6, 13)
        return [Finding(self.kind, a, b) for a, b in sorted(spans.items())]

    def settled(self, text: str) -> int:
        """Up to a number that may go on, with the word right after it."""
        return settled_number(text, _HOLD, _TAIL)

    @staticmethod
    def _keep(spans: dict[int, int], match: re.Match[str], least: int, most: int) -> None:
        if least <= len(only_digits(match.group())) <= most + 5 and len(match.group()) <= _LONGEST:
            spans[match.start()] = max(match.end(), spans.get(match.start(), 0))

    @staticmethod
    def _called(text: str, match: re.Match[str]) -> bool:
        if _WORD_AFTER.match(text, match.end()):
            return True
        return nearest(_WORDS, text, match.start()) == "phone"

    @staticmethod
    def _national(text: str, match: re.Match[str]) -> bool:
        digits = only_digits(match.group())
        if not 9 <= len(digits) <= 11 or "." in match.group()[:3]:
            return False
        return nearest(_WORDS, text, match.start()) != "other"

    @staticmethod
    def _north_american(text: str, match: re.Match[str]) -> bool:
        return nearest(_WORDS, text, match.start()) != "other"


def build(options: Options) -> Detector:
    """The detector."""
    del options
    return _PhoneNumber()
