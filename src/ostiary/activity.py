"""What the detectors of active content share: rules behind a cheap gate, and the hold-back."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import re2  # type: ignore[import-untyped]

from ostiary.exchange import Finding
from ostiary.quoting import CONTEXT, discussed

HOLD = 320
"""No rule may match more characters than this."""

TOKENS = 8
"""No rule may match more words (between white space) than this, one less with a part before it."""

_MEMORY = 32 << 20

REACH = CONTEXT + HOLD


_AROUND = re.compile(r"\(\?<?[!=](?:[^()\\\[]|\\.|\[(?:[^\]\\]|\\.)*\])*\)")
_NAMED = {"quote": r"['\"]", "value": r"[\w%]{0,20}", "same": r"\w{1,21}"}
_COUNTED = re.compile(r"\{(\d+)(?:,\d+)?\}\??")
_BACKWARDS = re.compile(r"\(\?P=(\w+)\)")


def _gate(pattern: str) -> str:
    """The same pattern without what RE2 has not, and with open counts, which keeps it small.

    It matches wherever `pattern` does, and more.
    """
    pattern = _AROUND.sub("", pattern)
    pattern = _COUNTED.sub(lambda match: "*" if match[1] == "0" else "+", pattern)
    pattern = _BACKWARDS.sub(lambda match: _NAMED[match[1]], pattern)
    return re.sub(r"\(\?P<\w+>", "(?:", pattern).replace(r"\Z", r"\z")


class Rule(NamedTuple):
    """A pattern whose group 1 is the finding, and a gate for RE2."""

    pattern: re.Pattern[str]
    gate: str


def rule(pattern: str) -> Rule:
    """A rule, matched at every place without regard to case, so that no match hides another.

    No group that is repeated, no unbounded repetition; back-references by the names of `_NAMED`.
    """
    compiled = re.compile(rf"(?=({pattern}))", re.IGNORECASE | re.ASCII)
    return Rule(compiled, f"(?:{_gate(pattern)})")


class Rules:
    """The rules of one kind; what none of them can match is passed over in one linear scan."""

    def __init__(self, kind: str, rules: Sequence[Rule]) -> None:
        """Compile the scan."""
        self._kind = kind
        options = re2.Options()
        options.case_sensitive = False
        options.log_errors = False
        options.max_mem = _MEMORY
        self._rules = [(one.pattern, re2.compile(one.gate, options)) for one in rules]
        self._any = re2.compile("|".join(one.gate for one in rules), options)
        self.sign = f"(?i){'|'.join(one.gate for one in rules)}"

    def find(self, text: str) -> list[Finding]:
        """All matches of all rules that are not merely spoken about, sorted, one per start."""
        if not self._any.search(text):
            return []
        spans: dict[int, int] = {}
        for pattern, gate in self._rules:
            if gate.search(text):
                for match in pattern.finditer(text):
                    start, end = match.span(1)
                    if spans.get(start, start) < end <= start + HOLD:
                        spans[start] = end
        return [
            Finding(self._kind, start, end)
            for start, end in sorted(spans.items())
            if not discussed(text, start)
        ]


def settled_words(text: str, tokens: int = TOKENS) -> int:
    """The offset of the last `tokens` words, but never further from the end than `HOLD`."""
    tail = text[-HOLD:]
    words = tail.rsplit(None, tokens)
    if len(words) <= tokens:
        return len(text) - len(tail)
    return len(text) - len(tail) + len(words[0])
