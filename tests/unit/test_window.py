"""What the window releases depends on the text alone, never on how it was cut."""

from __future__ import annotations

import base64
import importlib
import json
import tracemalloc
from collections import Counter
from functools import cache
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ostiary.exchange import Action
from ostiary.ports import Detector
from ostiary.scanning import scan
from ostiary.spans import Decided, apply, cover, first_block, render
from ostiary.window import Window
from tests import grammar, vectors

PERSONAL = ("email_address", "credit_card", "us_ssn", "phone_number", "ip_address")
ACTIVE = ("sql_injection", "cross_site_scripting", "path_traversal")
REDACT = dict.fromkeys(PERSONAL + ACTIVE, Action.REDACT)


@cache
def detectors(kinds: tuple[str, ...] = PERSONAL) -> list[Detector]:
    modules = [importlib.import_module(f"ostiary.detectors.{kind}") for kind in kinds]
    return [module.build(module.Options()) for module in modules]


def check_every_split_is_the_same(
    text: str, sizes: list[int], actions: dict[str, Action], asked: list[Detector]
) -> None:
    decided = [Decided(f, actions[f.kind]) for f in scan(text, asked)]
    decided = [one for one in decided if one.action is not Action.OFF]
    pieces, position = [], 0
    for size in sizes:
        pieces.append(text[position : position + size])
        position += size
    pieces.append(text[position:])
    window = Window(asked, actions)
    released = "".join([*map(window.feed, pieces), window.close()])
    block = first_block(decided)
    assert released == apply(text, decided)
    assert window.blocked == (block is not None)
    assert window.findings == Counter(
        f.kind for f, _ in decided if block is None or f.start <= block
    )


choices = st.fixed_dictionaries(
    {kind: st.sampled_from([Action.REDACT, Action.REDACT, *Action]) for kind in PERSONAL + ACTIVE}
)
splits = st.lists(st.integers(0, 20), max_size=60)
relaxed = settings(
    max_examples=grammar.EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@relaxed
@given(grammar.texts, splits, choices)
def test_every_split_releases_the_same(
    text: str, sizes: list[int], actions: dict[str, Action]
) -> None:
    check_every_split_is_the_same(text, sizes, actions, detectors(PERSONAL + ACTIVE))


@relaxed
@given(grammar.texts, splits)
def test_every_split_redacts_the_same(text: str, sizes: list[int]) -> None:
    check_every_split_is_the_same(text, sizes, REDACT, detectors())


@pytest.mark.slow
@settings(relaxed, max_examples=grammar.SLOW_EXAMPLES)
@given(grammar.texts, splits, choices)
def test_every_split_releases_the_same_thoroughly(
    text: str, sizes: list[int], actions: dict[str, Action]
) -> None:
    check_every_split_is_the_same(text, sizes, actions, detectors(PERSONAL + ACTIVE))


@pytest.mark.slow
@settings(relaxed, max_examples=grammar.SLOW_EXAMPLES // 20)
@given(grammar.long_texts, st.lists(st.integers(0, 300), max_size=40), choices)
def test_every_split_of_a_long_text_releases_the_same(
    text: str, sizes: list[int], actions: dict[str, Action]
) -> None:
    check_every_split_is_the_same(text, sizes, actions, detectors(PERSONAL + ACTIVE))


@pytest.mark.parametrize("value", grammar.VALUES)
def test_every_value_is_cut_everywhere(value: str) -> None:
    text = f"Hello there, {value} and so on"
    for cut in range(len(text)):
        check_every_split_is_the_same(text, [cut], REDACT, detectors(PERSONAL + ACTIVE))
    check_every_split_is_the_same(text, [1] * len(text), REDACT, detectors(PERSONAL + ACTIVE))


def contents(case: dict[str, Any]) -> str:
    """The text that the first choice of a recorded stream says in `content`."""
    stream = b""
    for chunk in case["chunks"]:
        part, times = (chunk, 1) if isinstance(chunk, str) else chunk
        stream += base64.b64decode(part) * times
    text = ""
    for line in stream.decode("utf-8", "replace").partition("[DONE]")[0].splitlines():
        try:
            event = json.loads(line.removeprefix("data:"))
            text += event["choices"][0]["delta"]["content"]
        except (ValueError, KeyError, IndexError, TypeError):
            continue
    return text


def test_recorded_streams_hide_what_must_not_be_seen_at_every_cut() -> None:
    loaded: Any = vectors.load("sse_streams.json")
    tried = 0
    for case in loaded["cases"]:
        if not case["id"].startswith(("EMAIL", "US_SSN", "CREDIT_CARD")):
            continue
        text = contents(case)
        if not any(value in text for value in case["must_not"]):
            continue
        tried += 1
        for cut in range(len(text) + 1):
            window = Window(detectors(), REDACT)
            released = window.feed(text[:cut]) + window.feed(text[cut:]) + window.close()
            assert not any(value in released for value in case["must_not"])
            assert all(value in released for value in case["must"] if value in text)
    assert tried >= 60


PROSE = (
    "The committee meets again on Thursday to discuss what the museum should do with the old "
    "printing press, which nobody has used for many years; it's a fine machine, and heavy. "
) * 4


@pytest.mark.parametrize(("kinds", "most"), [(PERSONAL, 32), (PERSONAL + ACTIVE, 64)])
def test_ordinary_prose_flows(kinds: tuple[str, ...], most: int) -> None:
    window = Window(detectors(kinds), REDACT)
    fed = released = 0
    for position in range(0, len(PROSE), 4):
        piece = PROSE[position : position + 4]
        fed += len(piece)
        released += len(window.feed(piece))
        assert fed - released <= most


def test_what_is_only_observed_holds_nothing_back() -> None:
    window = Window(detectors(), dict.fromkeys(PERSONAL, Action.OBSERVE))
    text = "write to test@example.com, please"
    assert [window.feed(character) for character in text] == list(text)
    window.close()
    assert window.findings == {"email_address": 1}


def test_after_a_block_nothing_is_released() -> None:
    window = Window(detectors(), {**REDACT, "us_ssn": Action.BLOCK})
    out = window.feed("mail a@b.org, ssn 564-82-8630 and ") + window.feed("more ") + window.close()
    assert out == "mail [REDACTED], ssn "
    assert window.blocked
    assert window.findings == {"email_address": 1, "us_ssn": 1}


def test_a_value_written_across_pieces_is_one_marker() -> None:
    window = Window(detectors(), REDACT)
    pieces = ["it is 4111 ", "1111 11", "\u200b11 11", "11, thanks"]
    assert "".join([*map(window.feed, pieces), window.close()]) == "it is [REDACTED], thanks"


@relaxed
@given(grammar.texts, st.integers(0, 60), splits)
def test_what_is_flushed_is_judged_as_it_stands_and_what_follows_with_it(
    text: str, at: int, sizes: list[int]
) -> None:
    """Before the point the verdict on what was there; behind it the verdict on the whole text."""
    asked = detectors(PERSONAL + ACTIVE)
    pieces, position = [], 0
    for size in sizes:
        pieces.append(text[:at][position : position + size])
        position += size
    pieces.append(text[:at][position:])
    window = Window(asked, REDACT)
    before = "".join(map(window.feed, pieces)) + window.flush()
    after = window.feed(text[at:]) + window.close()
    first = [Decided(f, REDACT[f.kind]) for f in scan(text[:at], asked)]
    assert before == apply(text[:at], first)
    decided = [Decided(f, REDACT[f.kind]) for f in scan(text, asked)]
    covers = [one for each in decided if (one := cover(text, each))]
    in_marker = any(one.finding.end == len(text[:at]) for one in first)
    assert after == render(text[at:], covers, len(text[:at]), in_marker)[0]


@pytest.mark.parametrize("value", ["jane.doe@example.com", "617-94-9685", "4111 1111 1111 1111"])
def test_a_value_that_ends_where_a_flush_comes_is_not_given_out(value: str) -> None:
    window = Window(detectors(), REDACT)
    assert window.feed(f"it is {value}") + window.flush() == "it is [REDACTED]"
    assert window.feed(" and so on") + window.close() == " and so on"


def test_a_flush_before_which_something_is_blocked_ends_the_text() -> None:
    window = Window(detectors(), {**REDACT, "us_ssn": Action.BLOCK})
    assert window.feed("it is 617-94-9685") + window.flush() == "it is "
    assert window.blocked
    assert window.feed(" more") + window.close() == ""


@pytest.mark.parametrize("piece", ["word ", "7", "@", "1 ", "a", "\u200b", "<", "dot "])
def test_memory_is_bounded_however_long_the_text(piece: str) -> None:
    window = Window(detectors(PERSONAL + ACTIVE), REDACT)
    for _ in range(2_000):
        window.feed(piece * 4)
    tracemalloc.start()
    for _ in range(6_000):
        window.feed(piece * 4)
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size < 200_000


def test_what_begins_a_text_is_judged_by_nothing_at_its_end() -> None:
    """Digits and a blank at the end of a piece are not what stands before the first number."""
    number = "5 6 4 8 2 8 6 3 0"
    text = f"{number}\n" + "\u200b \u200b".join(number.split())
    actions = dict.fromkeys(("us_ssn",), Action.REDACT)
    for sizes in ([1, 20], [20], [1] * len(text), []):
        check_every_split_is_the_same(text, sizes, actions, detectors(("us_ssn",)))
