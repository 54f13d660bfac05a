"""Addresses of machines that can point at a person: IPv4 (RFC 791) and IPv6 (RFC 4291)."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from ostiary.exchange import Finding
from ostiary.numerals import nearest
from ostiary.ports import Detector

_V4 = re.compile(
    r"(?<![\w.\-])(?<!\d,)(?:(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)\.){3}"
    r"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(?![\w\-]|\.\w)",
    re.ASCII,
)
_V4_SIGN = re.compile(r"[0-9]\.[0-9]")
_V6_SIGN = re.compile(r":[0-9A-Fa-f]{0,4}:")
_V6 = re.compile(r"[0-9A-Fa-f:.]++(?!\w)", re.ASCII)
_V6_START = re.compile(
    r"(?:(?<![\w:.])|(?<=[G-Zg-z\])]:))(?=[0-9A-Fa-f]{0,4}:[0-9A-Fa-f:])(?=[0-9A-Fa-f:])",
    re.ASCII,
)
_LONGEST = 45
_DIGITS = "0123456789ABCDEFabcdef:."
_HOLD = _LONGEST + 3
_WORDS = {
    "version": (
        "version",
        "release",
        " ver ",
        "firmware",
        "build",
        " v ",
        "section",
        "chapter",
        "mask",
    ),
    "address": (
        " ip ",
        "address",
        "host",
        "server",
        "from",
        "client",
    ),
}
_CONTEXT = 24


@dataclass(frozen=True, slots=True)
class Options:
    """Nothing to choose."""


class _IpAddress:
    kind = "ip_address"
    personal = True
    reach = _CONTEXT + _HOLD
    sign = r"\d\.\d|:[0-9A-Fa-f]{0,4}:"

    def find(self, text: str) -> list[Finding]:
        """Addresses but loopback, unspecified, masks, and what is called a version."""
        findings = []
        if _V4_SIGN.search(text):
            findings = [
                Finding(self.kind, *match.span())
                for match in _V4.finditer(text)
                if self._personal(text, match)
            ]
        if _V6_SIGN.search(text):
            for begin in _V6_START.finditer(text):
                end = self._v6_end(text, begin.start())
                if end:
                    findings.append(Finding(self.kind, begin.start(), end))
            findings.sort(key=lambda finding: finding.start)
        return findings

    def settled(self, text: str) -> int:
        """Up to a run of the characters of an address."""
        tail = text[-_HOLD:]
        return len(text) - len(tail) + len(tail.rstrip(_DIGITS))

    @staticmethod
    def _personal(text: str, match: re.Match[str]) -> bool:
        """Not a loopback address, a mask, a whole network, or the number of a version."""
        value = match.group()
        if value.startswith(("127.", "0.", "255.")):
            return False
        if value.endswith(".0") and text[match.end() : match.end() + 1] == "/":
            return False
        return nearest(_WORDS, text, match.start(), _CONTEXT) != "version"

    @staticmethod
    def _v6_end(text: str, start: int) -> int:
        match = _V6.match(text, start, min(len(text), start + _HOLD))
        if not match:
            return 0
        value = match.group().rstrip(".")
        if value.endswith(":") and not value.endswith("::"):
            value = value[:-1]
        end = start + len(value)
        if len(value) > _LONGEST:
            return 0
        if value.count(":") < 2 or not any("0" <= c <= "9" for c in value):
            return 0
        try:
            address = ipaddress.IPv6Address(value)
        except ValueError:
            return 0
        return end if int(address) > 1 else 0  # neither unspecified nor loopback


def build(options: Options) -> Detector:
    """The detector."""
    del options
    return _IpAddress()
