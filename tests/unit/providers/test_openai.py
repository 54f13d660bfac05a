"""A hostile model over real HTTP: every fault has its refusal, and none quotes the model."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web

from ostiary.errors import Refusal
from ostiary.exchange import Call
from ostiary.providers import openai
from ostiary.upstream import faults
from ostiary.upstream.credentials import Key
from tests.unit.doorway import piece, whole

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
SECRET = "text of the model"


class Heard:
    """What the model was sent."""

    def __init__(self) -> None:
        self.requests: list[web.Request] = []
        self.bodies: list[Any] = []


def ask(
    handler: Handler, *, stream: bool = False, silence: float = 5.0, heard: Heard | None = None
) -> list[dict[str, Any]]:
    """The events of one call to a model that behaves as `handler` does."""
    heard = heard or Heard()

    async def serve(request: web.Request) -> web.StreamResponse:
        heard.requests.append(request)
        heard.bodies.append(await request.json())
        return await handler(request)

    async def test() -> list[dict[str, Any]]:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", serve)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = site._server.sockets[0].getsockname()[1]
        provider = openai.build(
            "main",
            openai.Options(f"http://127.0.0.1:{port}/v1/", Key(lambda: "credential"), silence),
        )
        body = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
        call = Call("r", "m", body, stream, "00-" + "1" * 32 + "-" + "2" * 16 + "-01")
        try:
            return [event async for event in provider.answer(call)]
        finally:
            await provider.close()
            await runner.cleanup()

    return asyncio.run(test())


def refused(handler: Handler, **more: Any) -> Refusal:
    with pytest.raises(Refusal) as caught:
        ask(handler, **more)
    assert SECRET not in caught.value.message
    assert caught.value.layer == "forward"
    return caught.value


def gives(body: Any, status: int = 200, **headers: str) -> Handler:
    async def handler(_: web.Request) -> web.Response:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.json_response(body, status=status, headers=sent)

    return handler


def raw(body: bytes, kind: str) -> Handler:
    async def handler(_: web.Request) -> web.Response:
        return web.Response(body=body, content_type=kind)

    return handler


def streams(*frames: bytes, pause: float = 0.0) -> Handler:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for frame in frames:
            await response.write(frame)
            await asyncio.sleep(pause)
        return response

    return handler


def frame(event: Any) -> bytes:
    return b"data: " + json.dumps(event).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"
SAID, END = frame(piece({"content": SECRET})), frame(piece({}, "stop"))


def test_a_whole_answer_comes_through_and_only_our_headers_go_out() -> None:
    heard = Heard()
    assert ask(gives(whole(SECRET)), heard=heard) == [whole(SECRET)]
    [request] = heard.requests
    assert request.path == "/v1/chat/completions"
    assert request.headers["Authorization"] == "Bearer credential"
    assert request.headers["traceparent"].startswith("00-1")
    names = {name.lower() for name in request.headers}
    assert names == {
        *("host", "content-type", "content-length", "accept", "accept-encoding"),
        *("user-agent", "traceparent", "authorization"),
    }
    assert heard.bodies[0]["messages"][0]["content"] == "Hi"


def test_a_stream_comes_through_with_or_without_done() -> None:
    expected = [piece({"content": SECRET}), piece({}, "stop")]
    for frames in ((SAID, END, DONE), (SAID, END), (b": comment\n\n", SAID, END, DONE, SAID)):
        assert ask(streams(*frames), stream=True) == expected


@pytest.mark.parametrize(
    ("handler", "status"),
    [
        (gives({"error": {"message": SECRET}}), 502),
        (gives({"error": {"message": SECRET}}, 500), 502),
        (gives({"error": {"message": SECRET}}, 401), 502),
        (gives({"error": {"message": SECRET}}, 400), 400),
        (gives({}, 302, Location="http://127.0.0.1:1/"), 502),
        (gives({}, 204), 502),
        (gives({"choices": []}), 502),
        (gives({"choices": [{"index": 0}]}), 502),
        (gives({"choices": [{"index": 0, "message": SECRET}]}), 502),
        (gives({"choices": [SECRET]}), 502),
        (gives({"choices": SECRET}), 502),
        (gives([SECRET]), 502),
        (raw(b"<html>" + SECRET.encode(), "text/html"), 502),
        (raw(b'{"choices": [' + SECRET.encode(), "application/json"), 502),
        (raw(b"[" * 100_000, "application/json"), 502),
        (raw(b"\xff\xfe", "application/json"), 502),
        (streams(SAID, END, DONE), 502),
        (gives({}, 429, Retry_After="7"), 429),
        (gives({}, 503, Retry_After="7"), 503),
    ],
)
def test_every_fault_of_a_whole_answer_has_its_refusal(handler: Handler, status: int) -> None:
    refusal = refused(handler)
    assert refusal.status == status
    assert (refusal.retry_after == 7) is (status in {429, 503})


@pytest.mark.parametrize(
    "frames",
    [
        (),
        (DONE,),
        (SAID,),
        (SAID, frame({"error": {"message": SECRET}})),
        (SAID, b"data: {not json\n\n"),
        (SAID, b"data: \xff\n\n"),
        (SAID, frame({"choices": [{"index": -1, "delta": {}}]})),
        (SAID, frame({"choices": [{"index": True, "delta": {}}]})),
        (SAID, frame({"choices": [{"index": 0, "delta": [SECRET]}]})),
        (SAID, frame(piece({}, "stop")), frame(piece({"content": "x"}, index=1))),
    ],
)
def test_every_fault_of_a_stream_has_its_refusal(frames: tuple[bytes, ...]) -> None:
    assert refused(streams(*frames), stream=True).status == 502


def test_null_where_an_error_would_stand_is_none() -> None:
    assert ask(gives({**whole("Hi"), "error": None}))


def test_silence_is_504_before_and_within_an_answer() -> None:
    async def late(_: web.Request) -> web.Response:
        await asyncio.sleep(3)
        return web.json_response(whole("late"))

    assert refused(late, silence=0.2).status == 504
    assert refused(streams(SAID, SAID, pause=3), stream=True, silence=0.2).status == 504


def test_a_broken_connection_is_502_and_not_asked_again() -> None:
    heard = Heard()

    async def breaks(request: web.Request) -> web.Response:
        request.transport.abort()
        return web.Response()

    assert refused(breaks, heard=heard).status == 502
    assert len(heard.requests) == 1


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_call_is_made_again_where_the_model_did_not_take_it(status: int) -> None:
    heard = Heard()

    async def recovers(request: web.Request) -> web.Response:
        if len(heard.requests) < 3:
            return web.json_response({}, status=status)
        return web.json_response(whole("Hi"))

    assert ask(recovers, heard=heard) == [whole("Hi")]
    assert len(heard.requests) == 3


def test_nothing_is_asked_before_its_time_or_after_three_calls() -> None:
    heard = Heard()
    assert refused(gives({}, 503, Retry_After="3600"), heard=heard).retry_after == 3_600
    assert len(heard.requests) == 1
    heard = Heard()
    started = time.monotonic()
    assert refused(gives({}, 429, Retry_After="1"), heard=heard).status == 429
    assert len(heard.requests) == 3
    assert time.monotonic() - started >= 2
    heard = Heard()
    assert refused(gives({}, 400), heard=heard).status == 400
    assert len(heard.requests) == 1


def test_nobody_there_is_502() -> None:
    provider = openai.build("main", openai.Options("http://127.0.0.1:1/v1", Key(lambda: None), 1.0))

    async def test() -> None:
        try:
            async for _ in provider.answer(Call("r", "m", {}, False)):
                raise AssertionError("nobody can answer")
        finally:
            await provider.close()

    with pytest.raises(Refusal) as caught:
        asyncio.run(test())
    assert caught.value.status == 502


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("", None),
        ("soon", None),
        ("-1", None),
        ("7", 7.0),
        ("9" * 400, 86_400.0),
        ("Thu, 01 Jan 1970 00:01:40 GMT", 40.0),
        ("Thu, 01 Jan 1970 00:00:01 GMT", 0.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 86_400.0),
    ],
)
def test_retry_after_is_read_in_both_forms_and_bounded(
    value: str | None, seconds: float | None
) -> None:
    assert faults.retry_after(value, 60.0) == seconds


def test_no_secret_is_shown() -> None:
    options = openai.Options("http://127.0.0.1", Key(lambda: "credential"))
    assert "credential" not in repr(options)
    assert "credential=" not in repr(options)
