"""Ten times too many requests: most are refused at once, and those that are taken are served."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from aiohttp import web

from tests.simulator.client import bearer, chat, check_problem, send
from tests.simulator.gateway import Gateway, upstream_settings
from tests.simulator.pressure import percentile, press
from tests.simulator.upstream import Upstream, completion

CALM = 50


@pytest.fixture
def gateway(tmp_path):
    with Gateway(tmp_path / "home") as running:
        yield running


def request_of(gateway: Gateway) -> bytes:
    body = json.dumps(chat("Hello there. " * 20)).encode()
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
        f"Authorization: Bearer {gateway.key}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def under(gateway: Gateway, rate: float, seconds: float):
    port = int(gateway.url.rpartition(":")[2])
    return asyncio.run(press(port, request_of(gateway), rate, seconds))


def capacity(gateway: Gateway) -> float:
    """How many requests a second are answered when eight callers never pause."""
    until = time.monotonic() + 1.5

    def ask() -> int:
        count = 0
        while time.monotonic() < until:
            count += (
                send(
                    gateway.url, "POST", "/v1/chat/completions", chat(), bearer(gateway.key)
                ).status
                == 200
            )
        return count

    with ThreadPoolExecutor(8) as threads:
        return sum(one.result() for one in [threads.submit(ask) for _ in range(8)]) / 1.5


@pytest.mark.parametrize(
    # In the normal run other tests take one of the processors, and the clock tells of these too.
    ("times", "seconds", "fast"),
    [(3, 4, 0.5), pytest.param(10, 60, 0.05, marks=pytest.mark.slow)],
)
def test_too_many_requests_are_refused_fast_and_recorded_each(gateway, times, seconds, fast):
    rate = times * max(CALM, capacity(gateway))
    calm = percentile([a.seconds for a in under(gateway, CALM, 2)], 0.99)
    alive: list[float] = []
    over = threading.Event()

    def probe() -> None:
        while not over.wait(0.2):
            begun = time.monotonic()
            assert send(gateway.url, "GET", "/livez").status == 200
            alive.append(time.monotonic() - begun)

    with ThreadPoolExecutor(1) as thread:
        probing = thread.submit(probe)
        answers = under(gateway, rate, seconds)
        over.set()
        probing.result()
    begun = min(a.due for a in answers)
    steady = [a for a in answers if a.due - begun > 2]
    taken = [a.seconds for a in steady if a.status == 200]
    shed = [a for a in steady if a.status == 503]
    assert set(Counter(a.status for a in answers)) == {200, 503}
    assert len(taken) > 10
    assert len(shed) > 10
    print(f"rate {rate:.0f} calm {calm:.3f} taken {percentile(taken, 0.99):.3f} shed", end=" ")
    print(f"{percentile([a.seconds for a in shed], 0.99):.3f} alive {percentile(alive, 0.9):.3f}")
    assert percentile([a.seconds for a in shed], 0.5) < max(fast, 2 * calm)
    assert percentile(taken, 0.5) < max(6 * fast, 10 * calm)
    assert all(int(a.header("retry-after")) >= 1 for a in shed)
    assert percentile(alive, 0.9) < max(2.0, 10 * calm)
    under(gateway, CALM, 3)
    assert {a.status for a in under(gateway, CALM, 1)} == {200}
    time.sleep(1)
    recorded = {r["requestId"] for r in gateway.records() if r.get("rule") == "overload"}
    assert {a.header("x-request-id") for a in answers if a.status == 503} <= recorded


def test_a_burst_is_served(gateway):
    def one(_: int) -> int:
        return send(gateway.url, "POST", "/v1/chat/completions", chat(), bearer(gateway.key)).status

    with ThreadPoolExecutor(100) as threads:
        assert set(threads.map(one, range(100))) == {200}


def test_more_than_the_stated_number_under_way_is_refused_though_probes_answer(tmp_path):
    go = threading.Event()

    async def wait(_request, _body):
        while not go.is_set():
            await asyncio.sleep(0.02)
        return web.json_response(completion("done"))

    with Upstream() as upstream:
        upstream.behave(wait)
        settings = {**upstream_settings(upstream.url), "OSTIARY_SERVER__MAX_REQUESTS": "3"}
        with (
            Gateway(tmp_path / "home", settings) as gateway,
            ThreadPoolExecutor(3) as threads,
        ):

            def one():
                return send(
                    gateway.url, "POST", "/v1/chat/completions", chat(), bearer(gateway.key)
                )

            held = [threads.submit(one) for _ in range(3)]
            while len(upstream.received) < 3:
                time.sleep(0.02)
            for path, native in (("/v1/models", False), ("/api/keys", True)):
                answered = send(gateway.url, "GET", path, headers=bearer(gateway.key))
                problem = check_problem(answered, 503, native=native)
                assert (problem["layer"], problem["rule"]) == ("admit", "overload")
            assert send(gateway.url, "GET", "/readyz").status == 200
            go.set()
            assert {one.result().status for one in held} == {200}
            assert one().status == 200
            time.sleep(1)
            assert [r["rule"] for r in gateway.records() if r.get("status") == 503] == [
                "overload",
                "overload",
            ]
