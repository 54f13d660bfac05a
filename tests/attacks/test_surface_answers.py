"""Answers on every surface: how they end, what is noted beside them, and what is recorded."""

from __future__ import annotations

import asyncio
import copy
import json
import socket
import time
from collections import defaultdict
from typing import Any
from urllib.parse import urlsplit

import pytest
from aiohttp import web

from tests.attacks.surfaces import (
    CHAT,
    EMAIL,
    EMBEDDINGS,
    MODELS,
    RESPONSES,
    SURFACES,
    ask,
    asking,
    is_azure,
)
from tests.simulator.answers import chunk, message_item, named_frame, response
from tests.simulator.client import check_problem, check_problem_body, events
from tests.simulator.gateway import Gateway, upstream_settings
from tests.simulator.upstream import Upstream, stream

PADDING = "and some more words that say nothing " * 20


@pytest.fixture(scope="module")
def upstream():
    with Upstream() as running:
        yield running


@pytest.fixture(scope="module")
def gateway(upstream, tmp_path_factory):
    home = tmp_path_factory.mktemp("surfaces") / "home"
    with Gateway(home, upstream_settings(upstream.url, MODELS)) as running:
        yield running


@pytest.fixture(autouse=True)
def forget(upstream):
    upstream.received.clear()
    upstream.behave(None)


def test_each_surface_leaves_an_intent_and_one_closing_record(gateway):
    wanted = {}
    for path in SURFACES:
        for streamed in [False] if path in EMBEDDINGS else [False, True]:
            answered = ask(gateway, path, asking(path, **({"stream": True} if streamed else {})))
            assert answered.status == 200
            wanted[answered.headers["x-request-id"]] = (path, streamed)
    records: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for record in gateway.records():
        records[record.get("requestId", "")].append(record)
    for request, (path, streamed) in wanted.items():
        intent, closing = records[request]
        assert (intent["event"], closing["event"]) == ("intent", "outcome")
        assert intent["stream"] is streamed
        operation = "responses" if path in RESPONSES else "chat.completions"
        for record in (intent, closing):
            assert record["action"] == ("embeddings" if path in EMBEDDINGS else operation)
            assert record["model"] == asking(path)["model"]
        tokens = {"prompt": 7, "completion": 0 if path in EMBEDDINGS else 5}
        assert closing["tokens"] == tokens
        assert closing["success"] is True


def leave(gateway: Gateway, path: str, body: dict[str, Any]) -> None:
    """Ask for a stream, read its first bytes, and go."""
    place = urlsplit(gateway.url)
    raw = json.dumps(body).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {place.netloc}\r\nAuthorization: Bearer {gateway.key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(raw)}\r\n\r\n"
    )
    with socket.create_connection((place.hostname, place.port), timeout=10) as connection:
        connection.sendall(head.encode() + raw)
        seen = b""
        while b"data: " not in seen:
            seen += connection.recv(65_536)


def test_who_leaves_is_recorded_as_interrupted(gateway, upstream):
    async def slowly(request: web.Request, _: dict[str, Any]) -> web.StreamResponse:
        frames = _deltas if request.path.endswith("/responses") else _chunks
        answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await answer.prepare(request)
        for frame in frames(PADDING * 2):
            await answer.write(frame)
        await asyncio.sleep(20)
        return answer

    upstream.behave(slowly)
    left = (RESPONSES[0], RESPONSES[2], CHAT[3])
    for path in left:
        leave(gateway, path, asking(path, stream=True))
    deadline = time.monotonic() + 20
    found: list[dict[str, Any]] = []
    while len(found) < len(left) and time.monotonic() < deadline:
        found = [record for record in gateway.records() if record["event"] == "interrupted"]
    assert [record["action"] for record in found] == ["responses", "responses", "chat.completions"]
    assert {record["model"] for record in found} == {"gpt-4o"}


def _deltas(text: str) -> list[bytes]:
    place = {"item_id": "m", "output_index": 0, "content_index": 0}
    pieces = [text[at : at + 50] for at in range(0, len(text), 50)]
    events = [{"type": "response.created", "response": response({}, [], "in_progress")}]
    events += [
        {"type": "response.output_text.delta", **place, "delta": piece, "logprobs": []}
        for piece in pieces
    ]
    return [named_frame({**event, "sequence_number": n}) for n, event in enumerate(events)]


def _chunks(text: str) -> list[bytes]:
    pieces = [text[at : at + 50] for at in range(0, len(text), 50)]
    return [b"data: " + json.dumps(chunk({"content": p})).encode() + b"\n\n" for p in pieces]


@pytest.mark.parametrize("path", [*RESPONSES, CHAT[0], CHAT[3]])
def test_a_stream_that_breaks_off_ends_with_one_event_that_is_the_refusal(gateway, upstream, path):
    frames = _deltas(PADDING) if path in RESPONSES else _chunks(PADDING)

    async def breaks(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        return await stream(request, frames)

    upstream.behave(breaks)
    answered = ask(gateway, path, asking(path, stream=True))
    assert answered.status == 200
    *said, last = events(answered.body)
    assert said
    assert last["requestId"] == answered.headers["x-request-id"]
    assert [e for e in said if e == "[DONE]" or e.get("type") in {"error", "response.failed"}] == []
    if path in RESPONSES:
        assert last["type"] == "error"
        assert [e["sequence_number"] for e in [*said, last]] == list(range(len(said) + 1))
        assert last["message"] == last["error"]["message"]
        assert answered.body.rpartition(b"\n\ndata")[0].count(b"event: error") <= 1
        assert b"event: error\n" in answered.body
    check_problem_body(last, 502)


THEIRS = {
    "hate": {"filtered": False, "severity": "low"},
    "violence": {"filtered": False, "severity": "safe"},
}
PERSONAL = "personally_identifiable_information"


def _azure_stream(text: str, *, late: bool) -> list[bytes]:
    """Azure's frames: the prompt's results first; an asynchronous filter tells its results late."""
    results = {"content_filter_results": THEIRS}
    first = {
        "id": "",
        "object": "",
        "created": 0,
        "model": "",
        "choices": [],
        "prompt_filter_results": [{"prompt_index": 0, **results}],
    }
    pieces = [chunk({"content": text[at : at + 9]}) for at in range(0, len(text), 9)]
    offsets = {"check_offset": 10, "start_offset": 10, "end_offset": len(text)}
    if late:
        note = chunk({})
        note["choices"] = [
            {"index": 0, "finish_reason": None, **results, "content_filter_offsets": offsets}
        ]
        frames = [first, *pieces, chunk({}, "stop"), note]
    else:
        for piece in pieces:
            piece["choices"][0].update(copy.deepcopy(results))
        frames = [first, *pieces, chunk({}, "stop")]
    encoded = [b"data: " + json.dumps(frame).encode() + b"\n\n" for frame in frames]
    return [*encoded, b"data: [DONE]\n\n"]


@pytest.mark.parametrize("late", [False, True], ids=["as it goes", "asynchronous"])
@pytest.mark.parametrize("path", CHAT)
def test_azures_annotations_arrive_unchanged_and_ours_beside_them(gateway, upstream, path, late):
    text = f"Write to {EMAIL} tomorrow, please."

    async def speak(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        return await stream(request, _azure_stream(text, late=late))

    upstream.behave(speak)
    asked = asking(path, f"I am {EMAIL}", stream=True)
    *told, end = events(ask(gateway, path, asked).body)
    assert end == "[DONE]"
    choices = [choice for event in told for choice in event["choices"]]
    said = "".join((choice.get("delta") or {}).get("content") or "" for choice in choices)
    assert said == "Write to [REDACTED] tomorrow, please."
    prompts = [event for event in told if "prompt_filter_results" in event]
    [results] = prompts[0]["prompt_filter_results"]
    assert prompts[0]["choices"] == []
    assert THEIRS.items() <= results["content_filter_results"].items()
    told_of_answer = [c["content_filter_results"] for c in choices if "content_filter_results" in c]
    assert any(THEIRS.items() <= one.items() for one in told_of_answer)
    [finish] = [choice for choice in choices if choice["finish_reason"]]
    if late:
        [offsets] = [c["content_filter_offsets"] for c in choices if "content_filter_offsets" in c]
        assert offsets == {"check_offset": 10, "start_offset": 10, "end_offset": len(text)}
    if is_azure(path):
        assert told[0] is prompts[0]
        assert len(prompts) == 1
        found = {"filtered": False, "detected": True, "redacted": True}
        assert results["content_filter_results"][PERSONAL] == found
        assert finish["content_filter_results"][PERSONAL] == found
    else:
        assert PERSONAL not in json.dumps(told)


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("path", RESPONSES)
def test_a_response_keeps_azures_filters_and_adds_ours(gateway, upstream, path, streamed):
    offsets = {"start_offset": 0, "end_offset": 10, "check_offset": 0}
    theirs = {
        "blocked": False,
        "source_type": "completion",
        "content_filter_results": THEIRS,
        "content_filter_offsets": offsets,
    }

    async def speak(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        made = response(body, [message_item(f"To {EMAIL}")])
        made["content_filters"] = [theirs]
        if not body["stream"]:
            return web.json_response(made)
        ends = [
            {"type": "response.created", "response": response(body, [], "in_progress")},
            {"type": "response.completed", "response": made},
        ]
        return await stream(request, [named_frame(event) for event in ends])

    upstream.behave(speak)
    answered = ask(gateway, path, asking(path, "hi", stream=streamed))
    told = events(answered.body)[-1]["response"] if streamed else answered.json()
    first, *ours = told["content_filters"]
    assert first == theirs
    assert EMAIL not in answered.body.decode()
    if not is_azure(path):
        assert ours == []
        return
    assert [one["source_type"] for one in ours] == ["prompt", "completion"]
    assert ours[1]["content_filter_results"][PERSONAL]["redacted"] is True


def test_a_vector_arrives_as_it_was_and_text_in_its_place_does_not(gateway, upstream):
    for encoding in ("float", "base64"):
        answered = ask(
            gateway, "/v1/embeddings", asking("/v1/embeddings", encoding_format=encoding)
        )
        assert answered.status == 200
    for text in ("4111111111111111", EMAIL, "5555555555554444" * 20, ["x"], [None], [[1.0]]):

        async def speak(request: web.Request, _: dict[str, Any], text: Any = text):
            row = {"object": "embedding", "index": 0, "embedding": text}
            return web.json_response({"object": "list", "data": [row], "model": "m"})

        upstream.behave(speak)
        problem = check_problem(ask(gateway, "/v1/embeddings"), 502)
        assert problem["rule"] == "answer-shape"
