"""The server over real sockets: a head is bounded in size and time, and who leaves is noticed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn

from ostiary.edge import server as module
from ostiary.edge.app import leave_with
from ostiary.edge.server import HEAD_BYTES, HEAD_FIELDS, FrozenHeaders, listen


class Application:
    """Answers once told to, and notes what came and who left."""

    def __init__(self) -> None:
        self.seen: list[Any] = []
        self.left: list[str] = []
        self.go = asyncio.Event()
        self.go.set()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        leave_with(scope, asyncio.current_task())
        try:
            while (await receive()).get("more_body"):
                pass
            self.seen.append([scope["path"], dict(scope["headers"])])
            await self.go.wait()
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"ok"})
        except asyncio.CancelledError:
            self.left.append(scope["path"])


@asynccontextmanager
async def served() -> AsyncIterator[tuple[Application, int]]:
    app = Application()
    config = uvicorn.Config(
        app, http=FrozenHeaders, ws="none", lifespan="off", log_config=None, access_log=False
    )
    running = uvicorn.Server(config)
    running.config.load()
    running.lifespan = config.lifespan_class(config)
    with listen("127.0.0.1", 0) as socket:
        task = asyncio.create_task(running._serve([socket]))
        while not running.started:
            await asyncio.sleep(0.01)
        yield app, socket.getsockname()[1]
        running.should_exit = True
        await task


async def talk(port: int, *parts: bytes, pause: float = 0.0) -> bytes:
    """Send parts, then read until the other side closes or is quiet for a while."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    got = b""
    try:
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(pause)
        while True:
            piece = await asyncio.wait_for(reader.read(65_536), 0.7)
            if not piece:
                return got + b"<closed>"
            got += piece
    except TimeoutError:
        return got
    except ConnectionError:
        return got + b"<closed>"
    finally:
        writer.close()


GET = b"GET /a HTTP/1.1\r\nHost: x\r\n"


def run(test: Any) -> None:
    asyncio.run(test)


def test_a_request_is_answered_and_the_connection_kept() -> None:
    async def test() -> None:
        async with served() as (_, port):
            got = await talk(port, GET + b"\r\n", GET + b"\r\n")
            assert got.count(b"HTTP/1.1 200") == 2
            assert b"<closed>" not in got

    run(test())


@pytest.mark.parametrize(
    "parts",
    [
        [b"GET /" + b"a" * (HEAD_BYTES + 1) + b" HTTP/1.1\r\nHost: x\r\n\r\n"],
        [GET + b"X-A: " + b"b" * (HEAD_BYTES + 1) + b"\r\n\r\n"],
        [GET + b"X-A: ", *[b"b" * 16_384] * 40],
        [GET + b"a: b\r\n" * (HEAD_FIELDS + 1) + b"\r\n"],
        [GET, *[b"a: b\r\n" * 64] * 40],
        [b"GET /", *[b"a" * 16_384] * 40],
    ],
    ids=["line", "field", "field without end", "fields", "fields without end", "line without end"],
)
def test_a_head_that_is_too_long_never_arrives(parts: list[bytes]) -> None:
    async def test() -> None:
        async with served() as (app, port):
            got = await talk(port, *parts)
            assert got.endswith(b"<closed>")
            assert b"HTTP/1.1 200" not in got
            assert app.seen == []

    run(test())


@pytest.mark.parametrize(
    "first", [b"", b"\r\n", b"GET /a", GET], ids=["nothing", "empty line", "line", "field"]
)
def test_a_head_that_takes_too_long_is_closed(
    first: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "HEAD_SECONDS", 0.2)
    monkeypatch.setattr(module, "IDLE_SECONDS", 0.2)

    async def test() -> None:
        async with served() as (app, port):
            drip = [first or b"\r\n", *[b"x" if b"GET" in first else b"\r\n"] * 8]
            got = await talk(port, *(drip if first else [b""]), pause=0.05)
            assert got == b"<closed>"
            assert app.seen == []

    run(test())


def test_a_body_that_nobody_wants_does_not_hold_the_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "BODY_SECONDS", 0.2)

    class Deaf(Application):
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "http.response.start", "status": 415, "headers": []})
            await send({"type": "http.response.body", "body": b"no"})

    monkeypatch.setitem(globals(), "Application", Deaf)

    async def test() -> None:
        async with served() as (_, port):
            head = b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n"
            got = await talk(port, head, *[b"x"] * 3, pause=0.05)
            assert b"415" in got
            assert got.endswith(b"<closed>")

    run(test())


def test_a_large_body_is_no_large_head() -> None:
    async def test() -> None:
        async with served() as (app, port):
            size = 4 * HEAD_BYTES
            head = b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size
            got = await talk(port, head, b"x" * size, GET + b"\r\n")
            assert got.count(b"HTTP/1.1 200") == 2
            assert [path for path, _ in app.seen] == ["/a", "/a"]

    run(test())


def test_a_trailer_is_no_header() -> None:
    async def test() -> None:
        async with served() as (app, port):
            await talk(
                port,
                b"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n",
                b"1\r\nx\r\n0\r\nAuthorization: Bearer key\r\n\r\n",
            )
            [[_, headers]] = app.seen
            assert b"authorization" not in headers

    run(test())


def test_whoever_leaves_cancels_what_is_under_way_and_not_what_waits_behind_it() -> None:
    async def test() -> None:
        async with served() as (app, port):
            app.go.clear()
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(GET + b"\r\n" + GET.replace(b"/a", b"/b") + b"\r\n")
            while not app.seen:
                await asyncio.sleep(0.01)
            writer.close()
            for _ in range(100):
                if app.left:
                    break
                await asyncio.sleep(0.01)
            assert app.left == ["/a"]

    run(test())


class Wire(asyncio.Transport):
    """Notes each call that would ask the system."""

    def __init__(self) -> None:
        self.calls: list[bytes | str] = []

    def write(self, data: bytes) -> None:
        self.calls.append(data)

    def close(self) -> None:
        self.calls.append("close")

    def is_closing(self) -> bool:
        return "close" in self.calls


def test_what_is_written_in_one_turn_leaves_in_one_call() -> None:
    async def turns() -> list[bytes | str]:
        wire = Wire()
        gathering = module.Gathering(wire, asyncio.get_running_loop())
        gathering.write(b"head ")
        gathering.write(b"body")
        assert wire.calls == []
        await asyncio.sleep(0)
        gathering.write(b"next")
        await asyncio.sleep(0)
        return wire.calls

    assert asyncio.run(turns()) == [b"head body", b"next"]


def test_what_waits_leaves_before_the_connection_closes_and_nothing_after() -> None:
    async def turns() -> list[bytes | str]:
        wire = Wire()
        gathering = module.Gathering(wire, asyncio.get_running_loop())
        gathering.write(b"last words")
        gathering.close()
        gathering.write(b"too late")
        await asyncio.sleep(0)
        return wire.calls

    assert asyncio.run(turns()) == [b"last words", "close"]


def test_much_that_is_written_in_one_turn_does_not_pile_up() -> None:
    async def turns() -> list[bytes | str]:
        wire = Wire()
        gathering = module.Gathering(wire, asyncio.get_running_loop())
        for _ in range(5):
            gathering.write(b"x" * 3_000)
        assert [len(call) for call in wire.calls] == [6_000, 6_000]
        await asyncio.sleep(0)
        return wire.calls

    assert [len(call) for call in asyncio.run(turns())] == [6_000, 6_000, 3_000]
