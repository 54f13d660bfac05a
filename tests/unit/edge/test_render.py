"""Limits as headers, and text as the founding page's client reads it."""

from __future__ import annotations

import pytest

from ostiary.edge.render import limit_headers
from ostiary.exchange import Limit
from ostiary.pipeline import text_of


def test_limits_are_told_in_both_ways() -> None:
    limits = (Limit("rpm", 60, 60, 59, 1.4), Limit("tph", 100_000, 3_600, 98_000, 72.0))
    assert limit_headers(limits) == {
        "RateLimit-Policy": '"rpm";q=60;w=60, "tph";q=100000;w=3600',
        "RateLimit": '"rpm";r=59;t=1, "tph";r=98000;t=72',
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-remaining-requests": "59",
        "x-ratelimit-reset-requests": "1s",
        "x-ratelimit-limit-tokens": "100000",
        "x-ratelimit-remaining-tokens": "98000",
        "x-ratelimit-reset-tokens": "72s",
    }
    assert limit_headers(()) == {}


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ({"content": "Hi"}, "Hi"),
        ({"content": None, "refusal": "No"}, "No"),
        ({"content": [{"type": "text", "text": "a"}, {"type": "x"}, "y", {"text": None}]}, "a"),
        ({"content": 5}, ""),
        ({}, ""),
    ],
)
def test_what_a_message_says(message: dict[str, object], text: str) -> None:
    assert text_of(message) == text
