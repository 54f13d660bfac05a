"""Answers with personal data cut, crossed, escaped and in odd fields: none of it comes through."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import pytest
from aiohttp import web

from tests.simulator.client import (
    Answered,
    bearer,
    chat,
    check_problem,
    check_problem_body,
    events,
    send,
)
from tests.simulator.gateway import Gateway, upstream_settings
from tests.simulator.upstream import Upstream
from tests.vectors import parameters
from tests.vectors.responses_streams import translated

COMPLETIONS, RESPONSES = "/v1/chat/completions", "/v1/responses"
LATER_KINDS = ("GITHUB_TOKEN-",)
BETWEEN_WRITES = 0.001
SHORTEST_PREFIX = 8
PERSONAL = "I am Ada, ada.king@example.org, SSN 536-90-4399; card 5555 5555 5555 4444."
PROMPTS = {"clean": "Who is it?", "personal": PERSONAL}
# What the upstream of these cases sends is no event stream.
PLAIN = {"nonstream-json": (200, "application/json"), "html-500": (500, "text/html")}
BROKEN = ("cutoff", "error-mid", "bad-json", "never-ends")
_ZERO_WIDTH = re.compile("[\u200b\u200c\u200d\u2060\ufeff\u00ad]")


@pytest.fixture(scope="module")
def upstream():
    with Upstream() as running:
        yield running


@pytest.fixture(scope="module")
def gateway(upstream, tmp_path_factory):
    home = tmp_path_factory.mktemp("streams") / "home"
    with Gateway(home, upstream_settings(upstream.url)) as running:
        yield running


def kind_of(case: dict[str, Any]) -> str:
    """The id of a case without the kind of value that it holds."""
    return re.sub(r"^[A-Z_]+-", "", case["id"])


def is_served(case: dict[str, Any]) -> bool:
    return case["endpoint"] in {COMPLETIONS, RESPONSES} and not case["id"].startswith(LATER_KINDS)


def writes(case: dict[str, Any]) -> list[bytes]:
    repeated = [(c, 1) if isinstance(c, str) else c for c in case["chunks"]]
    return [base64.b64decode(text) for text, count in repeated for _ in range(count)]


def replaying(
    case: dict[str, Any], written: list[bytes] | None = None, pause: float = BETWEEN_WRITES
):
    """A model that sends a case's bytes, or those `written`, each chunk as a write of its own."""
    status, kind = PLAIN.get(kind_of(case), (200, "text/event-stream"))
    sent = writes(case) if written is None else written

    async def replay(request: web.Request, _: dict[str, Any]) -> web.StreamResponse:
        response = web.StreamResponse(status=status, headers={"Content-Type": kind})
        await response.prepare(request)
        # The gateway may leave in the middle of an answer that it cannot use.
        with contextlib.suppress(ConnectionError):
            for piece in sent:
                await response.write(piece)
                await asyncio.sleep(pause)
            await response.write_eof()
        return response

    return replay


def strings(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], str]]:
    """Every string of an event and every name, with the channel that a client would join it to."""
    if isinstance(tree, str):
        yield path, tree
    elif isinstance(tree, dict):
        for name, value in tree.items():
            yield (*path, "name"), name
            yield from strings(value, (*path, name))
    elif isinstance(tree, list):
        for item in tree:
            index = item.get("index", "*") if isinstance(item, dict) else "*"
            yield from strings(item, (*path, index))


def texts(raw: bytes, parts: list[Any]) -> list[str]:
    """Everything that a client could read an answer as."""
    channels: dict[tuple[Any, ...], list[str]] = defaultdict(list)
    for part in parts:
        for path, text in strings(part):
            channels[path].append(text)
    joined = ["".join(pieces) for pieces in channels.values()]
    values = [text for part in parts for path, text in strings(part) if path[-1] != "name"]
    plain = raw.decode()
    return [plain, plain.encode().decode("unicode_escape", "ignore"), "".join(values), *joined]


def forbidden(case: dict[str, Any]) -> set[str]:
    """What may not be recoverable: what the case names, and every longer prefix of the value."""
    found = set(case["must_not"])
    for value in case["must_not"][:1]:
        found |= {value[:end] for end in range(SHORTEST_PREFIX, len(value))}
    return found


def check_nothing_arrived(
    case: dict[str, Any], answered: Answered, upstream: Upstream
) -> list[Any]:
    """What the case promises holds for an answer; its events, or the one body."""
    if answered.headers["content-type"] == "text/event-stream":
        parts = [part for part in events(answered.body) if part != "[DONE]"]
    else:
        parts = [answered.json()]
    read = texts(answered.body, parts)
    read += [_ZERO_WIDTH.sub("", text) for text in read]
    assert [value for value in forbidden(case) if any(value in text for text in read)] == []
    assert [value for value in case["must"] if not any(value in text for text in read)] == []
    for received in upstream.received:
        for value in ("ada.king@example.org", "536-90-4399", "5555 5555 5555 4444"):
            assert value.encode() not in received.raw
    return parts


@pytest.mark.parametrize("prompt", PROMPTS)
@pytest.mark.parametrize("case", parameters("sse_streams.json", wanted=is_served))
def test_nothing_of_a_value_arrives(gateway, upstream, case, prompt):
    upstream.received.clear()
    upstream.behave(replaying(case))
    body = chat(PROMPTS[prompt], stream=True)
    if case["endpoint"] == RESPONSES:
        body = {"model": "gpt-4o", "input": PROMPTS[prompt], "stream": True}
    answered = send(gateway.url, "POST", case["endpoint"], body, bearer(gateway.key))

    parts = check_nothing_arrived(case, answered, upstream)
    if case["endpoint"] == RESPONSES:
        assert parts[-1]["type"] == "response.completed"
    elif answered.status == 200 and kind_of(case) not in BROKEN and case["id"] != "giant-event":
        reasons = [c["finish_reason"] for part in parts for c in part.get("choices", ())]
        assert {reason for reason in reasons if reason} <= {"stop", "tool_calls"}
        assert any(reasons)
        assert answered.body.endswith(b"data: [DONE]\n\n")


# The same streams on the other surfaces, without pauses between their writes.


def is_chat(case: dict[str, Any]) -> bool:
    return is_served(case) and case["endpoint"] == COMPLETIONS


def ends(case: dict[str, Any]) -> bool:
    """Whether a case is a stream that the gateway takes to its end."""
    return kind_of(case) not in {*BROKEN, "html-500", "empty"} and case["id"] != "giant-event"


def reasons_of(parts: list[Any]) -> set[str]:
    reasons = [c["finish_reason"] for part in parts for c in part.get("choices", ())]
    return {reason for reason in reasons if reason}


@pytest.mark.parametrize("case", parameters("sse_streams.json", wanted=is_chat))
def test_nothing_of_a_value_arrives_at_a_deployment(gateway, upstream, case):
    upstream.received.clear()
    upstream.behave(replaying(case, pause=0))
    path = "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21"
    answered = send(gateway.url, "POST", path, chat(PERSONAL, stream=True), bearer(gateway.key))
    parts = check_nothing_arrived(case, answered, upstream)
    if answered.status == 200:
        assert "prompt_filter_results" in parts[0]
        assert answered.body.endswith(b"data: [DONE]\n\n") == ends(case)
    if ends(case):
        assert reasons_of(parts)
        assert reasons_of(parts) <= {"stop", "tool_calls"}


@pytest.mark.parametrize("case", parameters("sse_streams.json", wanted=is_chat))
def test_nothing_of_a_value_arrives_in_a_conversation(gateway, upstream, case):
    """`/api/chat` tells the text of the first choice alone, and no tool's arguments."""
    told = kind_of(case) not in {"n2", "tool", "unknown-field"}
    upstream.received.clear()
    upstream.behave(replaying(case, pause=0))
    body = {"message": PERSONAL, "stream": True}
    answered = send(gateway.url, "POST", "/api/chat", body, bearer(gateway.key))
    parts = check_nothing_arrived(case if told else {**case, "must": []}, answered, upstream)
    if answered.status == 200:
        assert answered.body.endswith(b"data: [DONE]\n\n") == ends(case)
        assert ("conversationId" in parts[-1]) == ends(case)
        if not ends(case):
            check_problem_body(parts[-1], 502, native=True)


@pytest.mark.parametrize("prompt", PROMPTS)
@pytest.mark.parametrize("path", [RESPONSES, "/openai/responses?api-version=2025-04-01-preview"])
@pytest.mark.parametrize("case", parameters("sse_streams.json", wanted=is_chat))
def test_nothing_of_a_value_arrives_in_a_response(gateway, upstream, case, path, prompt):
    upstream.received.clear()
    upstream.behave(replaying(case, translated(case, kind_of(case)), pause=0))
    body = {"model": "gpt-4o", "input": PROMPTS[prompt], "stream": True}
    answered = send(gateway.url, "POST", path, body, bearer(gateway.key))
    parts = check_nothing_arrived(case, answered, upstream)
    if answered.status != 200:
        check_problem(answered, 502)
        assert not ends(case)
        return
    assert [part["sequence_number"] for part in parts] == list(range(len(parts)))
    if ends(case):
        assert parts[-1]["type"] == "response.completed"
        check_one_text(parts)
    else:
        *said, refusal = parts
        check_problem_body(refusal, 502)
        assert refusal["type"] == "error"
        assert {"error", "response.completed"}.isdisjoint(part["type"] for part in said)


def check_one_text(parts: list[Any]) -> None:
    """What was said in deltas is what the end of a response says."""
    said: dict[str, str] = defaultdict(str)
    for part in parts:
        if part["type"].endswith("text.delta"):
            said[part["item_id"]] += part["delta"]
    if not said:
        return
    told = {
        item["id"]: "".join(
            one.get("text", "") for one in [*item.get("summary", ()), *item.get("content", ())]
        )
        for item in parts[-1]["response"]["output"]
    }
    assert {item: text for item, text in told.items() if text} == dict(said)


def is_broken(case: dict[str, Any]) -> bool:
    return is_served(case) and kind_of(case) in {*BROKEN, "html-500", "empty"}


@pytest.mark.parametrize("case", parameters("sse_streams.json", wanted=is_broken))
def test_a_broken_stream_ends_with_its_refusal(gateway, upstream, case):
    """Without any sign of an end; before the first byte there is a status to tell it by."""
    upstream.behave(replaying(case))
    answered = send(gateway.url, "POST", COMPLETIONS, chat(stream=True), bearer(gateway.key))
    if answered.status == 502:
        check_problem(answered, 502)
        return
    *said, refusal = events(answered.body)
    check_problem_body(refusal, 502)
    assert kind_of(case) in BROKEN
    assert refusal["requestId"] == answered.headers["x-request-id"]
    assert [part for part in said if part == "[DONE]" or "error" in part] == []
    reasons = [c["finish_reason"] for part in said for c in part["choices"]]
    assert set(reasons) <= {None}
