"""E-mail addresses (RFC 5321 §4.1.2 as it is used), also where "at" and "dot" are spelled out."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ostiary.exchange import Finding
from ostiary.ports import Detector

_LOCAL_MAX = 64
_DOMAIN_MAX = 190
_REACH = 2 * (_LOCAL_MAX + _DOMAIN_MAX)

_LOCAL_REVERSED = re.compile(r"(?=[!-~])[A-Za-z0-9_.!#$%^~+\-]*|[^\s\"'<>()\[\]{},;:\\@|=`/?&*]*")
_SIGN = re.compile(r"[^\s\"'<>()\[\]{},;:\\@|=`/?&*](?=@\w)")
_LOCAL_STRIP = ".!#$%&^~-+"
_DOMAINS = (
    re.compile(rf"(?!-)[A-Za-z0-9_.\-]{{1,{_DOMAIN_MAX}}}"),
    re.compile(rf"(?!-)[\w.\-]{{1,{_DOMAIN_MAX}}}"),
)
"""The shorter reading first: text of another script may follow without a blank."""

_SERVICE_ACCOUNTS = frozenset({"git", "hg", "svn"})

_BRACKETS = (("(", ")"), ("[", "]"), ("{", "}"), ("<", ">"))


def _spelled_out(*words: str, backwards: bool = False) -> str:
    """A pattern for a word that stands for a sign: bracketed, or between single blanks."""
    either = "|".join(re.escape(word[::-1] if backwards else word) for word in words)
    pairs = (pair[::-1] if backwards else pair for pair in _BRACKETS)
    bracketed = "|".join(
        f"{re.escape(left)}(?:{either}){re.escape(right)}" for left, right in pairs
    )
    plain = words[0][::-1] if backwards else words[0]
    return rf"(?i:[ \t](?:{plain}|{bracketed})[ \t]|{bracketed})"


_DOT = _spelled_out("dot", ".")
_AT = re.compile(_spelled_out("at", "@"))
_SPELLED_DOT = re.compile(_DOT)
_SPELLED = (
    "dot",
    *(f"{left}{word}{right}" for word in ("at", "@", ".") for left, right in _BRACKETS),
)
"""One of these is in every address whose signs are spelled out."""

_LABEL = r"[A-Za-z0-9_+\-.%]"
_NAME_REVERSED = re.compile(
    rf"{_LABEL}{{1,40}}(?:{_spelled_out('dot', '.', backwards=True)}{_LABEL}{{1,30}}){{0,3}}"
)
_HOST = re.compile(rf"[A-Za-z0-9\-]{{1,40}}(?:(?:{_DOT}|\.)[A-Za-z0-9\-]{{1,30}}){{1,4}}")
_TOP_LEVEL = re.compile(
    r"(?i:com|net|org|edu|gov|mil|int|info|biz|name|io|ai|app|dev|me|tv|co|xyz|online|site|shop"
    r"|[a-z]{2})\Z"
)
_NOT_A_NAME = re.compile(
    r"(?i:look|looking|available|hosted|us|me|them|him|her|it|is|are|was|be|arrive|meet|here|there"
    r"|stay|working|work|located|based|found|out|shop|buy|book|find|visit|check)\Z"
)
_MARKS = frozenset(
    ["at", "dot"]
    + [f"{left}{word}{right}" for word in ("at", "dot", "@", ".") for left, right in _BRACKETS]
)
_MARK_BEGINNINGS = frozenset(mark[:n] for mark in _MARKS for n in range(len(mark) + 1))


@dataclass(frozen=True, slots=True)
class Options:
    """Nothing to choose."""


def _domain_end(text: str, start: int) -> int:
    """Where the domain that begins at `start` ends, or 0: two labels, the last one of letters."""
    seen = 0
    for pattern in _DOMAINS:
        match = pattern.match(text, start)
        if not match or match.end() == seen:
            return 0
        seen = match.end()
        labels = match.group().split(".")
        if "" in labels:
            labels = labels[: labels.index("")]
        while labels and not (len(labels[-1]) > 1 and labels[-1].isalpha()):
            labels.pop()
        if len(labels) > 1:
            return start + len(".".join(labels))
    return 0


class _EmailAddress:
    kind = "email_address"
    personal = True
    reach = _REACH
    sign = r"@|(?i:dot)|[\[({<](?i:\.|at)[\])}>]"

    def find(self, text: str) -> list[Finding]:
        """Around each sign `@`, and around each "at" that is followed by a "dot"."""
        signs = _SIGN.finditer(text) if "@" in text else ()
        findings = [f for sign in signs if (f := self._around(text, sign.start() + 1))]
        lower = text.lower()
        if any(mark in lower for mark in _SPELLED):
            findings += [f for m in _AT.finditer(text) if (f := self._spelled(text, m))]
            findings += self._half_spelled(text)
            findings.sort(key=lambda finding: finding.start)
        return findings

    def settled(self, text: str) -> int:
        """Up to the last word, or the words around an "at" or a "dot" that may go on."""
        tail = text[-_REACH // 2 :]
        words = tail.replace("\t", " ").rsplit(" ", 3)
        last = words[-1].lower()
        if len(words) > 2 and not _MARKS.isdisjoint((words[-2].lower(), words[-3].lower())):
            words = tail.replace("\t", " ").rsplit(" ", 24)
        index = len(words) - 1
        if index and last in _MARK_BEGINNINGS:
            index -= 1
        if index and words[index].lower() in _MARKS:
            index -= 1
        while index > 1 and words[index - 1].lower() in _MARKS:
            index -= 2
        if index == len(words) - 1:
            return len(text) - self._held_word(words[index])
        held = len(words) - index - 1 + sum(map(len, words[index:]))
        return len(text) - min(held, len(tail))

    @staticmethod
    def _held_word(word: str) -> int:
        """How much of the last word may belong to an address that is not finished."""
        word = word[max(word.rfind("\n"), word.rfind("\r")) + 1 :]
        if len(word) > _LOCAL_MAX and "@" not in word and not _AT.search(word):
            return _LOCAL_MAX
        return len(word)

    def _around(self, text: str, at: int) -> Finding | None:
        end = _domain_end(text, at + 1)
        if not end:
            return None
        match = _LOCAL_REVERSED.match(text[max(0, at - _LOCAL_MAX) : at][::-1])
        local = match.group()[::-1].lstrip(_LOCAL_STRIP) if match else ""
        service = local.lower() in _SERVICE_ACCOUNTS and text[end : end + 1] in {":", "/"}
        return None if not local or service else Finding(self.kind, at - len(local), end)

    def _spelled(self, text: str, at: re.Match[str]) -> Finding | None:
        before = text[max(0, at.start() - 140) : at.start()][::-1]
        name = _NAME_REVERSED.match(before)
        host = _HOST.match(text, at.end())
        if not name or not host or _NOT_A_NAME.match(name.group()[::-1]):
            return None
        bracketed = not at.group().strip().isalpha()
        if not bracketed and not _SPELLED_DOT.search(host.group()):
            return None
        label = re.split(r"[^A-Za-z0-9]+", host.group())[-1]
        if not _TOP_LEVEL.match(label):
            return None
        return Finding(self.kind, at.start() - name.end(), host.end())

    def _half_spelled(self, text: str) -> list[Finding]:
        """A sign `@` whose domain has its dots spelled out."""
        findings = []
        for sign in _SIGN.finditer(text):
            at = sign.start() + 1
            host = _HOST.match(text, at + 1)
            local = _LOCAL_REVERSED.match(text[max(0, at - _LOCAL_MAX) : at][::-1])
            if host and local and local.group() and _SPELLED_DOT.search(host.group()):
                label = re.split(r"[^A-Za-z0-9]+", host.group())[-1]
                if _TOP_LEVEL.match(label):
                    findings.append(Finding(self.kind, at - local.end(), host.end()))
        return findings


def build(options: Options) -> Detector:
    """The detector."""
    del options
    return _EmailAddress()
