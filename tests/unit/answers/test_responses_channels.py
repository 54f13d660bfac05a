"""No text of a response leaves unjudged, in whatever field, event or repetition it comes."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ostiary import policy
from ostiary.answers.chat import ChatGuard
from ostiary.answers.embeddings import EmbeddingsGuard
from ostiary.answers.inspector import MOST_CHANNELS
from ostiary.answers.responses import ResponsesGuard
from ostiary.errors import ProviderFailed
from ostiary.exchange import Action, Dialect
from ostiary.policy import Policy
from ostiary.wire.readings import AnswerShapeError, reading_of
from tests.unit.answers.test_chat import ENFORCED
from tests.unit.answers.test_responses import response_of, run

EMAIL = "ann@example.com"
FIRST, SECOND = "write to ann@exam", "ple.com now"
BLOCK = policy.build(ENFORCED.detectors, {"email_address": Action.BLOCK}, observe_only=False)
CREATED = {"type": "response.created", "response": response_of([], "in_progress")}
PLACE = {"item_id": "msg_0", "output_index": 0, "content_index": 0}


def message(*texts: str, **more: Any) -> dict[str, Any]:
    parts = [{"type": "output_text", "text": text, "annotations": []} for text in texts]
    return {"type": "message", "id": "msg_0", "role": "assistant", "content": parts, **more}


def completed(*output: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "response.completed", "response": {**response_of(list(output)), **more}}


def delta(text: Any, base: str = "response.output_text", **place: Any) -> dict[str, Any]:
    return {"type": f"{base}.delta", **PLACE, **place, "delta": text}


def left_of(*events: dict[str, Any], rules: Policy = ENFORCED) -> list[dict[str, Any]]:
    """What leaves of a stream that the reading takes."""
    reading = reading_of(Dialect.RESPONSES)
    copies = [reading.event(json.loads(json.dumps(event))) for event in (CREATED, *events)]
    return run(copies, rules)[0]


def whole_of(response: dict[str, Any], rules: Policy = ENFORCED) -> dict[str, Any]:
    tree = reading_of(Dialect.RESPONSES).whole(json.loads(json.dumps(response)))
    return ResponsesGuard(rules, 0).whole(tree)


def deltas(left: list[dict[str, Any]]) -> str:
    return "".join(event["delta"] for event in left if event["type"].endswith(".delta"))


def final(left: list[dict[str, Any]]) -> str:
    """What the SDK calls `output_text`."""
    return "".join(
        part["text"]
        for item in left[-1]["response"]["output"]
        for part in item.get("content", ())
        if part["type"] == "output_text"
    )


FIELDS = {
    "an id": completed(message("x", id=EMAIL)),
    "a role": completed(message("x", role=EMAIL)),
    "a status": completed(message("x", status=EMAIL)),
    "a type": completed({"type": EMAIL, "id": "x"}),
    "a name": completed({"type": "function_call", "name": EMAIL, "arguments": "{}"}),
    "a call id": completed({"type": "function_call", "call_id": EMAIL, "arguments": "{}"}),
    "arguments": completed({"type": "function_call", "name": "f", "arguments": f'"{EMAIL}"'}),
    "code": completed({"type": "code_interpreter_call", "code": f"mail('{EMAIL}')"}),
    "logs": completed({"type": "code_interpreter_call", "outputs": [{"logs": f"to {EMAIL}"}]}),
    "queries": completed({"type": "web_search_call", "action": {"queries": [f"who is {EMAIL}"]}}),
    "a tool's output": completed({"type": "mcp_call", "output": EMAIL, "error": EMAIL}),
    "an unknown item": completed({"type": "x_item", "x_text": [{"x": EMAIL}]}),
    "an annotation": completed(
        {
            "type": "message",
            "content": [
                {
                    "type": "output_text",
                    "text": "x",
                    "annotations": [{"type": "url_citation", "title": EMAIL, "url": EMAIL}],
                    "logprobs": [{"token": EMAIL, "logprob": -1, "bytes": list(EMAIL.encode())}],
                }
            ],
        }
    ),
    "a field's name": completed(message("x", **{EMAIL: 1})),
    "a member of the response": completed(x_trace=EMAIL),
    "the model": completed(model=EMAIL),
    "the response's id": completed(id=EMAIL),
    "metadata": completed(metadata={EMAIL: EMAIL}),
    "instructions": completed(instructions=f"You are {EMAIL}"),
    "tools": completed(tools=[{"type": "function", "name": "f", "description": EMAIL}]),
    "usage": completed(usage={"input_tokens": 1, "output_tokens": 1, "note": EMAIL, EMAIL: 3}),
    "usage that is text": completed(usage=EMAIL),
    "filters": completed(
        content_filters=[{"source_type": EMAIL, "content_filter_results": {"hate": EMAIL}}]
    ),
    "filters that are text": completed(content_filters=EMAIL),
    "a reason": completed(incomplete_details={"reason": EMAIL}),
    "output_text": completed(output_text=EMAIL),
    "text parts that are strings": completed({"type": "message", "content": [EMAIL]}),
    "text that is an object": completed({"type": "message", "content": [{"text": {"a": EMAIL}}]}),
}


@pytest.mark.parametrize("where", FIELDS)
def test_no_field_of_a_response_is_a_way_around(where: str) -> None:
    event = FIELDS[where]
    assert EMAIL not in json.dumps(left_of(event))
    assert EMAIL not in json.dumps(left_of(delta("Hello "), event))
    assert EMAIL not in json.dumps(whole_of(event["response"]))
    assert EMAIL not in json.dumps(left_of({**event, "type": "response.in_progress"}, completed()))


EVENTS = {
    "an unknown event": {"type": "response.x_note", "x": EMAIL},
    "an unknown delta": {"type": "response.x.delta", "delta": EMAIL},
    "an unknown done": {"type": "response.x.done", "text": EMAIL},
    "an unknown field of a delta": {**delta("Hello"), "x_note": EMAIL},
    "a field name of a delta": {**delta("Hello"), EMAIL: "x"},
    "an item id": {**delta("Hello"), "item_id": EMAIL},
    "log probabilities": {**delta("Hello"), "logprobs": [{"token": EMAIL}]},
    "obfuscation": {**delta("Hello"), "obfuscation": EMAIL},
    "a sequence number": {**delta("Hello"), "sequence_number": EMAIL},
    "an annotation": {
        "type": "response.output_text.annotation.added",
        **PLACE,
        "annotation_index": 0,
        "annotation": {"type": "url_citation", "title": EMAIL, "url": f"https://x/?{EMAIL}"},
    },
    "done that differs": {"type": "response.output_text.done", **PLACE, "text": EMAIL},
    "done that is no text": {"type": "response.output_text.done", **PLACE, "text": [EMAIL]},
    "a part": {"type": "response.content_part.done", **PLACE, "part": {"text": EMAIL}},
    "a part that is text": {"type": "response.content_part.done", **PLACE, "part": EMAIL},
    "an item": {"type": "response.output_item.done", "output_index": 0, "item": message(EMAIL)},
    "an item elsewhere": {
        "type": "response.output_item.done",
        "output_index": 9,
        "item": message(EMAIL),
    },
    "an item that is text": {"type": "response.output_item.done", "output_index": 0, "item": EMAIL},
}


@pytest.mark.parametrize("where", EVENTS)
@pytest.mark.parametrize("held", ["", "Hello 555-01"], ids=["nothing held", "text held"])
def test_no_event_of_a_stream_is_a_way_around(where: str, held: str) -> None:
    left = left_of(delta(held), EVENTS[where], completed(message(held)))
    assert EMAIL not in json.dumps(left)
    assert left[-1]["type"] == "response.completed"


CROSSING = {
    "deltas": (delta(FIRST), delta(SECOND)),
    "deltas of two parts": (delta(FIRST), delta(SECOND, content_index=1)),
    "deltas of two items": (delta(FIRST), delta(SECOND, output_index=1)),
    "unknown deltas": (delta(FIRST, "response.x"), delta(SECOND, "response.x")),
    "a part that begins with text": (
        {"type": "response.content_part.added", **PLACE, "part": message(FIRST)["content"][0]},
        delta(SECOND),
        completed(message(FIRST + SECOND)),
    ),
    "a call that begins with arguments": (
        {
            "type": "response.output_item.added",
            "output_index": 0,
            "item": {"type": "function_call", "name": "f", "arguments": FIRST},
        },
        delta(SECOND, "response.function_call_arguments"),
    ),
    "two dones": (
        {"type": "response.output_text.done", **PLACE, "text": FIRST},
        {"type": "response.output_text.done", **PLACE, "content_index": 1, "text": SECOND},
    ),
    "two items": (
        {"type": "response.output_item.done", "output_index": 0, "item": message(FIRST)},
        {"type": "response.output_item.done", "output_index": 1, "item": message(SECOND)},
    ),
    "a delta and a part that only the end tells": (
        delta(FIRST),
        completed(message(FIRST, SECOND)),
    ),
    "a delta and an item that only the end tells": (
        delta(FIRST),
        {"type": "response.output_text.done", **PLACE, "text": FIRST},
        completed(message(FIRST), message(SECOND)),
    ),
    "the end alone": (completed(message(FIRST, SECOND)),),
    "the end alone, in two items": (completed(message(FIRST), message(SECOND)),),
}


@pytest.mark.parametrize("where", CROSSING)
def test_a_value_that_crosses_is_found_as_readers_join_it(where: str) -> None:
    events = list(CROSSING[where])
    if events[-1]["type"] != "response.completed":
        events.append(completed())
    left = left_of(*events)
    told = json.dumps(left)
    assert "ann@" not in told
    assert "ple.com" not in told
    if "arguments" not in where and "unknown" not in where:
        everything = deltas(left) + "".join(
            str(event.get("text", "")) + "".join(p["text"] for p in event["item"]["content"])
            if "item" in event
            else str(event.get("text", ""))
            for event in left
            if event["type"].endswith("done")
        )
        assert "write to [REDACTED] now" in {deltas(left), final(left), everything}


def test_a_value_before_text_of_another_kind_is_judged_as_it_stands() -> None:
    call = {"type": "function_call", "name": "f", "arguments": "{}"}
    left = left_of(
        delta(f"I write to {EMAIL}"),
        {"type": "response.output_text.done", **PLACE, "text": f"I write to {EMAIL}"},
        {
            "type": "response.output_item.added",
            "output_index": 1,
            "item": {**call, "arguments": ""},
        },
        delta("{}", "response.function_call_arguments", output_index=1),
        completed(message(f"I write to {EMAIL}"), call),
    )
    assert deltas(left) == "I write to [REDACTED]{}"
    assert final(left) == "I write to [REDACTED]"


def test_what_was_thought_never_ends_up_in_what_is_answered() -> None:
    """The end of a thought is held back; it is said as a thought, not with the answer's words."""
    left = left_of(
        delta("I recall 555-01", "response.reasoning_text"),
        delta("Hello", output_index=1),
        completed(
            {"type": "reasoning", "content": [{"type": "reasoning_text", "text": "?"}]},
            message("Hello"),
        ),
    )
    said: dict[str, str] = {}
    for event in left:
        if event["type"].endswith(".delta"):
            said[event["type"]] = said.get(event["type"], "") + event["delta"]
    assert said == {
        "response.reasoning_text.delta": "I recall 555-01",
        "response.output_text.delta": "Hello",
    }


def test_a_repetition_says_what_was_released_not_what_it_was_given() -> None:
    left = left_of(
        delta("Hello there."),
        {"type": "response.output_text.done", **PLACE, "text": "Something else"},
        completed(message("Another thing")),
    )
    assert final(left) == "Hello there."
    assert "else" not in json.dumps(left)
    assert "Another" not in json.dumps(left)


@pytest.mark.parametrize(
    "event",
    [
        delta({"text": EMAIL}),
        delta(None),
        delta([EMAIL]),
        delta(5),
        {"type": "response.x.delta", **PLACE},
    ],
)
def test_a_delta_that_is_no_text_is_refused(event: dict[str, Any]) -> None:
    with pytest.raises(ProviderFailed):
        left_of(event)


@pytest.mark.parametrize("index", ["output_index", "content_index"])
def test_a_stream_never_goes_back_to_an_earlier_part(index: str) -> None:
    """Readers join parts by their places: what came in another order was not judged so."""
    text = {"type": "response.output_text.done", **PLACE, "text": FIRST}
    for second in (delta(FIRST), text):
        with pytest.raises(ProviderFailed):
            left_of(delta(SECOND, **{index: 1}), second, completed(message("x")))
    calls = "response.function_call_arguments"
    left = left_of(
        delta("{}", calls, output_index=2), delta("{}", calls, output_index=1), completed()
    )
    assert [event.get("output_index") for event in left[1:-1]] == [2, 1]


@pytest.mark.parametrize("streamed", [(1, SECOND), (0, FIRST)])
def test_what_only_the_end_tells_is_judged_as_the_end_joins_it(streamed: tuple[int, str]) -> None:
    index, text = streamed
    left = left_of(delta(text, output_index=index), completed(message(FIRST), message(SECOND)))
    assert "ann@" not in final(left)
    assert "write to [REDACTED]" in final(left)


def test_an_end_with_texts_before_and_behind_what_was_streamed_is_judged_as_one() -> None:
    left = left_of(
        delta(FIRST, output_index=1),
        {"type": "response.output_text.done", **PLACE, "output_index": 1, "text": FIRST},
        completed(message("Hello. "), message(FIRST), message(SECOND)),
    )
    assert deltas(left) == FIRST
    assert final(left) == "Hello. write to [REDACTED] now"


def test_a_stream_whose_end_counts_items_otherwise_still_says_its_text() -> None:
    left = left_of(delta("Hello there.", output_index=3), completed(message("Hello there.")))
    assert final(left) == "Hello there."


@pytest.mark.parametrize("index", ["output_index", "content_index", "summary_index"])
@pytest.mark.parametrize("value", [-1, 70_000, "0", None, True, 1.5, [0]])
def test_an_index_that_is_none_is_refused(index: str, value: Any) -> None:
    with pytest.raises(AnswerShapeError):
        left_of(delta("x", **{index: value}))


@pytest.mark.parametrize("index", ["output_index", "content_index"])
def test_a_response_of_endless_parts_is_refused(index: str) -> None:
    guard = ResponsesGuard(ENFORCED, 0)
    with pytest.raises(ProviderFailed):
        for number in range(MOST_CHANNELS + 2):
            guard.release(delta("x", **{index: number}))


def test_endless_items_names_and_unknown_events_are_refused() -> None:
    for make in (
        lambda n: {"type": "response.output_item.added", "output_index": n, "item": {"type": "x"}},
        lambda n: {"type": "response.x_note", "output_index": 0, "id": f"id {n}"},
        lambda n: {"type": f"response.x_note_{n}", "text": "x"},
    ):
        guard = ResponsesGuard(ENFORCED, 0)
        with pytest.raises(ProviderFailed):
            for number in range(MOST_CHANNELS + 2):
                guard.release(make(number))


def test_a_request_with_many_tools_is_repeated_whole() -> None:
    """A response repeats the tools of its request: thousands of harmless texts are no flood."""
    properties = {f"p{n}": {"type": "string", "description": f"word {n}"} for n in range(50)}
    tools = [
        {"type": "function", "name": f"f{n}", "parameters": {"properties": properties}}
        for n in range(128)
    ]
    assert whole_of({**response_of([message("Hi")]), "tools": tools})["tools"] == tools


@pytest.mark.parametrize("deep", [80, 300])
@pytest.mark.parametrize("name", ["x_tree", "usage", "output"])
def test_a_response_that_is_nested_without_end_is_refused(name: str, deep: int) -> None:
    tree: dict[str, Any] = {}
    for _ in range(deep):
        tree = {"a": tree}
    with pytest.raises(ProviderFailed):
        left_of(completed(**{name: [tree] if name == "output" else tree}))


def test_a_whole_answer_where_a_stream_was_asked_begins_and_ends_like_one() -> None:
    guard = ResponsesGuard(ENFORCED, 0)
    reading = reading_of(Dialect.RESPONSES)
    tree = reading.whole({**response_of([message(f"To {EMAIL}")]), "type": ["odd"]})
    left = [*guard.release(tree), *guard.finish()]
    assert [event["type"] for event in left] == ["response.created", "response.completed"]
    assert [event["sequence_number"] for event in left] == [0, 1]
    assert left[0]["response"]["output"] == []
    assert final(left) == "To [REDACTED]"


def test_a_whole_answer_that_ended_early_ends_a_stream_as_incomplete() -> None:
    guard = ResponsesGuard(ENFORCED, 0)
    guard.release({**response_of([message("Hi")]), "status": "incomplete"})
    assert guard.finish()[-1]["type"] == "response.incomplete"


@pytest.mark.parametrize("repeats", [False, True], ids=["deltas", "repeated"])
def test_a_block_leaves_what_was_said_before_it_and_nothing_after(repeats: bool) -> None:
    text = f"Write to {EMAIL} today. "
    events = [delta("Write to ann@"), delta(f"example.com today. {'More. ' * 99}")]
    if repeats:
        events.append({"type": "response.output_text.done", **PLACE, "text": text})
    call = {"type": "function_call", "name": "f", "arguments": "{}"}
    left = left_of(*events, completed(message(text), call), rules=BLOCK)
    assert deltas(left) == "Write to "
    assert final(left) == "Write to "
    assert left[-1]["type"] == "response.incomplete"
    assert left[-1]["response"]["incomplete_details"] == {"reason": "content_filter"}
    assert [item["status"] for item in left[-1]["response"]["output"]] == ["incomplete"]
    told = json.dumps(left)
    assert "ann@" not in told
    assert "More" not in told


def test_a_whole_response_is_blocked_from_the_finding_on() -> None:
    released = whole_of(response_of([message(f"Write to {EMAIL} today", "and more")]), BLOCK)
    assert released["status"] == "incomplete"
    assert [part["text"] for part in released["output"][0]["content"]] == ["Write to ", ""]


def test_a_text_is_counted_once_however_often_it_is_said() -> None:
    text = "a" * 400
    said = (delta(text), {"type": "response.output_text.done", **PLACE, "text": text})
    streams = [(*said, completed(message(text))), (completed(message(text)),)]
    for events in streams:
        assert left_of(*events)[-1]["response"]["usage"]["output_tokens"] == 100
    repeated = {"type": "response.output_item.done", "output_index": 0, "item": message(text)}
    call = {"type": "mcp_call", "output": "b" * 40}
    left = left_of(repeated, completed(message(text), call))
    assert left[-1]["response"]["usage"]["output_tokens"] == 110
    assert whole_of(response_of([message(text), call]))["usage"]["output_tokens"] == 110


ODD = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 3) | st.sampled_from(["", "x", EMAIL, "response"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    *(
                        "type",
                        "delta",
                        "item",
                        "part",
                        "response",
                        "output",
                        "content",
                        "text",
                        "usage",
                    ),
                    *(
                        "status",
                        "summary",
                        "output_index",
                        "content_index",
                        "id",
                        "role",
                        "refusal",
                    ),
                    *(
                        "arguments",
                        "annotations",
                        "logprobs",
                        "content_filters",
                        "index",
                        "choices",
                    ),
                    *("message", "finish_reason", "tool_calls", "function", "severity", "hate"),
                    *("content_filter_results", "prompt_filter_results", "prompt_index", "data"),
                    *("embedding", "model", "error", "annotation", "incomplete_details"),
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=14,
)
TYPES = st.sampled_from(
    [
        *("response.created", "response.output_item.added", "response.output_item.done"),
        *("response.output_text.delta", "response.output_text.done", "response.content_part.done"),
        *("response.function_call_arguments.delta", "response.completed", "response.x"),
        "response.output_text.annotation.added",
    ]
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(
        st.tuples(
            TYPES,
            st.dictionaries(
                st.sampled_from(
                    ["delta", "item", "part", "response", "text", "annotation", "output_index", "x"]
                ),
                ODD,
                max_size=4,
            ),
        ),
        max_size=4,
    ),
    st.sampled_from(list(Dialect)),
    ODD,
)
def test_no_answer_is_so_odd_that_it_is_a_fault_of_ours(events, dialect, tree) -> None:
    """What cannot be used is the provider's failure, never an exception of another kind."""
    guards = {
        Dialect.CHAT: ChatGuard,
        Dialect.RESPONSES: ResponsesGuard,
        Dialect.EMBEDDINGS: EmbeddingsGuard,
    }
    left: list[Any] = []
    with contextlib.suppress(ProviderFailed, AnswerShapeError):
        left.append(guards[dialect](ENFORCED, 0).whole(reading_of(dialect).whole(tree)))
    with contextlib.suppress(ProviderFailed, AnswerShapeError):
        left += left_of(*({**more, "type": name} for name, more in events))
    guard, reading = ChatGuard(ENFORCED, 0), reading_of(Dialect.CHAT)
    with contextlib.suppress(ProviderFailed, AnswerShapeError):
        left += guard.release(reading.event(tree))
        left += guard.finish()
    assert EMAIL not in json.dumps(left)
