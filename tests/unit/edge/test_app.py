"""The application over ASGI: every answer has its headers, every end its shape."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from ostiary.edge import app as module
from ostiary.edge.app import Application, Edge
from ostiary.edge.overload import Overload
from ostiary.errors import ProviderFailed
from ostiary.exchange import Call
from tests.unit.doorway import MODEL, Doorway, doorway, piece, says, whole

FAILED = ProviderFailed("The model failed.", layer="forward", rule="provider-broken")
HELLO = {"model": MODEL, "messages": [{"role": "user", "content": "Hello"}]}
FIRST = "01890a5d-ac96-774b-bcce-b302099a8000"
STREAM = (piece({"role": "assistant", "content": "Good "}), piece({"content": "day."}, "stop"))


class Client:
    """Speaks ASGI to the application."""

    def __init__(self, door: Doorway) -> None:
        self._door = door
        self._ids = iter(f"{FIRST[:-3]}{n:03d}" for n in range(1_000))

        async def probe() -> tuple[int, dict[str, Any]]:
            return 200, {"status": "ok"}

        async def nothing() -> None:
            pass

        self.app = Application(
            Edge(
                door.pipeline,
                {n: probe for n in ("livez", "readyz", "startupz", "openapi")},
                lambda: next(self._ids),
                nothing,
                nothing,
                Overload(most=100),
                lambda _: True,
            )
        )

    async def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        chunks: list[bytes] | None = None,
        **headers: str,
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body."""
        data = chunks or ([] if body is None else [json.dumps(body).encode()])
        sent = {
            "host": "localhost",
            "authorization": f"Bearer {self._door.key}",
            **({"content-type": "application/json"} if data else {}),
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        queue = list(data) or [b""]
        got: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            if queue:
                part = queue.pop(0)
                return {"type": "http.request", "body": part, "more_body": bool(queue)}
            return await asyncio.Event().wait()

        async def send(message: Any) -> None:
            got.append(message)

        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "query_string": b"",
            "headers": [(n.encode(), v.encode()) for n, v in sent.items() if v],
            "client": ("127.0.0.1", 1),
        }
        await self.app(scope, receive, send)
        start, *rest = got
        assert not rest or rest[-1].get("more_body", False) is False
        headers_back = {n.decode(): v.decode() for n, v in start["headers"]}
        return start["status"], headers_back, b"".join(m.get("body", b"") for m in rest)


def run(test: Any) -> None:
    asyncio.run(test)


def events(body: bytes) -> list[Any]:
    frames = body.decode().split("\n\n")
    assert frames.pop() == ""
    assert all(frame.startswith("data: ") for frame in frames)
    texts = [frame.removeprefix("data: ") for frame in frames]
    return [text if text == "[DONE]" else json.loads(text) for text in texts]


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status"),
    [
        ("GET", "/livez", None, {}, 200),
        ("GET", "/openapi.json", None, {"host": "evil.test"}, 421),
        ("GET", "/livez", None, {"host": "a b"}, 400),
        ("POST", "/api/chat", {"message": "Hi"}, {}, 200),
        ("POST", "/v1/chat/completions", HELLO, {}, 200),
        ("POST", "/api/chat", {}, {}, 400),
        ("POST", "/api/chat", {"message": "Hi"}, {"authorization": ""}, 401),
        ("GET", "/api/chat", None, {}, 405),
        ("GET", "/nowhere", None, {}, 404),
        ("POST", "/api/chat", {"message": "Hi"}, {"content-type": "text/plain"}, 415),
        ("GET", "/v1/models", None, {"host": "evil.test"}, 421),
        ("GET", "/v1/models", None, {"x_ostiary_subject": "bob"}, 403),
        ("GET", "/v1/models", None, {"upgrade": "websocket"}, 400),
    ],
)
def test_every_answer_has_its_headers(
    tmp_path: Path, method: str, path: str, body: Any, headers: dict[str, str], status: int
) -> None:
    async def test() -> None:
        async with doorway(tmp_path) as door:
            got, sent, data = await Client(door).ask(method, path, body, **headers)
            assert got == status
            assert sent["x-request-id"] == FIRST
            assert sent["cache-control"] == "no-store"
            assert '"rpm";q=60;w=60' in sent["ratelimit-policy"]
            assert '"rpm";r=' in sent["ratelimit"]
            assert sent["x-ratelimit-limit-requests"] == "60"
            assert ("www-authenticate" in sent) is (status == 401)
            assert int(sent["content-length"]) == len(data)
            if status >= 400:
                assert sent["content-type"] == "application/problem+json"
                problem = json.loads(data)
                assert problem["requestId"] == FIRST
                assert isinstance(problem["error"], str) is path.startswith("/api/")

    run(test())


def test_a_native_answer_has_the_seeds_shape(tmp_path: Path) -> None:
    async def test() -> None:
        async with doorway(tmp_path) as door:
            message = "I am ann@example.com"
            status, _, data = await Client(door).ask("POST", "/api/chat", {"message": message})
            body = json.loads(data)
            assert status == 200
            assert body.pop("id") == FIRST
            assert len(body.pop("conversationId")) == 36
            assert body.pop("warning")["types"] == ["email_address"]
            assert body == {
                "model": MODEL,
                "response": "Hello.",
                "usage": {"promptTokens": 7, "completionTokens": 5, "totalTokens": 12},
            }

    run(test())


def test_a_native_stream_has_deltas_one_summary_and_done(tmp_path: Path) -> None:
    async def test() -> None:
        async with doorway(tmp_path, says(*STREAM)) as door:
            body = {"message": "Hi", "stream": True}
            status, headers, data = await Client(door).ask("POST", "/api/chat", body)
            assert (status, headers["content-type"]) == (200, "text/event-stream")
            *deltas, summary, done = events(data)
            assert "".join(d["delta"] for d in deltas) == "Good day."
            assert set(summary) == {"id", "conversationId", "model", "usage"}
            assert done == "[DONE]"

    run(test())


def test_an_openai_stream_tells_usage_only_where_it_was_asked_for(tmp_path: Path) -> None:
    async def test() -> None:
        async with doorway(tmp_path, says(*STREAM)) as door:
            client = Client(door)
            path = "/v1/chat/completions"
            _, _, data = await client.ask("POST", path, {**HELLO, "stream": True})
            assert not any("usage" in e for e in events(data)[:-1])
            asked = {**HELLO, "stream": True, "stream_options": {"include_usage": True}}
            _, _, data = await client.ask("POST", path, asked)
            assert events(data)[-2]["choices"] == []
            assert events(data)[-2]["usage"]["total_tokens"]

    run(test())


@pytest.mark.parametrize(
    ("path", "body"),
    [("/api/chat", {"message": "Hi"}), ("/v1/chat/completions", HELLO)],
)
def test_a_stream_that_breaks_off_ends_with_the_problem_alone(
    tmp_path: Path, path: str, body: dict[str, Any]
) -> None:
    async def breaks(_: Call) -> AsyncGenerator[dict[str, Any], None]:
        yield piece({"content": "word " * 200})
        raise FAILED

    async def test() -> None:
        async with doorway(tmp_path, breaks) as door:
            _, _, data = await Client(door).ask("POST", path, {**body, "stream": True})
            *_, last = events(data)
            assert last["status"] == 502
            assert isinstance(last["error"], str) is path.startswith("/api/")
            assert "[DONE]" not in data.decode()
            assert '"finish_reason":"stop"' not in data.decode()

    run(test())


def test_a_body_beyond_its_limit_is_413_and_closes(tmp_path: Path) -> None:
    async def test() -> None:
        async with doorway(tmp_path) as door:
            client = Client(door)
            for chunks, more in (
                ([b"{"] + [b" " * 65_536] * 5, {}),
                ([b"{}"], {"content-length": "99999999999999999999999"}),
            ):
                status, headers, _ = await client.ask("POST", "/api/chat", chunks=chunks, **more)
                assert (status, headers["connection"]) == (413, "close")

    run(test())


def test_a_body_that_does_not_come_is_408(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BODY_SECONDS", 0.05)

    async def test() -> None:
        async with doorway(tmp_path) as door:
            started: list[Any] = []

            async def receive() -> Any:
                await asyncio.sleep(0.01)
                return {"type": "http.request", "body": b" ", "more_body": True}

            async def send(message: Any) -> None:
                started.append(message)

            scope = {
                "type": "http",
                "method": "POST",
                "path": "/api/chat",
                "query_string": b"",
                "headers": [(b"host", b"localhost"), (b"content-type", b"application/json")],
                "client": None,
            }
            await Client(door).app(scope, receive, send)
            assert started[0]["status"] == 408
            assert (b"connection", b"close") in started[0]["headers"]

    run(test())


def test_a_client_that_leaves_cancels_its_request(tmp_path: Path) -> None:
    async def hangs(_: Call) -> AsyncGenerator[dict[str, Any], None]:
        await asyncio.Event().wait()
        yield whole("")

    async def test() -> None:
        async with doorway(tmp_path, hangs) as door:
            client = Client(door)
            task = asyncio.create_task(client.ask("POST", "/v1/chat/completions", HELLO))
            while not door.provider.calls:
                await asyncio.sleep(0.005)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert door.provider.closed == 1
            assert [r["event"] for r in await door.records()] == ["intent", "interrupted"]

    run(test())


def test_a_websocket_is_closed(tmp_path: Path) -> None:
    async def test() -> None:
        async with doorway(tmp_path) as door:
            sent: list[Any] = []

            async def send(message: Any) -> None:
                sent.append(message)

            await Client(door).app({"type": "websocket"}, None, send)
            assert sent == [{"type": "websocket.close", "code": 1008}]

    run(test())
