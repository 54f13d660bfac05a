"""Markup and addresses that run a script in a browser (CWE-79), also where they are encoded."""

from __future__ import annotations

from dataclasses import dataclass

from ostiary import activity
from ostiary.exchange import Finding
from ostiary.ports import Detector

_S = r"[\t\r\n\x00]{0,2}"
_SCRIPT = _S.join("script")
_RULES = activity.Rules(
    "cross_site_scripting",
    (
        activity.rule(r"<[\s/\x00]{0,3}script(?![a-z-])(?!>? tag|>? element|>? block)"),
        activity.rule(r"<[^<>]{0,160}[\s/\"'`+]on[a-z]{3,24}\s{0,3}="),
        activity.rule(
            r"[\"'`][\s/]{0,3}on(?:error|load|click|focus|blur|mouse[a-z]{2,8}"
            r"|key[a-z]{2,5})\s{0,2}(?:=|%3d)"
            r"[\"'\s]{0,2}(?:alert|prompt|confirm|javascript|eval|document)"
        ),
        activity.rule(
            rf"(?:j{_S}a{_S}v{_S}a|v{_S}b|live|mocha){_S}{_SCRIPT}{_S}"
            rf"(?::|&colon;|&#x?0{{0,5}}3a)[^\s]"
        ),
        activity.rule(r"data:[^\s,;]{0,30}(?:text/html|svg|xml)[;,]|;base64,PHNj"),
        activity.rule(r"(?:&#x?0{0,8}[0-9a-f]{1,5};?){2}|&#x?0{2,8}3[c0];?"),
        activity.rule(
            r"<[\s/]{0,2}(?:iframe|object|embed|applet|base\s{1,3}href|frameset|frame|isindex"
            r"|bgsound|layer|ilayer|xml|math[\s>/](?!\.)|svg|import|keygen|marquee|meta\s{1,3}http"
            r"|\?xml-stylesheet"
            r"|link\s[^<>]{0,80}stylesheet)(?![a-z])"
        ),
        activity.rule(
            r"expression\s{0,3}\(|-moz-binding|behaviou?r\s{0,3}:\s{0,3}url|@import\s{0,2}[\"'u]"
            r"|binding\s{0,2}:\s{0,2}url|exp/\*|datasrc\s{0,2}="
        ),
        activity.rule(
            r"(?<![a-z.])(?:alert|prompt|confirm)\s{0,3}(?:[(`]|&#x?28;?)\s{0,3}"
            r"(?:[\"'`/\\]{0,3}(?:xss|x[\"'`]|\d)|document|string\.|location|/|\))"
        ),
        activity.rule(
            r"document\.cookie|string\.fromcharcode|(?:window|top|self|parent)\[['\"/]"
            r"|(?<![a-z_.])eval\("
            r"|activexobject"
        ),
        activity.rule(
            r"%3c\s{0,2}(?:script|img|svg|iframe)|(?:\\x3c|\\u003c)\s{0,2}/?[a-z]"
            r"|&lt;\s{0,2}/?script|\+adw-"
            r"|<%73%63"
        ),
        activity.rule(
            r"<[a-z][^<>]{0,60}(?:srcdoc|formaction|xlink:href|allowscriptaccess|background="
            r"|dynsrc|lowsrc"
            r"|attributename)"
        ),
        activity.rule(
            r"<[a-z]{1,10}[^<>]{0,20}(?:%[0-9a-f]{2}){2}"
            r"|<set\s|<xmp|<plaintext"
            r"|<!doctype\s{1,3}html\s{1,3}\[|<\?xml|<\?\s{0,2}echo"
        ),
        activity.rule(r"[\"'`]{1,2}\s{0,2}/?>\s{0,2}[\"'`]?\s{0,2}<[a-z!/]"),
    ),
)


@dataclass(frozen=True, slots=True)
class Options:
    """Nothing to choose."""


class _CrossSiteScripting:
    kind = "cross_site_scripting"
    personal = False
    reach = activity.REACH
    sign = _RULES.sign

    def find(self, text: str) -> list[Finding]:
        """Script elements, event handlers, script addresses; not harmless markup."""
        return _RULES.find(text)

    def settled(self, text: str) -> int:
        """Up to the last few words, or the beginning of a tag that is still open."""
        words = activity.settled_words(text, 4)
        opened = text.find("<", max(0, len(text) - activity.HOLD))
        while opened >= 0 and ">" in text[opened : opened + 165]:
            opened = text.find("<", opened + 1)
        return min(words, opened) if opened >= 0 else words


def build(options: Options) -> Detector:
    """The detector."""
    del options
    return _CrossSiteScripting()
