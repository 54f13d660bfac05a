"""Detection reads what a reader sees; the way back is exact."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostiary.folding import BREAK, MAX_UNSEEN, Folded, fold, fold_piece
from tests import grammar


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("plain ASCII\t~", "plain ASCII\t~"),
        ("４１１１", "4111"),
        ("𝟓𝟨𝟒", "564"),
        ("٥٦٤ ५६४ ๕๖๔", "564 564 564"),
        ("①②⑨", "129"),
        ("564‑82–8630", "564-82-8630"),
        ("−", "-"),
        ("a\u00a0b\u2009c", "a b c"),
        ("kai＠example．org", "kai@example.org"),
        ("x․y。z", "x.y.z"),
        ("1\u200b2\u200d3\u00ad4\ufe0f5", "12345"),
        ("\u202e12\u2066\U000e0041", "12"),
        ("é e\u0301", "e e"),
        ("ѕсript", "script"),
        ("“x” ‘y’", "\"x\" 'y'"),
        ("ﷺ", "ﷺ"),
        ("\u2028", "\n"),
    ],
)
def test_what_looks_the_same_folds_to_the_same(text: str, folded: str) -> None:
    assert fold(text).text == folded


def test_ascii_is_given_back_as_it_is() -> None:
    text = "just text"
    assert fold(text).text is text


def test_a_range_leads_back_to_the_original_with_what_is_unseen_inside_it() -> None:
    text = "é: 5\u200b6\u200b4 end"
    folded = fold(text)
    start = folded.text.index("564")
    first, last = folded.span(start, start + 3)
    assert text[first:last] == "5\u200b6\u200b4"


def test_a_long_run_of_unseen_characters_is_a_break() -> None:
    assert fold("1" + "\u200b" * MAX_UNSEEN + "2").text == "12"
    assert fold("1" + "\u200b" * (MAX_UNSEEN + 1) + "2").text == f"1{BREAK}2"
    assert len(fold("\u200b" * 10_000).text) == 10_000 // (MAX_UNSEEN + 1)


@given(grammar.texts)
def test_nothing_grows_and_offsets_rise(text: str) -> None:
    folded = fold(text)
    assert len(folded.origin) == len(folded.text) <= len(text)
    assert list(folded.origin) == sorted(set(folded.origin))
    assert all(0 <= position < len(text) for position in folded.origin)


@given(grammar.texts, st.lists(st.integers(0, 80)))
def test_pieces_fold_to_the_same_as_the_whole(text: str, sizes: list[int]) -> None:
    joined, origin = "", []
    position = unseen = 0
    for size in [*sizes, len(text)]:
        piece, unseen = fold_piece(text[position : position + size], position, unseen)
        joined += piece.text
        origin += list(piece.origin)
        position = min(position + size, len(text))
    whole = fold(text)
    assert Folded(joined, origin) == Folded(whole.text, list(whole.origin))
