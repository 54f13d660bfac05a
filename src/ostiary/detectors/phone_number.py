"""Telephone numbers: international (ITU-T E.164), national, North American, local."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ostiary.exchange import Finding
from ostiary.numerals import (
    CONTEXT,
    GAP,
    SIX_DIGITS,
    candidates,
    nearest,
    only_digits,
    settled_number,
)
from ostiary.ports import Detector

_EXTENSION = r"(?: ?(?:x|ext\.?) ?\d{1,5})?+"
_GAP = r"[ .\-/()*]"
_FIRST = rf"(?<!\d)(?<!\d{_GAP})(?<!\d{_GAP}{{2}})(?<!\d{_GAP}{{3}})(?<!\d[.,:])(?<![.#$])"
_INTERNATIONAL = re.compile(
    rf"((?:(?<![\w+])\+\(?|{_FIRST}00(?=[1-9 .\-]))"
    rf"\d(?:[ .\-/()*]{{0,2}}\d){{6,15}}(?!\d){_EXTENSION})",
    re.ASCII,
)
_NORTH_AMERICAN = re.compile(
    r"(?<![\d(])(?<!\d[.,:])((?:1[ .\-])?"
    r"(?:\(\d{3}[*`]{0,2}\)[ .\-]{0,4}|\d{3}[ .\-])\d{3}[ .\-]\d{4}(?!\d)"
    rf"{_EXTENSION})",
    re.ASCII,
)
_NATIONAL = re.compile(
    rf"{_FIRST}((?:\(\d{{2,4}}\)|0\d{{1,4}})(?:[ .\-/]{{1,2}}\d{{2,8}}){{1,5}}(?!\d){_EXTENSION})",
    re.ASCII,
)
_BARE = re.compile(
    rf"{_FIRST}(?<!\w)(\(?\d(?:\)?[ .\-/]?\(?\d){{5,12}}(?!\d){_EXTENSION})"
    r"(?![\w%]|[.,]\d|[ .\-/]\d)",
    re.ASCII,
)
_SPACED = re.compile(
    rf"{_FIRST}(\(?[ ._\-]?\d(?:[ ._\-()]{{1,5}}\d){{9}})(?!{GAP}{{0,3}}\d)", re.ASCII
)
_LONGEST = 64
_AFTER = 10
_HOLD = _LONGEST + _AFTER
_TAIL = re.compile(
    r"(?:[+(]{1,2}[ ._\-]?|[+(]{0,2}[ ._\-]?\d[\d ._\-/()*`\t]*+"
    r"(?:(?i:x|ext?\.?) ?\d{0,6})?+(?i: ?\(?[a-z]{0,8})[.,]?)\Z",
    re.ASCII,
)
_WORDS = {
    "phone": (
        "phone",
        " tel ",
        "telefon",
        "telefone",
        "mobile",
        "mobil ",
        " movil",
        " cell",
        "celular",
        " fax",
        " call",
        " ring ",
        " dial",
        " reach me",
        " reach us",
        " reach him",
        " reach her",
        " reach them",
        " reach out",
        "answering at",
        "whatsapp",
        " sms ",
        " text me",
        " text us",
        " text him",
        " text her",
        "hotline",
        " desk ",
        " office ",
        "landline",
        "registered ",
        "number on file",
        "contact me",
        "contact us",
        "contact number",
        "contact no",
        "my number",
        "cep numaram",
        "puhelin",
    ),
    "other": (
        "order",
        "ticket",
        "invoice",
        "tracking",
        "version",
        "timestamp",
        "isbn",
        "account",
        "card",
        "suite",
        "apartment",
        " ssn",
        "social",
        "routing",
        "serial",
        "amount",
        " id ",
        "passport",
        "license",
        "licence",
        "iban",
        "number is",
        "coordinates",
        " nhs",
        " tax",
        "pesel",
        "commit",
        "compute",
        "price",
        "date",
        " zip",
        "aadhaar",
        " pan ",
        " cpf",
        " bsn",
        " tfn",
        " sin ",
    ),
}
_SHAPE = re.compile(
    r"\(?0\d{1,4}[) .\-/]|\([ ._\-]?\d|00|(?:1[ .\-])?\d{3}[ .\-]\d{3}[ .\-]\d{4}\Z", re.ASCII
)
_AFTER_NUMBER = re.compile(r"[ ]?[xe].*")
_WORD_AFTER = re.compile(r" ?(?i:\(?(?:office|fax|mobile|cell|phone|home|work|tel))\b")
_FORMS = (
    (7, _INTERNATIONAL),
    (10, _NORTH_AMERICAN),
    (8, _NATIONAL),
    (19, _SPACED),
    (6, _BARE),
)


@dataclass(frozen=True, slots=True)
class Options:
    """Nothing to choose."""


class _PhoneNumber:
    kind = "phone_number"
    personal = True
    reach = CONTEXT + _HOLD
    sign = SIX_DIGITS

    def find(self, text: str) -> list[Finding]:
        """Forms that speak for themselves; bare digits only beside a word for telephones."""
        spans: dict[int, int] = {}
        for start, end in candidates(text, *_FORMS):
            if end > spans.get(start, 0) and self._holds(text, start, end):
                spans[start] = end
        return [Finding(self.kind, start, end) for start, end in sorted(spans.items())]

    def settled(self, text: str) -> int:
        """Up to a number that may go on, with the word right after it."""
        return settled_number(text, _HOLD, _TAIL)

    @staticmethod
    def _holds(text: str, start: int, end: int) -> bool:
        """Whether the form, or a word beside it, says that this is a telephone number."""
        value = text[start:end]
        number = _AFTER_NUMBER.sub("", value)
        digits = only_digits(number)
        if not 6 <= len(digits) <= 16 or len(value) > _LONGEST:
            return False
        if value[0] == "+":
            return len(digits) >= 8
        if len(value) > len(number) or _WORD_AFTER.match(text, end):
            return True
        word = nearest(_WORDS, text, start)
        if word == "phone":
            return True
        if word == "other" or len(digits) < 9 or number.isdigit():
            return False
        return bool(_SHAPE.match(number))


def build(options: Options) -> Detector:
    """The detector."""
    del options
    return _PhoneNumber()
