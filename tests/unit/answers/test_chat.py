"""The answer guard: what leaves depends on what the model said, never on how it was cut."""

from __future__ import annotations

import copy
from collections import defaultdict
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ostiary import policy
from ostiary.answers.chat import ChatGuard
from ostiary.assemble import detectors
from ostiary.exchange import Action

DETECTORS = detectors()
ENFORCED = policy.build(DETECTORS, {}, observe_only=False)
BLOCKING = policy.build(DETECTORS, {"us_ssn": Action.BLOCK}, observe_only=False)

PIECES = [
    "Hello Åsa, ",
    "write to lucia.rey42@contoso.com",
    " or l.rey@example.org, ",
    "SSN 617-94-9685",
    ". ",
    "Card 4111 1111 1111 1111",
    " and 5555-5555-5555-4444; ",
    "\n\n```py\nx = 1\n```\n",
    "lucia.\u200brey42@con\u200btoso.com ",
    "😀 日本語 ",
    "plain words without anything, ",
    "1234-5678",
    "a@b",
    "@",
    " 617-94-",
    "00",
    "é\u0301",
    "call +1 202 555 0143 ",
    "10.20.30.40",
    "<b>x</b> ",
]
FRAME = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m"}


def channels(event: dict[str, Any], said: dict[tuple[Any, ...], str], name: str) -> None:
    """Join what an event says to what each channel said before."""
    for choice in event["choices"]:
        spoken = choice.get(name) or {}
        for field in ("content", "refusal", "reasoning_content"):
            if spoken.get(field):
                said[choice["index"], field] += spoken[field]
        for position, call in enumerate(spoken.get("tool_calls") or ()):
            arguments = call["function"].get("arguments", "")
            said[choice["index"], "tool", call.get("index", position)] += arguments


def whole(answer: dict[str, list[str]], rules: policy.Policy) -> tuple[Any, ...]:
    """The verdict on the answer as one event."""
    guard = ChatGuard(rules, 0)
    choices = []
    for index, pieces in enumerate(answer["contents"]):
        message: dict[str, Any] = {"role": "assistant", "content": "".join(pieces)}
        if index == 0:
            message["refusal"] = "".join(answer["refusal"])
            call = {"name": "f", "arguments": "".join(answer["arguments"])}
            message["tool_calls"] = [{"id": "t", "type": "function", "function": call}]
        choices.append({"index": index, "message": message, "finish_reason": "stop"})
    released = guard.whole({**FRAME, "choices": choices})
    said: dict[tuple[Any, ...], str] = defaultdict(str)
    channels(released, said, "message")
    reasons = [choice["finish_reason"] for choice in released["choices"]]
    return dict(said), dict(guard.findings), guard.blocked, reasons


def streamed(events: list[dict[str, Any]], rules: policy.Policy) -> tuple[Any, ...]:
    """The verdict on the answer as a stream of these events, as far as the policy lets it come."""
    guard = ChatGuard(rules, 0)
    released = []
    for event in events:
        released += guard.release(copy.deepcopy(event))
        if guard.blocked:
            break
    released += guard.finish()
    said: dict[tuple[Any, ...], str] = defaultdict(str)
    reasons: dict[int, str] = {}
    for event in released:
        channels(event, said, "delta")
        reasons |= {c["index"]: c["finish_reason"] for c in event["choices"] if c["finish_reason"]}
    told = [reasons[index] for index in sorted(reasons)]
    return dict(said), dict(guard.findings), guard.blocked, told


@st.composite
def cut(draw: st.DrawFn, pieces: list[str]) -> list[str]:
    """One text, cut at any places (also twice at one, which makes an empty piece)."""
    text = "".join(pieces)
    places = sorted(draw(st.lists(st.integers(0, len(text)), max_size=12)))
    return [text[a:b] for a, b in zip([0, *places], [*places, len(text)], strict=True)]


TEXT = st.lists(st.sampled_from(PIECES), max_size=6)


@st.composite
def answers(draw: st.DrawFn) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """An answer with several channels, and one way to cut and cross them into events."""
    contents = draw(st.lists(TEXT, min_size=1, max_size=2))
    refusal, arguments = draw(TEXT), draw(TEXT)
    answer = {"contents": contents, "refusal": refusal, "arguments": arguments}
    queues = [[(i, {"content": p}) for p in draw(cut(pieces))] for i, pieces in enumerate(contents)]
    queues.append([(0, {"refusal": piece}) for piece in draw(cut(refusal))])
    calls = [{"index": 0, "function": {"arguments": piece}} for piece in draw(cut(arguments))]
    calls[0] |= {"id": "t", "type": "function"}
    calls[0]["function"]["name"] = "f"
    queues.append([(0, {"tool_calls": [call]}) for call in calls])

    events = []
    while queues := [queue for queue in queues if queue]:
        index, delta = draw(st.sampled_from(queues)).pop(0)
        choice = {"index": index, "delta": delta, "finish_reason": None}
        events.append({**FRAME, "choices": [choice]})
    for index in range(len(contents)):
        ended = {"index": index, "delta": {}, "finish_reason": "stop"}
        events.append({**FRAME, "choices": [ended]})
    return answer, events


def check_same_verdict(made: tuple[dict[str, Any], list[dict[str, Any]]]) -> None:
    answer, events = made
    assert streamed(events, ENFORCED) == whole(answer, ENFORCED)


def check_same_block(made: tuple[dict[str, Any], list[dict[str, Any]]]) -> None:
    """A block ends the whole stream, so that the other choices are cut where it found them."""
    answer, events = made
    said, _, blocked, reasons = streamed(events, BLOCKING)
    whole_said, _, whole_blocked, whole_reasons = whole(answer, BLOCKING)
    assert blocked == whole_blocked
    assert ("content_filter" in reasons) == blocked
    assert [c for c, text in said.items() if not whole_said.get(c, "").startswith(text)] == []
    if not blocked:
        assert (said, reasons) == (whole_said, whole_reasons)


QUIET = [HealthCheck.too_slow, HealthCheck.data_too_large]


@settings(max_examples=200, deadline=None, suppress_health_check=QUIET)
@given(answers())
def test_however_an_answer_is_cut_its_verdict_and_text_are_the_same(made):
    check_same_verdict(made)


@settings(max_examples=100, deadline=None, suppress_health_check=QUIET)
@given(answers())
def test_however_an_answer_is_cut_it_is_blocked_or_not(made):
    check_same_block(made)


@pytest.mark.slow
@settings(max_examples=10_000, deadline=None, suppress_health_check=QUIET)
@given(answers())
def test_ten_thousand_ways_to_cut_an_answer_give_one_verdict(made):
    check_same_verdict(made)
    check_same_block(made)


def test_the_pieces_hold_what_the_guard_is_there_for():
    said, findings, blocked, reasons = whole(
        {"contents": [PIECES], "refusal": PIECES, "arguments": PIECES}, ENFORCED
    )
    assert {"email_address", "us_ssn", "credit_card"} <= set(findings)
    assert not blocked
    assert reasons == ["stop"]
    for text in said.values():
        assert "contoso" not in text
        assert "617-94-9685" not in text
        assert "plain words without anything" in text


def test_logprobs_are_dropped_from_streams():
    """They repeat the text beside the windows, and ahead of them."""
    guard = ChatGuard(ENFORCED, 0)
    probable = {"content": [{"token": "lucia", "logprob": -0.1, "top_logprobs": []}]}
    choice = {"index": 0, "delta": {"content": "lucia and so on, " * 99}, "logprobs": probable}
    released = guard.release({**FRAME, "choices": [{**choice, "finish_reason": None}]})
    assert released
    assert "logprob" not in str(released + guard.finish())
