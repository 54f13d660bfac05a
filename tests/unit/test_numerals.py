"""Check digits, and the word that stands nearest."""

from __future__ import annotations

import pytest

from ostiary.numerals import luhn, nearest, only_digits

WORDS = {"card": ("card", " cc "), "order": ("order",)}


@pytest.mark.parametrize("digits", ["4111111111111111", "378282246310005", "79927398713", "0"])
def test_a_right_check_digit_passes(digits: str) -> None:
    assert luhn(digits)


@pytest.mark.parametrize("digits", ["4111111111111112", "79927398710", "18"[::-1]])
def test_a_wrong_check_digit_fails(digits: str) -> None:
    assert not luhn(digits)


def test_every_single_wrong_digit_is_noticed() -> None:
    right = "4111111111111111"
    for place, digit in enumerate(right):
        for other in "0123456789".replace(digit, ""):
            assert not luhn(right[:place] + other + right[place + 1 :])


def test_only_digits_are_kept() -> None:
    assert only_digits("564-82 8630x") == "564828630"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("my card is 4", "card"),
        ("card for order 4", "order"),
        ("order paid by card: 4", "card"),
        ("Card 4", "card"),
        ("cc: 4", "card"),
        ("accent 4", ""),
        ("card\n\n4", ""),
        ("card" + " " * 60 + "4", ""),
        ("4", ""),
    ],
)
def test_the_nearest_word_to_the_left_decides(text: str, name: str) -> None:
    assert nearest(WORDS, text, text.index("4")) == name
