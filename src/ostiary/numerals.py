"""What the detectors of written numbers share: regions, boundaries, check digits, words nearby.

Patterns here and there are ASCII: folded text has no other digits, and a number glued to letters of
another script stands alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

CONTEXT = 60
"""How many characters to the left of a number are read for words that say what it is."""

GAP = r"[ ._\-/*`]"
"""One character that may stand between the digits of one number."""

SIX_DIGITS = r"\d(?:[ ._\-/*`()\t]{0,9}\d){5}"
"""A sign of the detectors that use `candidates`: all of them want six digits, and what may stand
between two of these is at most a separator amid emphasis on both sides."""

MARKUP = r"[*`]{0,4}+"
"""Emphasis that begins or ends inside a number."""

APART = rf"(?<!\d)(?<!\d{GAP})(?<!\d{GAP}{{2}})(?<!\d{GAP}{{3}})"
"""Looking left: no digit belongs to the same spaced-out number."""

BEFORE, AFTER = 6, 16
"""What a pattern may read to the left and to the right of a region."""

_REGION = re.compile(r"[0-9](?:[ ._\-/*`()\t]{0,5}+[0-9]){5,}+")
_DOUBLED = bytes.maketrans(b"0123456789", b"0246813579")
_OTHERS = re.compile(r"[^0-9]+")
_LETTER = re.compile(r"[A-Za-z]")
_BLANKS = str.maketrans(dict.fromkeys("\t\r\n!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~", " "))
_OPENING = re.compile(r"[+(0-9]")
DIGITS = re.compile(r"\d[\d ._\-/*`()\t]*+,?\Z", re.ASCII)
"""The end of a text in which a number has begun and may go on."""


def luhn(digits: str) -> bool:
    """Whether the check digit is right (ISO/IEC 7812-1 annex B); `digits` are ASCII digits."""
    code = digits.encode()
    return (sum(code[-1::-2]) + sum(code[-2::-2].translate(_DOUBLED)) - 48 * len(code)) % 10 == 0


def only_digits(text: str) -> str:
    """The ASCII digits of `text`, in order."""
    return _OTHERS.sub("", text)


def candidates(text: str, *patterns: tuple[int, re.Pattern[str]]) -> Iterator[tuple[int, int]]:
    """Where group 1 of a pattern matches, beginning in or right before a long number.

    A long number has six digits, and with its gaps as many characters as stand beside the pattern;
    most text holds none and costs one pass. A pattern may look `BEFORE - 2` characters to its left
    and `AFTER` beyond its last digit, and must be written so that no match can hide another one.
    """
    for region in _REGION.finditer(text):
        start, end = region.span()
        first = max(0, start - BEFORE)
        part = text[first : end + AFTER]
        for least, pattern in patterns:
            if end - start < least:
                continue
            for match in pattern.finditer(part, max(0, start - first - 2)):
                if match.start() >= end - first:
                    break
                yield first + match.start(1), first + match.end(1)


def nearest(words: Mapping[str, Sequence[str]], text: str, start: int, width: int = CONTEXT) -> str:
    """The key of the word that stands nearest to the left of `start`, or ''.

    Words are in lower case; punctuation counts as a blank, so that a blank in a word is the edge of
    one. Reads at most `width` characters, never across a blank line.
    """
    context = text[max(0, start - width) : start]
    if not _LETTER.search(context):
        return ""
    context = context[context.rfind("\n\n") + 1 :].lower().translate(_BLANKS)
    context = f" {context} "
    last, name = 0, ""
    for key, group in words.items():
        for word in group:
            found = context.rfind(word)
            end = found + len(word)
            if found >= 0 and end > last:
                last, name = end, key
    return name


def settled_number(text: str, hold: int, tail: re.Pattern[str] = DIGITS) -> int:
    """The offset of what matches `tail`, a number that may still grow; at most `hold` from the end.

    `hold` is the longest finding plus what a detector reads to its right.
    """
    opening = _OPENING.search(text, max(0, len(text) - hold))
    match = tail.search(text, opening.start()) if opening else None
    return match.start() if match else len(text)
