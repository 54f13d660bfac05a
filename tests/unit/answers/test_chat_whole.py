"""A whole answer is judged at once, and comes out as if it had gone through the windows."""

from __future__ import annotations

import copy
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ostiary import policy as policies
from ostiary.answers.chat import ChatGuard
from ostiary.assemble import detectors
from ostiary.exchange import Action
from ostiary.policy import Policy
from ostiary.window import Window, judge_whole
from tests import grammar

KINDS = ("email_address", "credit_card", "us_ssn", "sql_injection", "cross_site_scripting")
ADDRESS = "jane.doe@example.com"


@cache
def policy(*actions: Action) -> Policy:
    configured = dict(zip(KINDS, actions, strict=False))
    return policies.build(detectors(), configured, observe_only=False)


def answer(*choices: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"id": "chatcmpl-1", "object": "chat.completion", "choices": list(choices), **more}


def choice(index: int, content: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": content}
    return {"index": index, "message": message, "logprobs": None, "finish_reason": "stop"}


@settings(max_examples=grammar.EXAMPLES, deadline=None)
@given(grammar.texts, st.tuples(*[st.sampled_from([Action.REDACT, *Action])] * len(KINDS)))
def test_a_whole_text_is_judged_as_its_window_would(text: str, actions: tuple[Action, ...]) -> None:
    asked = policy(*actions)
    window = Window(asked.detectors, asked.answers)
    expected = window.feed(text) + window.close()
    released, settled = judge_whole(text, asked.detectors, asked.answers)
    assert released == expected
    assert settled.findings == window.findings
    assert settled.blocked == window.blocked


def test_pieces_of_one_channel_are_judged_as_the_text_that_a_reader_joins() -> None:
    parts = [{"type": "text", "text": f"write to {ADDRESS[:6]}"}, {"type": "text", "text": "x"}]
    parts[1]["text"] = f"{ADDRESS[6:]} today"
    guard = ChatGuard(policy(), 1)
    released = guard.whole(answer(choice(0, parts)))
    joined = "".join(part["text"] for part in released["choices"][0]["message"]["content"])
    assert joined == "write to [REDACTED] today"
    assert guard.findings == {"email_address": 1}


def test_two_choices_of_one_index_cannot_hide_a_value_between_them() -> None:
    guard = ChatGuard(policy(), 1)
    released = guard.whole(answer(choice(0, ADDRESS[:6]), choice(0, ADDRESS[6:])))
    joined = "".join(one["message"]["content"] for one in released["choices"])
    assert ADDRESS not in joined
    assert guard.findings == {"email_address": 1}


def test_tokens_are_counted_once_however_the_answer_was_judged() -> None:
    whole, pieced = ChatGuard(policy(), 1), ChatGuard(policy(), 1)
    whole.whole(answer(choice(0, "a" * 40)))
    halves = [{"type": "text", "text": "a" * 20}] * 2
    pieced.whole(answer(choice(0, copy.deepcopy(halves))))
    assert whole.usage.completion == pieced.usage.completion == 10


@pytest.mark.parametrize("field", ["id", "model", "system_fingerprint", "service_tier"])
def test_a_pinned_field_that_holds_personal_data_is_altered_every_time(field: str) -> None:
    for _ in range(2):
        guard = ChatGuard(policy(), 1)
        released = guard.whole({**answer(choice(0, "fine")), field: ADDRESS})
        assert released[field] == "[REDACTED]"
        assert guard.findings == {"email_address": 1}


def test_a_field_name_that_holds_personal_data_never_passes() -> None:
    for _ in range(2):
        released = ChatGuard(policy(), 1).whole(answer(choice(0, "fine"), **{ADDRESS: "x"}))
        assert ADDRESS not in released


def test_a_word_is_judged_by_the_policy_in_force_not_by_an_earlier_one() -> None:
    loose = policy(Action.OFF)
    assert ChatGuard(loose, 1).whole(answer(choice(0, "x"), model=ADDRESS))["model"] == ADDRESS
    strict = ChatGuard(policy(), 1).whole(answer(choice(0, "x"), model=ADDRESS))
    assert strict["model"] == "[REDACTED]"


def test_a_stream_ends_every_choice_that_said_anything() -> None:
    guard = ChatGuard(policy(), 1)
    call = {"index": 0, "id": "call_1", "type": "function"}
    guard.release(answer({"index": 3, "delta": {"tool_calls": [call]}, "finish_reason": None}))
    assert [event["choices"][0]["index"] for event in guard.finish()] == [3]
