"""Clients that hold what they do not use: half a head, a body a byte at a time, a stream unread."""

from __future__ import annotations

import asyncio
import json
import os
import selectors
import signal
import socket
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from aiohttp import web

from tests.simulator.client import chat, check_problem, send
from tests.simulator.gateway import Gateway, upstream_settings
from tests.simulator.pressure import percentile
from tests.simulator.upstream import Upstream, chunk

HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
PATIENCE = 3.0
"""Seconds beside a deadline that a busy machine may take."""
HURRY = 5


async def talk_without_end(request, _body):
    """A model that speaks as fast as it is heard, until it is cut off."""
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    frame = b"data: " + json.dumps(chunk({"content": "word " * 200})).encode() + b"\n\n"
    open_calls.add(id(request))
    try:
        while True:
            await response.write(frame)
            await asyncio.sleep(0.002)
    except ConnectionError:
        return response
    finally:
        open_calls.discard(id(request))


open_calls: set[int] = set()


@pytest.fixture(scope="module")
def upstream():
    with Upstream() as running:
        yield running


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, upstream):
    home = tmp_path_factory.mktemp("greedy") / "home"
    with Gateway(home, upstream_settings(upstream.url)) as running:
        yield running


@pytest.fixture(scope="module")
def hurried(tmp_path_factory):
    with Gateway(tmp_path_factory.mktemp("hurried") / "home", hurry=HURRY) as running:
        yield running


@pytest.fixture(scope="module")
def unhurried(tmp_path_factory):
    with Gateway(tmp_path_factory.mktemp("unhurried") / "home") as running:
        yield running


def port_of(gateway: Gateway) -> int:
    return int(gateway.url.rpartition(":")[2])


def connect(gateway: Gateway, data: bytes = b"", *, buffer: int = 0) -> socket.socket:
    connection = socket.socket()
    if buffer:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    connection.settimeout(40)
    connection.connect(("127.0.0.1", port_of(gateway)))
    if data:
        connection.sendall(data)
    return connection


def streamed(gateway: Gateway) -> bytes:
    body = json.dumps(chat("Talk.", stream=True)).encode()
    return (
        HEAD
        + f"Authorization: Bearer {gateway.key}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n".encode()
        + body
    )


def latencies(gateway: Gateway, seconds: float) -> list[float]:
    """How long an honest caller waits for each of its answers."""
    found, until = [], time.monotonic() + seconds
    while time.monotonic() < until:
        begun = time.monotonic()
        assert send(gateway.url, "GET", "/v1/models", headers=key(gateway)).status == 200
        found.append(time.monotonic() - begun)
        time.sleep(0.005)
    return found


def key(gateway: Gateway) -> dict[str, str]:
    return {"x-api-key": gateway.key}


def ends(connections: list[socket.socket], begun: float, most: float) -> list[float]:
    """When each connection was closed by the other side, in seconds since `begun`."""
    found = []
    with selectors.DefaultSelector() as waiting:
        for connection in connections:
            connection.setblocking(False)
            waiting.register(connection, selectors.EVENT_READ)
        while waiting.get_map() and time.monotonic() - begun < most:
            for chosen, _ in waiting.select(1.0):
                try:
                    over = not chosen.fileobj.recv(65_536)
                except ConnectionError:
                    over = True
                if over:
                    waiting.unregister(chosen.fileobj)
                    found.append(time.monotonic() - begun)
    return found


@pytest.mark.parametrize(
    ("which", "hurry", "count"),
    [("hurried", HURRY, 100), pytest.param("unhurried", 1, 400, marks=pytest.mark.slow)],
)
def test_half_sent_heads_are_gone_after_15_s_and_nobody_else_notices(request, which, hurry, count):
    gateway = request.getfixturevalue(which)
    wait = 15 / hurry
    calm = percentile(latencies(gateway, 2.0), 0.99)
    with ExitStack() as stack:
        begun = time.monotonic()
        halves = [stack.enter_context(connect(gateway, HEAD + b"X-A: ")) for _ in range(count)]
        besieged = percentile(latencies(gateway, wait - 1), 0.99)
        dripping = threading.Event()

        def drip() -> None:
            while not dripping.wait(wait / 4):
                for half in halves:
                    try:
                        half.send(b"a")
                    except OSError:
                        continue

        thread = threading.Thread(target=drip)
        thread.start()
        closed = ends(halves, begun, wait + 2 * PATIENCE)
        dripping.set()
        thread.join()
    assert len(closed) == count
    assert wait - 1 < min(closed)
    assert max(closed) < wait + PATIENCE
    assert besieged < max(2 * calm, 0.15), (calm, besieged)


@pytest.mark.parametrize(
    ("which", "hurry", "count"),
    [("hurried", HURRY, 20), pytest.param("unhurried", 1, 400, marks=pytest.mark.slow)],
)
def test_bodies_a_byte_a_second_are_over_after_30_s(request, which, hurry, count):
    gateway = request.getfixturevalue(which)
    wait = 30 / hurry
    head = HEAD + b"Content-Type: application/json\r\nContent-Length: 1000\r\n"
    head += f"Authorization: Bearer {gateway.key}\r\n\r\n".encode()
    before = len(gateway.records())
    with ExitStack() as stack:
        begun = time.monotonic()
        slow = [stack.enter_context(connect(gateway, head)) for _ in range(count)]
        answered: dict[int, tuple[float, bytes]] = {}
        while len(answered) < count and time.monotonic() - begun < wait + 10:
            for number, one in enumerate(slow):
                if number in answered:
                    continue
                try:
                    one.setblocking(False)
                    got = one.recv(65_536)
                    answered[number] = (time.monotonic() - begun, got)
                except BlockingIOError:
                    one.setblocking(True)
                    one.send(b" ")
            time.sleep(1.0 / hurry)
    assert len(answered) == count
    assert all(b"408" in got.partition(b"\r\n")[0] for _, got in answered.values())
    assert wait - 1 < min(at for at, _ in answered.values())
    assert max(at for at, _ in answered.values()) < wait + PATIENCE
    rules = [record.get("rule") for record in gateway.records()[before:]]
    assert rules.count("body-slow") == count


def memory(gateway: Gateway) -> float:
    """Resident memory in MB."""
    status = Path(f"/proc/{gateway.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


@pytest.mark.parametrize(
    ("hurry", "idle", "unread"),
    [(HURRY, 500, 30), pytest.param(1, 2_000, 400, marks=pytest.mark.slow)],
)
def test_who_reads_nothing_for_30_s_is_cut_and_costs_little(
    tmp_path, upstream, hurry, idle, unread
):
    upstream.behave(talk_without_end)
    settings = upstream_settings(upstream.url)
    with Gateway(tmp_path / "home", settings, hurry=hurry) as gateway, ExitStack() as stack:
        for _ in range(20):
            assert send(gateway.url, "GET", "/v1/models", headers=key(gateway)).status == 200
        empty = memory(gateway)
        for _ in range(idle):
            stack.enter_context(connect(gateway))
        time.sleep(1)
        with_idle = peak = memory(gateway)
        begun = time.monotonic()
        for _ in range(unread):
            stack.enter_context(connect(gateway, streamed(gateway), buffer=4_096))
            time.sleep(0.01)
        while open_calls or time.monotonic() - begun < 20 / hurry:
            peak = max(peak, memory(gateway))
            assert time.monotonic() - begun < 240, len(open_calls)
            time.sleep(0.5)
        took = time.monotonic() - begun
        time.sleep(1)
        events = [r["event"] for r in gateway.records() if r.get("kind") == "ai_operation"]
    upstream.behave(None)
    print(f"idle +{with_idle - empty:.0f} MB, unread +{peak - with_idle:.0f} MB, cut {took:.0f} s")
    assert events.count("interrupted") == events.count("intent") == unread
    assert took > 30 / hurry
    assert peak - empty < 150


def test_a_slow_reader_that_reads_keeps_its_stream(gateway, upstream):
    """A reader that is slower than the model is slowed down, never cut."""
    upstream.behave(talk_without_end)
    with connect(gateway, streamed(gateway), buffer=4_096) as slow:
        until = time.monotonic() + 4
        while time.monotonic() < until:
            assert slow.recv(8_192)
            time.sleep(0.05)
    upstream.behave(None)


def test_a_drain_lets_streams_end_cuts_the_rest_and_records_both(tmp_path, upstream):
    async def ends_in(request, body):
        seconds = 2 if "short" in json.dumps(body) else 60
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for number in range(seconds * 4):
            text = json.dumps(chunk({"content": f"word {number} "}))
            try:
                await response.write(f"data: {text}\n\n".encode())
            except ConnectionError:
                return response
            await asyncio.sleep(0.25)
        done = json.dumps(chunk({}, "stop"))
        await response.write(f"data: {done}\n\ndata: [DONE]\n\n".encode())
        return response

    upstream.behave(ends_in)
    gateway = Gateway(tmp_path / "home", upstream_settings(upstream.url), hurry=2)
    gateway.start()
    with ExitStack() as stack:
        body = streamed(gateway)
        short = body.replace(b'"Talk."', b'"short"')
        kept = stack.enter_context(connect(gateway))
        streams = [stack.enter_context(connect(gateway, data)) for data in (body, short)]
        for one in streams:
            assert one.recv(65_536).startswith(b"HTTP/1.1 200")
        begun = time.monotonic()
        os.kill(gateway.pid, signal.SIGTERM)
        assert kept.recv(1) == b""
        with pytest.raises(ConnectionRefusedError), socket.socket() as late:
            late.connect(("127.0.0.1", port_of(gateway)))
        got = []
        for one in streams:
            text = b""
            while piece := one.recv(65_536):
                text += piece
            got.append((time.monotonic() - begun, text))
        assert gateway.stop() == 0
    upstream.behave(None)
    assert time.monotonic() - begun < 5 + 2 * PATIENCE
    assert got[1][1].endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")
    assert b"[DONE]" not in got[0][1]
    assert 4.5 < got[0][0]
    events = [r["event"] for r in gateway.records() if r.get("kind") == "ai_operation"]
    assert sorted(events) == ["intent", "intent", "interrupted", "outcome"]


@pytest.mark.parametrize("path", ["/livez", "/v1/models", "/api/chat", "/openapi.json", "/nowhere"])
@pytest.mark.parametrize("known", [True, False])
def test_websockets_are_refused_with_a_sentence(gateway, path, known):
    headers = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        **(key(gateway) if known else {}),
    }
    answered = send(gateway.url, "GET", path, headers=headers)
    problem = check_problem(answered, 400, native=path.startswith("/api/"))
    assert problem["rule"] == "upgrade"
    assert "WebSocket" in problem["detail"]


def test_one_connection_too_many_is_turned_away(tmp_path):
    settings = {"OSTIARY_SERVER__MAX_CONNECTIONS": "5"}
    with Gateway(tmp_path / "home", settings) as gateway, ExitStack() as stack:
        held = [stack.enter_context(connect(gateway)) for _ in range(5)]
        time.sleep(0.3)
        with connect(gateway) as sixth:
            got = sixth.recv(65_536)
            assert got.startswith(b"HTTP/1.1 503")
            assert b"retry-after" in got
            assert sixth.recv(1) == b""
        held[0].close()
        time.sleep(0.3)
        assert send(gateway.url, "GET", "/livez").status == 200
