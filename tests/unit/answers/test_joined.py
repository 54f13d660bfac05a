"""Parts are judged by themselves and as readers join them."""

from __future__ import annotations

import pytest

from ostiary.answers.joined import Joined
from ostiary.window import judge_whole
from tests.unit.answers.test_chat import BLOCKING, ENFORCED

VALUES = ("lucia.rey42@contoso.com", "617-94-9685", "4111 1111 1111 1111", "5555555555554444")


def said(*parts: str, size: int = 0, rules=ENFORCED) -> tuple[str, Joined]:
    """What is released of these parts, each given whole or `size` characters at once."""
    window = Joined(rules.detectors, rules.answers)
    out = ""
    for number, part in enumerate(parts):
        window.turn((number,))
        step = size or max(1, len(part))
        for at in range(0, len(part), step):
            out += window.feed(part[at : at + step])
    return out + window.close(), window


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("size", [0, 1, 3])
def test_a_value_is_found_wherever_two_parts_cut_it(value, size):
    for at in range(1, len(value)):
        out, window = said(f"write {value[:at]}", f"{value[at:]} now", size=size)
        assert out == "write [REDACTED] now", at
        assert sum(window.findings.values()) == 1


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("size", [0, 1, 3])
@pytest.mark.parametrize("beside", ["5 reasons", "12345", "a", "@", "-1", ""])
def test_a_value_is_found_whatever_stands_in_the_next_part(value, size, beside):
    for parts in ((f"x {value}", beside), (beside, f"{value} x"), (value, value), (value,) * 3):
        assert value not in said(*parts, size=size)[0]


@pytest.mark.parametrize("value", VALUES)
def test_a_value_is_found_after_many_words_and_many_parts(value):
    words = " and some words that say nothing" * 400
    out, _ = said(words, words, f"{words} {value[:7]}", value[7:], words)
    assert out == f"{words}{words}{words} [REDACTED]{words}"


def test_one_part_is_judged_like_any_text():
    for value in VALUES:
        text = f"write to {value}, or to 10.20.30.40"
        assert said(text)[0] == judge_whole(text, ENFORCED.detectors, ENFORCED.answers)[0]


@pytest.mark.parametrize("at", [3, 7, 11])
def test_a_block_across_parts_ends_them_all(at):
    out, window = said(f"SSN {VALUES[1][:at]}", f"{VALUES[1][at:]} and more", rules=BLOCKING)
    assert window.blocked
    assert out == "SSN "


def test_a_block_in_a_later_part_ends_them_without_waiting_for_the_end():
    window = Joined(BLOCKING.detectors, BLOCKING.answers)
    window.turn((0,))
    out = window.feed("Hello. ")
    window.turn((1,))
    out += window.feed(f"SSN {VALUES[1]} and more, and more")
    assert window.blocked
    assert out == "Hello. SSN "
    assert window.findings == {"us_ssn": 1}


def test_what_is_held_is_judged_as_it_stands_and_what_follows_with_it():
    window = Joined(ENFORCED.detectors, ENFORCED.answers)
    window.turn((0,))
    out = window.feed("to lucia.rey42@contoso.com")
    window.turn((1,))
    out += window.feed(" or 617-94-9685")
    assert window.holds
    out += window.flush()
    assert not window.holds
    assert out == "to [REDACTED] or [REDACTED]"
