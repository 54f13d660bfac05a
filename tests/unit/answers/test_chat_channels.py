"""No text of an answer leaves unjudged, in whatever field and however it is cut."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import cache
from typing import Any

import pytest

from ostiary import policy
from ostiary.answers.chat import ChatGuard
from ostiary.answers.inspector import MOST_CHANNELS
from ostiary.assemble import detectors
from ostiary.errors import ProviderFailed
from ostiary.exchange import Action
from ostiary.policy import Policy
from tests.unit.doorway import piece, whole

EMAIL = "ann@example.com"
PADDING = "and some more words that say nothing " * 30


@cache
def policed(*kinds: tuple[str, Action], observe: bool = False) -> Policy:
    return policy.build(detectors(), dict(kinds), observe_only=observe)


def guard(
    *kinds: tuple[str, Action], observe: bool = False, include_usage: bool = False
) -> ChatGuard:
    return ChatGuard(policed(*kinds, observe=observe), 10, include_usage=include_usage)


BLOCK = ("email_address", Action.BLOCK)


def streamed(events: Iterable[Any], by: ChatGuard | None = None) -> list[dict[str, Any]]:
    """What leaves of a stream."""
    by = by or guard()
    out = []
    for event in events:
        out += by.release(json.loads(json.dumps(event)))
        if by.blocked:
            break
    return out + by.finish()


def joined(events: Iterable[dict[str, Any]], name: str = "content", index: int = 0) -> str:
    return "".join(
        choice["delta"].get(name) or ""
        for event in events
        for choice in event["choices"]
        if choice["index"] == index
    )


def calls(events: Iterable[dict[str, Any]]) -> dict[int, dict[str, str]]:
    """Tool calls as a client joins them: by index, strings appended."""
    found: dict[int, dict[str, str]] = {}
    for event in events:
        for choice in event["choices"]:
            for call in choice["delta"].get("tool_calls") or ():
                one = found.setdefault(call["index"], {"id": "", "name": "", "arguments": ""})
                one["id"] += call.get("id") or ""
                for name in ("name", "arguments"):
                    one[name] += (call.get("function") or {}).get(name) or ""
    return found


@pytest.mark.parametrize("size", [1, 3, 1_000])
@pytest.mark.parametrize("name", ["content", "refusal", "reasoning_content", "unheard_of"])
def test_a_value_is_taken_out_however_it_is_cut_and_wherever_it_stands(
    name: str, size: int
) -> None:
    text = f"Write to {EMAIL} today. {PADDING}"
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    by = guard()
    events = streamed([*[piece({name: p}) for p in pieces], piece({}, "stop")], by)
    assert joined(events, name) == text.replace(EMAIL, "[REDACTED]")
    assert by.findings == {"email_address": 1}


@pytest.mark.parametrize(
    "delta",
    [
        {"content": [{"type": "text", "text": f"x {EMAIL} y"}]},
        {"content": [f"x {EMAIL} y"]},
        {"audio": {"transcript": f"x {EMAIL} y"}},
        {"tool_calls": [{"index": 0, "id": "c", "function": {"name": EMAIL, "arguments": ""}}]},
        {"tool_calls": [{"index": 0, "id": EMAIL, "function": {"name": "f", "arguments": ""}}]},
        {"function_call": {"name": "f", "arguments": f'{{"to": "{EMAIL}"}}'}},
        {"annotations": [{"type": "url_citation", "url_citation": {"title": EMAIL, "url": EMAIL}}]},
        {EMAIL: "x"},
        {"deep": {EMAIL: {"a": 1}}},
        {"role": EMAIL},
        {"type": EMAIL},
        {"name": EMAIL},
    ],
)
def test_no_field_of_an_answer_is_a_way_around(delta: dict[str, Any]) -> None:
    assert EMAIL not in json.dumps(streamed([piece(delta), piece({}, "stop")]))
    event = whole("Hello")
    event["choices"][0]["message"] |= delta
    assert EMAIL not in json.dumps(guard().whole(event))


@pytest.mark.parametrize(
    "more",
    [
        {"id": EMAIL},
        {"model": EMAIL},
        {"object": EMAIL},
        {"system_fingerprint": EMAIL},
        {"service_tier": EMAIL},
        {"x_trace": EMAIL},
        {"created": EMAIL},
        {EMAIL: 1},
        {"usage": {EMAIL: 3, "prompt_tokens": 1, "completion_tokens": 1}},
        {"usage": {"prompt_tokens": 1, "completion_tokens": 1, "note": EMAIL}},
        {"usage": {"prompt_tokens_details": {"note": [EMAIL], EMAIL: 1}}},
    ],
)
def test_no_field_beside_the_choices_is_a_way_around(more: dict[str, Any]) -> None:
    by = guard()
    events = streamed([piece({"content": "x"}) | more, piece({}, "stop")], by)
    assert EMAIL not in json.dumps([*events, *by.finish()])
    assert EMAIL not in json.dumps(guard().whole(whole("Hello", **more)))


def test_a_finish_reason_is_one_of_a_list() -> None:
    assert EMAIL not in json.dumps(streamed([piece({"content": "x"}, EMAIL)]))
    assert streamed([piece({"content": "x"}, "length")])[-1]["choices"][0] == {
        "index": 0,
        "delta": {},
        "finish_reason": "length",
    }


def test_each_choice_has_its_own_text_and_its_own_finish() -> None:
    events = streamed(
        [
            piece({"content": "first "}, index=0),
            piece({"content": f"{EMAIL} "}, index=1),
            piece({"content": "text"}, "stop", index=0),
            piece({"content": "more"}, "length", index=1),
        ]
    )
    assert joined(events, index=0) == "first text"
    assert joined(events, index=1) == "[REDACTED] more"
    ends = {c["index"]: c["finish_reason"] for e in events for c in e["choices"]}
    assert ends == {0: "stop", 1: "length"}


def test_nothing_is_finished_before_the_end() -> None:
    by = guard()
    released = by.release(piece({"content": PADDING}, "stop"))
    assert all(c["finish_reason"] is None for e in released for c in e["choices"])


def test_tool_calls_come_through_and_their_arguments_are_judged() -> None:
    first = {
        "index": 0,
        "id": "call_1",
        "type": "function",
        "function": {"name": "mail", "arguments": ""},
    }
    events = streamed(
        [
            piece({"tool_calls": [first]}),
            piece({"tool_calls": [{"index": 0, "function": {"arguments": '{"to": "ann@ex'}}]}),
            piece({"tool_calls": [{"index": 0, "function": {"arguments": 'ample.com"}'}}]}),
            piece({}, "tool_calls"),
        ]
    )
    assert calls(events) == {
        0: {"id": "call_1", "name": "mail", "arguments": '{"to": "[REDACTED]"}'}
    }
    assert events[-1]["choices"][0]["finish_reason"] == "tool_calls"


def test_a_name_that_is_said_again_is_not_doubled() -> None:
    again = {"index": 0, "id": "c1", "function": {"name": "f", "arguments": "{}"}}
    empty = {"index": 0, "id": "", "function": {"name": "", "arguments": ""}}
    found = calls(streamed([piece({"tool_calls": [one]}) for one in (empty, again, again, empty)]))
    assert found == {0: {"id": "c1", "name": "f", "arguments": "{}{}"}}


def test_tool_calls_without_an_index_stay_apart() -> None:
    def call(name: str, arguments: str, call_id: str = "") -> dict[str, Any]:
        made: dict[str, Any] = {"function": {"name": name, "arguments": arguments}}
        return made | ({"id": call_id} if call_id else {})

    events = [
        piece({"tool_calls": [call("a", "{1", "id-a")]}),
        piece({"tool_calls": [call("b", "{2", "id-b")]}),
        piece({"tool_calls": [call("", "2}")]}),
        piece({"tool_calls": [call("", "1}", "id-a")]}),
    ]
    assert calls(streamed(events)) == {
        0: {"id": "id-a", "name": "a", "arguments": "{11}"},
        1: {"id": "id-b", "name": "b", "arguments": "{22}"},
    }


def test_an_empty_first_id_binds_nobody() -> None:
    opening = {
        "id": "",
        "object": "",
        "model": "",
        "created": 0,
        "choices": [],
        "prompt_filter_results": [{"prompt_index": 0}],
    }
    events = streamed([opening, piece({"content": "Hi"}), piece({}, "stop")])
    assert events[-1]["id"] == "chatcmpl-1"
    assert events[-1]["model"] == "gpt-4o"
    assert all(event["object"] == "chat.completion.chunk" for event in events)


def test_a_block_ends_every_choice_and_nothing_held_back_follows() -> None:
    by = guard(BLOCK)
    events = streamed(
        [
            piece({"content": "half of 123-45-", "reasoning_content": "thinking"}, index=1),
            piece({"content": f"Write to {EMAIL} {PADDING}"}),
            piece({"content": "never"}, "stop"),
        ],
        by,
    )
    assert by.blocked
    assert joined(events) == "Write to "
    assert "123-45-" not in json.dumps(events)
    assert "never" not in json.dumps(events)
    ends = {c["index"]: c["finish_reason"] for e in events for c in e["choices"]}
    assert ends == {0: "content_filter", 1: "content_filter"}


def test_a_whole_answer_is_blocked_from_the_finding_on() -> None:
    released = guard(BLOCK).whole(whole(f"Write to {EMAIL} today"))
    [choice] = released["choices"]
    assert choice["message"]["content"] == "Write to "
    assert choice["finish_reason"] == "content_filter"


def test_a_mask_leaves_a_part() -> None:
    released = guard(("email_address", Action.MASK)).whole(whole(f"Write to {EMAIL} today"))
    assert released["choices"][0]["message"]["content"] == "Write to a**@*******.*** today"


def test_observing_alters_nothing() -> None:
    event = whole(f"Write to {EMAIL}", note=EMAIL)
    event["choices"][0]["logprobs"] = {"anything": EMAIL}
    by = guard(observe=True)
    assert by.whole(json.loads(json.dumps(event))) == event
    assert by.findings["email_address"] == 2


def tokens(*texts: str) -> list[dict[str, Any]]:
    return [{"token": t, "logprob": -0.5, "bytes": list(t.encode())} for t in texts]


def with_logprobs(content: str, logprobs: Any) -> Any:
    event = whole(content)
    event["choices"][0]["logprobs"] = logprobs
    return guard().whole(event)["choices"][0]["logprobs"]


def test_log_probabilities_of_a_clean_answer_pass() -> None:
    given = {"content": tokens("Hel", "lo"), "refusal": None}
    given["content"][0]["top_logprobs"] = tokens("Hel", "Hi")
    assert with_logprobs("Hello", given) == given


@pytest.mark.parametrize(
    "logprobs",
    [
        {"content": tokens("ann@", "example.com")},
        {"content": tokens("Hello"), "note": EMAIL},
        {"content": [{**tokens("Hello")[0], "note": EMAIL}]},
        {"content": [{"token": "Hello", "logprob": EMAIL, "bytes": None}]},
        {"content": [{"token": "Hello", "logprob": -1, "bytes": list(EMAIL.encode())}]},
        {"content": [{**tokens("Hello")[0], "top_logprobs": tokens("x", EMAIL)}]},
        {
            "content": [
                {**tokens("Hel")[0], "top_logprobs": tokens("ann@exam")},
                {**tokens("lo")[0], "top_logprobs": tokens("ple.com")},
            ]
        },
        EMAIL,
        [EMAIL],
    ],
)
def test_log_probabilities_that_say_something_else_are_dropped(logprobs: Any) -> None:
    assert with_logprobs("Hello", logprobs) is None


def test_log_probabilities_are_dropped_where_text_was_altered_and_in_streams() -> None:
    assert with_logprobs(EMAIL, {"content": tokens(EMAIL)}) is None
    event = piece({"content": "Hello"}, "stop", logprobs={"content": tokens(EMAIL)})
    assert "logprobs" not in json.dumps(streamed([event]))


def test_usage_passes_as_numbers_and_counts() -> None:
    by = guard(include_usage=True)
    counted = {
        "prompt_tokens": 7,
        "completion_tokens": 5,
        "total_tokens": 12,
        "prompt_tokens_details": {"cached_tokens": 3, "note": "dropped"},
    }
    streamed([piece({"content": "x"}, "stop"), {**piece({}), "choices": [], "usage": counted}], by)
    assert by.finish()[-1]["usage"] == {
        **counted,
        "prompt_tokens_details": {"cached_tokens": 3},
    }
    assert (by.usage.prompt, by.usage.completion, by.usage.estimated) == (7, 5, False)


def test_usage_is_estimated_where_the_model_counts_nothing() -> None:
    by = guard(include_usage=True)
    streamed([piece({"content": "x" * 400}, "stop")], by)
    assert (by.usage.prompt, by.usage.completion, by.usage.estimated) == (10, 100, True)
    assert by.finish()[-1]["usage"]["total_tokens"] == 110


def test_negative_usage_gives_nothing_back() -> None:
    by = guard()
    by.whole(whole("x", usage={"prompt_tokens": -9, "completion_tokens": -9}))
    assert by.usage.total == 0


def test_an_answer_of_endless_parts_is_refused() -> None:
    by = guard()
    with pytest.raises(ProviderFailed):
        for number in range(MOST_CHANNELS + 2):
            by.release(piece({f"field {number}": "x"}))


def test_an_answer_that_is_nested_without_end_is_refused() -> None:
    tree: Any = "x"
    for _ in range(400):
        tree = {"content": [tree]}
    with pytest.raises(ProviderFailed):
        guard().release(piece(tree))


def test_a_very_long_word_is_held_back_only_within_bounds() -> None:
    by = guard()
    sent = released = 0
    for _ in range(200):
        sent += 100
        for event in by.release(piece({"content": "x" * 100})):
            released += len(event["choices"][0]["delta"]["content"])
        assert sent - released < 2_000


def test_nothing_empty_is_sent() -> None:
    assert guard().release(piece({"content": ""})) == []
    assert guard().release({**piece({}), "choices": []}) == []
