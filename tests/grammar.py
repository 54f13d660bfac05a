"""Texts that detectors and windows find hard: values, near misses, pieces of both, unseen signs."""

from __future__ import annotations

from hypothesis import strategies as st

EXAMPLES = 500
"""How many texts a property is tried on in an ordinary run."""

SLOW_EXAMPLES = 10_000
"""The same property in `make test-slow`."""

VALUES = [
    "anna-lena42@contoso.co.uk",
    "jose at mail dot example dot org",
    "mia [at] example [dot] com",
    "kai@example(.)com",
    "git@github.com:acme/web.git",
    "4111 1111 1111 1111",
    "378282246310005",
    "6011-1111-1111-1117",
    "4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1",
    "4111111111111112",
    "564-82-8630",
    "666-12-3456",
    "ssn 564828630",
    "5 6 4 8 2 8 6 3 0",
    "+49 30 1234567",
    "(617) 608-1203",
    "617-608-1203 ext. 204",
    "06 12 34 56 78",
    "call 781 5991",
    "329 7730 office",
    "203.0.113.77",
    "1.2.3.4.5",
    "version 1.2.3.4",
    "10.0.0.0/8",
    "2001:db8::5:cbe8",
    "fe80::1",
    "10:20:30",
    "' or 1=1 --",
    "union all select null,null,null",
    "1'; drop table users; --",
    "having 1=1",
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "java\tscript:alert(1)",
    "../../../etc/passwd",
    "%2e%2e%2f",
    "..%c0%af",
    "boot.ini",
]
"""Whole values and their look-alikes."""

PIECES = [
    *" \t\n\r.,;:-_+*/\\()[]{}<>@=&#%'\"`|~!?$",
    *"0123456789",
    "4111",
    "1111 ",
    "555",
    "-12-",
    "::",
    "..",
    "at",
    " at ",
    " dot ",
    "dot",
    "com",
    "x",
    "ext",
    "or",
    "and",
    "select",
    "union",
    "/**/",
    "--",
    "script",
    "on",
    "&#x6a;",
    "phone",
    "card",
    "order",
    "why",
    "example",
    "version",
]
"""Parts that a longer value could begin, go on or end with."""

UNSEEN = [
    "\u200b",
    "\u200d",
    "\u00ad",
    "\u202e",
    "\ufe0f",
    "\U000e0041",
    "\u0301",
    "\u200b" * 300,
    "\u200b" * 1025,
]
FOREIGN = [
    "é",
    "ß",
    "ﷺ",
    "㌀",
    "İ",
    "🙂",
    "क्षि",
    "می‌خواهم",
    "４１１１",
    "𝟝",
    "‑",
    "–",
    "\u00a0",
    "＠",
    "а",
]
WORDS = ["the", "invoice", "meets", "a", "quick", "fox", "today.", "Zug", "face", "bad", "a" * 70]


def _disguised(value: str, sign: str) -> str:
    return sign.join(value)


pieces = st.one_of(
    st.sampled_from(VALUES),
    st.sampled_from(PIECES),
    st.sampled_from(UNSEEN),
    st.sampled_from(FOREIGN),
    st.sampled_from(WORDS).map(lambda word: word + " "),
    st.builds(_disguised, st.sampled_from(VALUES), st.sampled_from(UNSEEN[:4])),
    st.builds(str.__mul__, st.sampled_from(PIECES), st.integers(2, 90)),
    st.text(max_size=3),
)
"""One piece of a text."""

texts = st.lists(pieces, max_size=14).map("".join)
"""Short texts: most of what can go wrong needs only a few pieces."""

long_texts = st.lists(pieces, min_size=60, max_size=120).map("".join)
"""Texts beyond the reach of every detector."""
