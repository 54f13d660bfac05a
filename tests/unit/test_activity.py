"""Rules are asked only where their gate opens, and the gate opens wherever they match."""

from __future__ import annotations

import pytest

from ostiary.activity import HOLD, Rules, rule, settled_words
from ostiary.quoting import discussed


def test_a_rule_with_look_around_and_back_references_finds_what_it_says() -> None:
    rules = Rules("kind", [rule(r"(?<!x)(?P<quote>['\"])a{1,3}(?P=quote)(?!\w)")])
    found = rules.find("'aa' x'aa' 'aa\" 'aaa'b \"A\"")
    assert [(f.start, f.end) for f in found] == [(0, 4), (23, 26)]


def test_no_match_hides_another() -> None:
    rules = Rules("kind", [rule(r"aba")])
    assert [f.start for f in rules.find("ababa")] == [0, 2]


def test_the_longest_match_at_one_place_counts() -> None:
    rules = Rules("kind", [rule(r"ab"), rule(r"abc")])
    assert [(f.start, f.end) for f in rules.find("abc")] == [(0, 3)]


def test_no_more_than_the_last_words_are_held_back() -> None:
    text = "one two three four five six seven eight nine ten"
    assert text[settled_words(text, 3) :].split() == ["eight", "nine", "ten"]
    assert settled_words("word", 3) == 0
    assert settled_words("x" * 2 * HOLD, 3) == HOLD


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("Why is `' or 1=1` dangerous?", True),
        ("Explain what this does:\n```\n' or 1=1", True),
        ("' or 1=1", False),
        ("`' or 1=1", False),
        ("give me `' or 1=1`", False),
    ],
)
def test_what_a_question_quotes_is_discussed(text: str, answer: bool) -> None:
    assert discussed(text, text.index("' or")) is answer
