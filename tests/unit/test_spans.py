"""Overlapping findings become one text: the strongest action wins, character by character."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostiary.exchange import Action, Finding
from ostiary.spans import MARKER, Cover, Decided, apply, first_block, mask, render


def decided(start: int, end: int, action: Action) -> Decided:
    return Decided(Finding("kind", start, end), action)


def test_without_findings_the_text_stays() -> None:
    assert apply("nothing here", []) == "nothing here"


def test_redaction_leaves_nothing_of_the_value() -> None:
    assert apply("ssn 564-82-8630!", [decided(4, 15, Action.REDACT)]) == f"ssn {MARKER}!"


def test_touching_and_overlapping_redactions_are_one_marker() -> None:
    findings = [
        decided(0, 4, Action.REDACT),
        decided(2, 6, Action.REDACT),
        decided(6, 8, Action.REDACT),
    ]
    assert apply("0123456789", findings) == f"{MARKER}89"


def test_redactions_apart_are_two_markers() -> None:
    findings = [decided(0, 2, Action.REDACT), decided(3, 5, Action.REDACT)]
    assert apply("ab cd", findings) == f"{MARKER} {MARKER}"


def test_a_redaction_is_stronger_than_a_mask_over_it() -> None:
    findings = [decided(0, 10, Action.MASK), decided(5, 10, Action.REDACT)]
    assert apply("0123456789", findings) == f"*****{MARKER}"


@pytest.mark.parametrize("action", [Action.OBSERVE, Action.OFF])
def test_what_is_only_observed_stays(action: Action) -> None:
    assert apply("a@b.org", [decided(0, 7, action)]) == "a@b.org"


def test_a_block_ends_the_text_where_it_begins() -> None:
    findings = [decided(2, 4, Action.REDACT), decided(6, 8, Action.BLOCK)]
    assert apply("0123456789", findings) == f"01{MARKER}45"
    assert first_block(findings) == 6


@pytest.mark.parametrize(
    ("value", "masked"),
    [
        ("4111 1111 1111 1234", "**** **** **** 1234"),
        ("564-82-8630", "***-**-*630"),
        ("lucia@contoso.com", "l****@*******.***"),
        ("203.0.113.77", "***.*.**3.77"),
        ("12", "**"),
    ],
)
def test_a_mask_leaves_a_part(value: str, masked: str) -> None:
    assert mask(value) == masked


@given(st.text(max_size=40))
def test_a_mask_is_as_long_as_the_value_and_shows_a_third_at_most(value: str) -> None:
    masked = mask(value)
    assert len(masked) == len(value)
    shown = [c for c, m in zip(value, masked, strict=True) if c.isalnum() and c == m]
    assert len(shown) * 3 <= sum(c.isalnum() for c in value)


covers = st.builds(
    lambda start, size, hide: Cover(start, start + size, None if hide else "x" * size),
    st.integers(0, 30),
    st.integers(1, 12),
    st.booleans(),
)


@given(st.text(max_size=40), st.lists(covers, max_size=5), st.integers(0, 40))
def test_a_text_rendered_in_two_parts_is_the_same(text: str, made: list[Cover], cut: int) -> None:
    whole, _ = render(text, made)
    first, inside = render(text[:cut], made)
    second, _ = render(text[cut:], made, min(cut, len(text)), inside)
    assert first + second == whole


def test_no_repr_shows_what_is_left_of_a_value() -> None:
    assert "630" not in repr(Cover(0, 11, "***-**-*630"))
