"""Text as a reader sees it, for detection only: what is sent on is never altered.

`fold` maps each character to at most one: compatibility forms, look-alike letters and the digits of
every script become ASCII, the families of dashes, dots and spaces one of each, accents go, and what
is not seen at all (zero-width, bidi, soft hyphen, variation selector, tag, combining mark) is
dropped. Since nothing grows, the way back is one offset per character, and since each character
folds by itself, text may be folded piece by piece.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

MAX_UNSEEN = 1024
"""A longer run of unseen characters is a break, so that what is held back stays bounded."""

BREAK = "\n"

_FOREIGN = re.compile(r"[^\x00-\x7f]+")
_UNSEEN_CATEGORIES = frozenset({"Cf", "Mn", "Me"})
_UNSEEN = frozenset("\u115f\u1160\u3164\uffa0")
_DASHES = frozenset("\u2212\u2043\u02d7\u2796\u2010\u2011")
_FAMILIES = (  # a character, and those that look like it
    (" ", "\u2800"),
    ('"', "\u201c\u201d\u201e\u201f\u2033"),
    ("'", "\u2018\u2019\u201a\u201b\u02bc\u2032"),
    (".", "\u3002\uff61\u2024\u066b"),
    ("/", "\u2215\u2044"),
    ("3", "\u0417"),
    (":", "\u2236\u02d0"),
    ("<", "\u2039"),
    (">", "\u203a"),
    ("A", "\u0410\u0391"),
    ("B", "\u0412\u0392"),
    ("C", "\u0421"),
    ("E", "\u0415\u0395"),
    ("H", "\u041d\u0397"),
    ("I", "\u0406\u0399"),
    ("J", "\u0408"),
    ("K", "\u041a\u039a"),
    ("M", "\u041c\u039c"),
    ("N", "\u039d"),
    ("O", "\u041e\u039f"),
    ("P", "\u0420\u03a1"),
    ("S", "\u0405"),
    ("T", "\u0422\u03a4"),
    ("X", "\u0425\u03a7"),
    ("Y", "\u0423\u03a5"),
    ("Z", "\u0396"),
    ("\\", "\u2216"),
    ("a", "\u0430\u03b1"),
    ("c", "\u0441"),
    ("d", "\u0501"),
    ("e", "\u0435"),
    ("g", "\u0261"),
    ("h", "\u04bb"),
    ("i", "\u0456\u03b9\u0131"),
    ("j", "\u0458"),
    ("l", "\u04cf\u2113"),
    ("o", "\u043e\u03bf"),
    ("p", "\u0440\u03c1"),
    ("s", "\u0455"),
    ("t", "\u03c4"),
    ("u", "\u03c5"),
    ("v", "\u03bd"),
    ("x", "\u0445\u03c7"),
    ("y", "\u0443"),
)
_LOOK_ALIKES = {alike: letter for letter, family in _FAMILIES for alike in family}


class Folded(NamedTuple):
    """Folded text and, for each of its characters, the offset of the character it came from."""

    text: str
    origin: Sequence[int]

    def span(self, start: int, end: int) -> tuple[int, int]:
        """The range of the original that the non-empty range of folded text came from."""
        return self.origin[start], self.origin[end - 1] + 1


def _fold_character(character: str) -> str:
    """One character, or nothing where a reader would see none."""
    if character in _LOOK_ALIKES:
        return _LOOK_ALIKES[character]
    category = unicodedata.category(character)
    if category in _UNSEEN_CATEGORIES or character in _UNSEEN:
        return ""
    digit = unicodedata.digit(character, None)
    if digit is not None:
        return str(digit)
    if category == "Pd" or character in _DASHES:
        return "-"
    if category == "Zs":
        return " "
    if category in {"Zl", "Zp"} or character == "\x85":
        return BREAK
    base = [c for c in unicodedata.normalize("NFKD", character) if not unicodedata.combining(c)]
    if len(base) == 1 and base[0] != character:
        return _fold_character(base[0]) or character
    return character


class _Table(dict[int, str]):
    """Filled as characters are met; at most one entry per code point."""

    def __missing__(self, code: int) -> str:
        folded = chr(code) if code < 128 else _fold_character(chr(code))
        self[code] = folded
        return folded


_TABLE = _Table()


def _fold_run(run: re.Match[str]) -> str:
    return run.group().translate(_TABLE)


def fold_piece(text: str, offset: int, unseen: int) -> tuple[Folded, int]:
    """Fold the next piece of a longer text, in time linear in the piece.

    `offset` is where the piece begins in the whole, `unseen` what the last call returned (0 at the
    beginning): the length of the run of unseen characters that the text so far ends in.
    """
    if text.isascii():
        return Folded(text, range(offset, offset + len(text))), 0 if text else unseen
    folded = _FOREIGN.sub(_fold_run, text)
    if len(folded) == len(text):
        return Folded(folded, range(offset, offset + len(text))), 0
    pieces: list[str] = []
    origin: list[int] = []
    done = 0
    for run in _FOREIGN.finditer(text):
        start, end = run.span()
        if start > done:
            pieces.append(text[done:start])
            origin.extend(range(offset + done, offset + start))
            unseen = 0
        for position, code in enumerate(map(ord, run.group()), offset + start):
            character = _TABLE[code]
            if not character:
                unseen += 1
                if unseen <= MAX_UNSEEN:
                    continue
                character = BREAK
            unseen = 0
            pieces.append(character)
            origin.append(position)
        done = end
    if done < len(text):
        pieces.append(text[done:])
        origin.extend(range(offset + done, offset + len(text)))
        unseen = 0
    return Folded("".join(pieces), origin), unseen


def fold(text: str) -> Folded:
    """Fold a whole text; ASCII is given back as it is, at no cost."""
    return fold_piece(text, 0, 0)[0]
