"""A model that fails in every way: the caller is told so, in the gateway's own words alone."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import time
from typing import Any
from urllib.parse import urlsplit

import pytest
from aiohttp import web

from tests.simulator.client import bearer, chat, check_problem, check_problem_body, events, send
from tests.simulator.gateway import Gateway, upstream_settings
from tests.simulator.upstream import Upstream, chunk, chunks, completion

COMPLETIONS = "/v1/chat/completions"
SILENCE = 1.0
MOST_CALLS = 3
PRIVATE = "provider-private-detail"


@pytest.fixture(scope="module")
def upstream():
    with Upstream() as running:
        yield running


@pytest.fixture(scope="module")
def gateway(upstream, tmp_path_factory):
    """Two more models: nobody listens behind one, and TLS is asked of plain HTTP behind one."""
    home = tmp_path_factory.mktemp("faults") / "home"
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        variables = {
            **upstream_settings(upstream.url),
            "OSTIARY_PROVIDERS__MAIN__TIMEOUT_SECONDS": str(SILENCE),
            "OSTIARY_PROVIDERS__GONE__KIND": "openai",
            "OSTIARY_PROVIDERS__GONE__BASE_URL": f"http://127.0.0.1:{port}/v1",
            "OSTIARY_PROVIDERS__GONE__API_KEY": "k",
            "OSTIARY_MODELS__GONE__PROVIDER": "gone",
            "OSTIARY_PROVIDERS__TLS__KIND": "openai",
            "OSTIARY_PROVIDERS__TLS__BASE_URL": upstream.url.replace("http:", "https:"),
            "OSTIARY_PROVIDERS__TLS__API_KEY": "k",
            "OSTIARY_MODELS__TLS__PROVIDER": "tls",
        }
        with Gateway(home, variables) as running:
            yield running


@pytest.fixture(autouse=True)
def forget(upstream, gateway):
    """Every test begins with a model that is well, and so with a closed breaker."""
    upstream.behave(None)
    assert ask(gateway).status == 200
    upstream.received.clear()


SURFACES = {
    "chat": (COMPLETIONS, chat()),
    "native": ("/api/chat", {"message": "Hello"}),
}
"""What is asked of the model, by every way in: a path and the least body that it takes."""
surfaces = pytest.mark.parametrize("surface", SURFACES)
whole_and_streamed = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


def ask(gateway, surface: str = "chat", *, stream: bool = False, **fields: Any):
    path, body = SURFACES[surface]
    more = {"stream": True, **fields} if stream else fields
    return send(gateway.url, "POST", path, {**body, **more}, bearer(gateway.key))


def check_refused(answered, status: int, surface: str, rule: str | None = None) -> Any:
    """A refusal of `forward` that quotes nothing of the provider."""
    problem = check_problem(answered, status, native=surface == "native")
    assert problem["layer"] == "forward"
    assert rule is None or problem["rule"] == rule
    assert PRIVATE not in answered.body.decode() + str(answered.headers)
    return problem


def saying(body: bytes | str, status: int = 200, kind: str = "application/json", **headers: str):
    """A model that answers with this."""
    sent = body.encode() if isinstance(body, str) else body
    named = {name.replace("_", "-"): value for name, value in headers.items()}

    async def answer(request: web.Request, _: dict[str, Any]) -> web.StreamResponse:
        return web.Response(body=sent, status=status, headers={"Content-Type": kind, **named})

    return answer


async def hang(request: web.Request, _: dict[str, Any]) -> web.StreamResponse:
    await asyncio.sleep(30)
    return web.Response()


async def reset(request: web.Request, _: dict[str, Any]) -> web.StreamResponse:
    request.transport.abort()
    return web.Response()


async def cut_short(request: web.Request, _: dict[str, Any]) -> web.StreamResponse:
    """Half of the bytes that its head announces."""
    body = json.dumps(completion(PRIVATE)).encode()
    head = {"Content-Type": "application/json", "Content-Length": str(len(body))}
    response = web.StreamResponse(headers=head)
    await response.prepare(request)
    await response.write(body[: len(body) // 2])
    request.transport.close()
    return response


ERROR = json.dumps({"error": {"message": PRIVATE, "type": "server_error", "code": PRIVATE}})
TEXT = f"<html><body>{PRIVATE}</body></html>"
FAULTS = {
    "reset": (reset, "provider-broken"),
    "cut-short": (cut_short, "provider-broken"),
    "garbage": (saying(b"\x00\xff" + PRIVATE.encode()), "provider-not-json"),
    "half-json": (saying('{"choices": [{"message": "' + PRIVATE), "provider-not-json"),
    "html": (saying(TEXT, kind="text/html"), "provider-not-json"),
    "html-400": (saying(TEXT, 400, "text/html"), "provider-status"),
    "html-500": (saying(TEXT, 500, "text/html"), "provider-status"),
    "large-400": (saying(ERROR + " " * 70_000, 400), "provider-status"),
    "plain": (saying(PRIVATE, kind="text/plain"), "provider-not-json"),
    "nothing": (saying(b""), "provider-not-json"),
    "no-content": (saying(b"", 204), "provider-status"),
    "created": (saying(json.dumps(completion(PRIVATE)), 201), "provider-status"),
    "error-in-2xx": (saying(ERROR), "provider-error"),
    "not-an-object": (saying(json.dumps([PRIVATE])), "provider-error"),
    "no-choices": (saying(json.dumps({"id": PRIVATE})), "provider-incomplete"),
    "empty-choices": (saying(json.dumps({"choices": []})), "provider-incomplete"),
    "choices-no-list": (saying(json.dumps({"choices": {"a": PRIVATE}})), "provider-shape"),
    "choice-no-object": (saying(json.dumps({"choices": [PRIVATE]})), "provider-shape"),
    **{
        f"status-{status}": (saying(ERROR, status), "provider-status")
        for status in (401, 402, 403, 404, 405, 409, 418, 500, 501, 502, 504, 505, 507, 599)
    },
    **{
        f"redirect-{status}": (saying(b"", status, Location="/v1/elsewhere"), "provider-status")
        for status in (301, 302, 303, 307, 308)
    },
}
STREAMED = {
    "no-events": saying(b"", kind="text/event-stream"),
    "only-done": saying(b"data: [DONE]\n\n", kind="text/event-stream"),
    "error-event": saying(f"data: {ERROR}\n\n", kind="text/event-stream"),
    "bad-event": saying("data: {" + PRIVATE + "\n\n", kind="text/event-stream"),
    "half-an-event": saying('data: {"choices": [{"' + PRIVATE, kind="text/event-stream"),
    "not-utf-8": saying(b"data: \xff\xfe\n\n", kind="text/event-stream"),
    "huge-event": saying(b"data: " + b"x" * 2_200_000, kind="text/event-stream"),
}


@surfaces
@whole_and_streamed
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_before_the_first_byte_is_502(gateway, upstream, fault, stream, surface):
    behaviour, rule = FAULTS[fault]
    upstream.behave(behaviour)
    check_refused(ask(gateway, surface, stream=stream), 502, surface, rule)
    assert {received.path for received in upstream.received} == {"/v1/chat/completions"}
    again = fault.startswith(("html-5", "status-5"))
    assert len(upstream.received) == (MOST_CALLS if again else 1)


@surfaces
@pytest.mark.parametrize("fault", STREAMED)
def test_a_stream_without_a_usable_event_is_502(gateway, upstream, fault, surface):
    upstream.behave(STREAMED[fault])
    check_refused(ask(gateway, surface, stream=True), 502, surface)
    assert len(upstream.received) == 1


@surfaces
def test_a_stream_that_nobody_asked_for_is_502(gateway, upstream, surface):
    upstream.behave(saying(b"".join(chunks(PRIVATE)), kind="text/event-stream"))
    check_refused(ask(gateway, surface), 502, surface)


REJECTIONS = {
    "unknown": (400, {"message": PRIVATE, "code": PRIVATE, "param": PRIVATE}, "provider_rejected"),
    "value": (400, {"code": "unsupported_value", "param": "model"}, "unsupported_value"),
    "too-long": (400, {"code": "context_length_exceeded"}, "context_length_exceeded"),
    "too-large": (413, {"message": PRIVATE}, "provider_rejected"),
    "form": (422, {"message": PRIVATE}, "provider_rejected"),
    "filter": (400, {"message": PRIVATE, "code": "content_filter"}, "content_filter"),
}


@surfaces
@whole_and_streamed
@pytest.mark.parametrize("rejection", REJECTIONS)
def test_what_the_model_does_not_take_is_the_callers_to_mend(
    gateway, upstream, rejection, stream, surface
):
    status, error, code = REJECTIONS[rejection]
    upstream.behave(saying(json.dumps({"error": error}), status))
    rule = "provider-content-filter" if rejection == "filter" else "provider-rejected"
    problem = check_refused(ask(gateway, surface, stream=stream), 400, surface, rule)
    assert len(upstream.received) == 1
    if surface == "chat":
        assert problem["error"]["code"] == code
        assert problem["error"]["param"] == ("model" if rejection == "value" else None)


@surfaces
@whole_and_streamed
def test_an_error_that_does_not_end_is_not_waited_for(gateway, upstream, surface, stream):
    async def drips(request: web.Request, _: dict[str, Any]) -> web.StreamResponse:
        head = {"Content-Type": "application/json", "Content-Length": "10000"}
        response = web.StreamResponse(status=400, headers=head)
        await response.prepare(request)
        for _ in range(200):
            await response.write(b" ")
            await asyncio.sleep(0.05)
        return response

    upstream.behave(drips)
    began = time.monotonic()
    check_refused(ask(gateway, surface, stream=stream), 502, surface, "provider-status")
    assert time.monotonic() - began <= SILENCE + 2


@surfaces
@whole_and_streamed
@pytest.mark.parametrize(
    ("model", "rule"), [("gone", "provider-unreachable"), ("tls", "provider-tls")]
)
def test_a_model_that_cannot_be_reached_is_502(gateway, model, rule, stream, surface):
    answered = ask(gateway, surface, model=model, stream=stream)
    check_refused(answered, 502, surface, rule)
    assert "127.0.0.1" not in answered.body.decode()


@surfaces
@whole_and_streamed
def test_silence_is_504_after_the_time_that_is_set(gateway, upstream, stream, surface):
    upstream.behave(hang)
    began = time.monotonic()
    answered = ask(gateway, surface, stream=stream)
    assert SILENCE - 0.1 <= time.monotonic() - began <= SILENCE + 2
    check_refused(answered, 504, surface, "provider-silence")
    assert len(upstream.received) == 1


@surfaces
@whole_and_streamed
def test_a_slow_drip_is_no_silence(gateway, upstream, surface, stream):
    """Byte by byte for longer than the model may be silent: whole in the end."""
    text = "Slow and steady."
    sent = b"".join(chunks(text)) if stream else json.dumps(completion(text)).encode()
    kind = "text/event-stream" if stream else "application/json"

    async def drips(request: web.Request, _: dict[str, Any]) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": kind})
        await response.prepare(request)
        size = len(sent) // 20
        for start in range(0, len(sent), size):
            await response.write(sent[start : start + size])
            await asyncio.sleep(SILENCE / 10)
        return response

    upstream.behave(drips)
    answered = ask(gateway, surface, stream=stream)
    assert answered.status == 200
    if stream:
        assert events(answered.body)[-1] == "[DONE]"
    else:
        assert text in answered.body.decode()


@pytest.mark.parametrize("status", [429, 503])
def test_a_limit_far_away_is_passed_on_at_once(gateway, upstream, status):
    upstream.behave(saying(ERROR, status, Retry_After="31"))
    answered = ask(gateway)
    problem = check_problem(answered, status)
    assert problem["layer"] == "forward"
    assert answered.headers["retry-after"] == "31"
    assert PRIVATE not in answered.body.decode()
    assert len(upstream.received) == 1


@pytest.mark.parametrize("status", [429, 503])
def test_a_limit_without_a_time_is_tried_three_times(gateway, upstream, status):
    upstream.behave(saying(ERROR, status))
    check_problem(ask(gateway), status)
    assert len(upstream.received) == MOST_CALLS


def recovering(upstream, status: int, failures: int, **headers: str):
    """A model that fails so often before it answers; it notes when it was asked."""
    times: list[float] = []

    async def answer(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        times.append(time.monotonic())
        if len(times) <= failures:
            return await saying(ERROR, status, **headers)(request, body)
        return web.json_response(completion("Here I am again."))

    upstream.behave(answer)
    return times


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_model_that_recovers_is_asked_again(gateway, upstream, status):
    times = recovering(upstream, status, MOST_CALLS - 1)
    answered = ask(gateway)
    assert answered.status == 200
    assert answered.json()["choices"][0]["message"]["content"] == "Here I am again."
    assert len(times) == MOST_CALLS
    assert len({received.raw for received in upstream.received}) == 1


def test_a_model_is_never_asked_again_before_it_said(gateway, upstream):
    times = recovering(upstream, 429, 1, Retry_After="1")
    assert ask(gateway).status == 200
    assert len(times) == 2
    assert times[1] - times[0] >= 1.0


BEGUN = [chunk({"role": "assistant", "content": ""}), chunk({"content": "Once upon a time, "})]


def begun(then):
    """A model that streams some text and then does something else."""

    async def answer(request: web.Request, _: dict[str, Any]) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for event in BEGUN:
            await response.write(b"data: " + json.dumps(event).encode() + b"\n\n")
        await asyncio.sleep(0.02)
        await then(request, response)
        return response

    return answer


async def then_nothing(_: web.Request, response: web.StreamResponse) -> None:
    await asyncio.sleep(30)


async def then_reset(request: web.Request, _: web.StreamResponse) -> None:
    request.transport.abort()


async def then_end(_: web.Request, response: web.StreamResponse) -> None:
    await response.write_eof()


async def then_error(_: web.Request, response: web.StreamResponse) -> None:
    await response.write(f"data: {ERROR}\n\ndata: [DONE]\n\n".encode())


async def then_garbage(_: web.Request, response: web.StreamResponse) -> None:
    await response.write(b"data: {" + PRIVATE.encode() + b"\n\n")


async def then_half(_: web.Request, response: web.StreamResponse) -> None:
    await response.write(b'data: {"choices": [{"' + PRIVATE.encode())
    await response.write_eof()


async def then_done(_: web.Request, response: web.StreamResponse) -> None:
    """[DONE], though no choice has finished."""
    await response.write(b"data: [DONE]\n\n")


BREAKS = {
    "silence": (then_nothing, 504),
    "reset": (then_reset, 502),
    "end": (then_end, 502),
    "error": (then_error, 502),
    "garbage": (then_garbage, 502),
    "half-an-event": (then_half, 502),
}


@surfaces
@pytest.mark.parametrize("fault", BREAKS)
def test_a_stream_that_breaks_off_ends_with_the_refusal(gateway, upstream, fault, surface):
    then, status = BREAKS[fault]
    native = surface == "native"
    upstream.behave(begun(then))
    answered = ask(gateway, surface, stream=True)
    assert answered.headers["content-type"] in {"text/event-stream", "application/problem+json"}
    if answered.status == 200:
        *said, refusal = events(answered.body)
        check_problem_body(refusal, status, native=native)
        assert refusal["requestId"] == answered.headers["x-request-id"]
        assert [part for part in said if part == "[DONE]" or "error" in part] == []
        assert b'"finish_reason":"' not in answered.body
    else:
        # Nothing of the text had left the window, so there is still a status to tell it by.
        check_problem(answered, status, native=native)
    assert PRIVATE not in answered.body.decode()
    assert len(upstream.received) == 1


def test_a_long_stream_that_breaks_off_has_told_what_was_decided(gateway, upstream):
    async def then_more(request: web.Request, response: web.StreamResponse) -> None:
        for word in ["and so it went on "] * 200:
            event = chunk({"content": word})
            await response.write(b"data: " + json.dumps(event).encode() + b"\n\n")
        await then_error(request, response)

    upstream.behave(begun(then_more))
    answered = ask(gateway, stream=True)
    assert answered.status == 200
    *said, refusal = events(answered.body)
    check_problem_body(refusal, 502)
    text = "".join(c["delta"].get("content") or "" for part in said for c in part["choices"])
    assert text.startswith("Once upon a time, and so it went on and so")


def test_done_is_the_models_own_word_that_its_answer_is_whole(gateway, upstream):
    upstream.behave(begun(then_done))
    answered = ask(gateway, stream=True)
    *said, done = events(answered.body)
    assert done == "[DONE]"
    assert said[-1]["choices"][0]["finish_reason"] == "stop"


def test_a_client_that_leaves_ends_the_call_and_is_recorded(gateway, upstream):
    left: list[float] = []

    async def then_talk(request: web.Request, response: web.StreamResponse) -> None:
        try:
            while True:
                event = chunk({"content": "and so on, and on, for a very long while. "})
                await response.write(b"data: " + json.dumps(event).encode() + b"\n\n")
                await asyncio.sleep(0.01)
        finally:
            left.append(time.monotonic())

    upstream.behave(begun(then_talk))
    connection = http.client.HTTPConnection(urlsplit(gateway.url).netloc, timeout=10)
    headers = {**bearer(gateway.key), "Content-Type": "application/json"}
    connection.request("POST", COMPLETIONS, json.dumps(chat(stream=True)), headers)
    response = connection.getresponse()
    request_id = response.headers["x-request-id"]
    assert response.read(64)
    response.close()
    connection.close()
    gone = time.monotonic()
    while not left and time.monotonic() - gone < 10:
        time.sleep(0.02)
    assert left
    assert left[0] - gone <= 3
    told = [r["event"] for r in gateway.records() if r["requestId"] == request_id]
    assert told == ["intent", "interrupted"]


def test_nothing_of_a_failing_model_is_kept(gateway, upstream):
    """Only the turns of models that did answer are in the conversations."""
    upstream.behave(saying(TEXT, 500, "text/html"))
    check_refused(ask(gateway, "native"), 502, "native")
    headers = bearer(gateway.key)
    listed = send(gateway.url, "GET", "/api/conversations?limit=100", headers=headers).json()
    for conversation in listed["data"]:
        read = send(gateway.url, "GET", f"/api/conversations/{conversation['id']}", headers=headers)
        assert [one["role"] for one in read.json()["messages"]] == ["user", "assistant"]
        assert PRIVATE not in read.body.decode()


def test_every_exchange_with_a_failing_model_has_one_closing_record(gateway):
    closing: dict[str, list[str]] = {}
    for record in gateway.records():
        closing.setdefault(record["requestId"], []).append(record["event"])
    exchanges = [told for told in closing.values() if "intent" in told]
    assert len(exchanges) > len(FAULTS)
    assert {tuple(told) for told in exchanges} <= {
        ("intent", "outcome"),
        ("intent", "refusal"),
        ("intent", "interrupted"),
    }
