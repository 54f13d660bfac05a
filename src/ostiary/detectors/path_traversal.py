"""Climbing out of a folder (CWE-22): dots and separators, plain or encoded, and what it aims at."""

from __future__ import annotations

from dataclasses import dataclass

from ostiary import activity
from ostiary.exchange import Finding
from ostiary.ports import Detector

_PERCENT = r"%(?:25){0,3}"
_CODED_DOT = rf"(?:{_PERCENT}2e|{_PERCENT}c0{_PERCENT}(?:2e|ae|fe|6e)|{_PERCENT}uff0e|0x2e)"
_CODED_SLASH = (
    rf"(?:{_PERCENT}(?:2f|5c|u2215|u2216|uefc8|uf025)"
    rf"|{_PERCENT}(?:c0|c1){_PERCENT}(?:2f|5c|af|9c|1c|9v|pc|qf|8s|6f)"
    rf"|{_PERCENT}(?:e0|f8|fc|f0){_PERCENT}80{_PERCENT}(?:af|80)|0x2f|0x5c|\\x2f|\\x5c)"
)
_DOT = rf"(?:\.|{_CODED_DOT})"
_SLASH = rf"(?:[/\\]{{1,4}}|{_CODED_SLASH})"
_TARGET = (
    r"(?:etc/{1,3}(?:passwd|shadow|hosts|group|issue|motd)|boot\.ini|win\.ini|windows[/\\]|winnt"
    r"|proc/self|\.htaccess|\.htpasswd|web-inf|web\.config|system32|\.ssh/|autoexec\.bat|\{FILE\})"
)
_CLIMB = rf"(?:{_DOT}{{2,3}}{_SLASH})"
_RULES = activity.Rules(
    "path_traversal",
    (
        activity.rule(rf"(?<!\.[/\\]){_CLIMB}{{3}}"),
        activity.rule(rf"{_CLIMB}{{1,2}}/{{0,2}}{_TARGET}"),
        activity.rule(rf"{_CODED_DOT}{{2,3}}{_SLASH}|{_DOT}{{2,3}}{_CODED_SLASH}"),
        activity.rule(r"(?:/|%2f)etc(?:/{1,3}|%2f)(?:passwd|shadow|issue|hosts)(?![a-z])"),
        activity.rule(r"boot\.ini|win\.ini|%00[./]|file:/{2,3}(?:etc|c:|proc)"),
        activity.rule(
            r"(?<![./\\])(?:[/\\]\.{2,3}){3}|(?<![./\\])(?:\.{3,4}[/\\]{1,2}){3}|(?:\.\.;/){2}"
        ),
        activity.rule(r"(?<![./\\])(?:[/\\]{0,2}\.{1,3}[/\\]{1,2}){5}"),
        activity.rule(
            rf"{_PERCENT}c[01](?:%|\.)|{_PERCENT}(?:e0|f0|f8|fc){_PERCENT}80|%%3\d%{{1,2}}[36]"
            r"|%u(?:efc8|f025|2215|2216)|%25%5c|(?:0x2e){2}|\.[?.]?%(?:25)?5c\.|\?\?%[cu]"
            r"|\.%2f\.%68|(?:%2e%2f){2}"
        ),
        activity.rule(r"inetpub[/\\]wwwroot|(?:^|[./\\])\.htaccess(?![ \w])"),
    ),
)


@dataclass(frozen=True, slots=True)
class Options:
    """Nothing to choose."""


class _PathTraversal:
    kind = "path_traversal"
    personal = False
    reach = activity.REACH
    sign = _RULES.sign

    def find(self, text: str) -> list[Finding]:
        """Three steps up, fewer towards a file that is worth it, or one that hides."""
        return _RULES.find(text)

    def settled(self, text: str) -> int:
        """Up to the last word."""
        return activity.settled_words(text, 1)


def build(options: Options) -> Detector:
    """The detector."""
    del options
    return _PathTraversal()
