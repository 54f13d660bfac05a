"""A model with several providers, and a provider that is left alone: nothing is done twice."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from typing import Any

import pytest
from aiohttp import web

from ostiary.upstream.breaker import FAILURES
from tests.simulator.client import bearer, chat, check_problem, events, send
from tests.simulator.gateway import Gateway
from tests.simulator.upstream import Upstream, chunk, stream

PATH = "/v1/chat/completions"
SILENCE = 1.0


@pytest.fixture(scope="module")
def main():
    with Upstream("From main.") as running:
        yield running


@pytest.fixture(scope="module")
def spare():
    with Upstream("From the spare.") as running:
        yield running


@pytest.fixture(scope="module")
def gateway(main, spare, tmp_path_factory):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{unused.getsockname()[1]}/v1"
        addresses = {"MAIN": main.url, "SPARE": spare.url, "GONE": nobody, "FRAGILE": main.url}
        variables = {}
        for name, address in addresses.items():
            variables[f"OSTIARY_PROVIDERS__{name}__KIND"] = "openai"
            variables[f"OSTIARY_PROVIDERS__{name}__BASE_URL"] = address
            variables[f"OSTIARY_PROVIDERS__{name}__AUTH"] = "none"
            variables[f"OSTIARY_PROVIDERS__{name}__TIMEOUT_SECONDS"] = str(SILENCE)
        variables |= {
            "OSTIARY_MODELS__GPT-4O__PROVIDERS": '["main", "spare"]',
            "OSTIARY_MODELS__GPT-4O__UPSTREAM_NAME": "their-name",
            "OSTIARY_MODELS__ELSEWHERE__PROVIDERS": '["gone", "spare"]',
            "OSTIARY_MODELS__FRAGILE__PROVIDER": "fragile",
            "OSTIARY_MODELS__FRAGILE-WITH-SPARE__PROVIDERS": '["fragile", "spare"]',
        }
        home = tmp_path_factory.mktemp("spares") / "home"
        with Gateway(home, variables) as running:
            yield running


@pytest.fixture(autouse=True)
def forget(main, spare, gateway):
    for upstream in (main, spare):
        upstream.behave(None)
    assert ask(gateway).status == 200
    for upstream in (main, spare):
        upstream.received.clear()


def ask(gateway, model: str = "gpt-4o", *, streamed: bool = False):
    body = {**chat(stream=streamed), "model": model}
    return send(gateway.url, "POST", PATH, body, bearer(gateway.key))


def says(status: int, **headers: str):
    async def answer(request: web.Request, _: dict[str, Any]) -> web.StreamResponse:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.json_response({"error": {"message": "no"}}, status=status, headers=sent)

    return answer


async def reset(request: web.Request, _: dict[str, Any]) -> web.StreamResponse:
    request.transport.abort()
    return web.Response()


async def hang(request: web.Request, _: dict[str, Any]) -> web.StreamResponse:
    await asyncio.sleep(10)
    return web.Response()


async def breaks_off(request: web.Request, _: dict[str, Any]) -> web.StreamResponse:
    frames = [chunk({"role": "assistant", "content": "Once upon a time. " * 100})]
    data = [b"data: " + json.dumps(frame).encode() + b"\n\n" for frame in frames]
    return await stream(request, data)


def record_of(gateway, answered) -> dict[str, Any]:
    [*_, record] = [
        one for one in gateway.records() if one["requestId"] == answered.headers["x-request-id"]
    ]
    return record


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("status", [429, 503])
def test_a_provider_at_its_limit_hands_over_at_once(gateway, main, spare, status, streamed):
    main.behave(says(status, Retry_After="30"))
    began = time.monotonic()
    answered = ask(gateway, streamed=streamed)
    assert time.monotonic() - began < 2
    assert answered.status == 200
    assert (len(main.received), len(spare.received)) == (1, 1)
    assert main.received[0].raw == spare.received[0].raw
    assert spare.received[0].body["model"] == "their-name"
    record = record_of(gateway, answered)
    assert (record["event"], record["provider"]) == ("outcome", "spare")


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_a_provider_that_is_not_there_hands_over(gateway, spare, streamed):
    answered = ask(gateway, "elsewhere", streamed=streamed)
    assert answered.status == 200
    assert len(spare.received) == 1


@pytest.mark.parametrize(
    ("behaviour", "status", "calls"),
    [
        (reset, 502, 1),
        (hang, 504, 1),
        (says(500), 502, 3),
        (says(401), 502, 1),
        (says(400), 400, 1),
    ],
    ids=["reset", "silence", "500", "401", "400"],
)
def test_what_may_have_begun_is_not_handed_over(gateway, main, spare, behaviour, status, calls):
    main.behave(behaviour)
    answered = ask(gateway)
    assert check_problem(answered, status)["layer"] == "forward"
    assert (len(main.received), len(spare.received)) == (calls, 0)
    record = record_of(gateway, answered)
    assert (record["event"], record["provider"]) == ("refusal", "main")


def test_once_text_went_out_nobody_else_is_asked(gateway, main, spare):
    main.behave(breaks_off)
    answered = ask(gateway, streamed=True)
    assert answered.status == 200
    assert events(answered.body)[-1]["status"] == 502
    assert spare.received == []


def test_three_calls_is_all_there_is_over_both(gateway, main, spare):
    main.behave(says(503))
    spare.behave(says(429))
    check_problem(ask(gateway), 429)
    assert (len(main.received), len(spare.received)) == (1, 2)


def test_a_provider_that_keeps_failing_is_left_alone_and_taken_back(gateway, main, spare):
    main.behave(says(504))
    for _ in range(FAILURES):
        check_problem(ask(gateway, "fragile"), 502)
    main.received.clear()
    refused = ask(gateway, "fragile")
    problem = check_problem(refused, 503)
    assert (problem["layer"], problem["rule"]) == ("forward", "provider-breaker")
    assert 1 <= int(refused.headers["retry-after"]) <= 10
    assert main.received == []
    assert ask(gateway, "fragile-with-spare").status == 200
    assert (len(main.received), len(spare.received)) == (0, 1)
    assert send(gateway.url, "GET", "/readyz").status == 200

    main.behave(None)
    well_again = time.monotonic()
    while ask(gateway, "fragile").status != 200:
        assert time.monotonic() - well_again < 30
        time.sleep(0.5)
    assert len(main.received) == 1
    states = [line for line in gateway.log.splitlines() if "provider_breaker" in line]
    assert len(states) == 2
    assert all("fragile" in line for line in states)
    assert "open" in states[0]
    assert "closed" in states[1]


def test_requests_that_are_the_callers_fault_never_open_it(gateway, main):
    for status in (400, 404, 429):
        main.behave(says(status, Retry_After="30"))
        for _ in range(6):
            assert ask(gateway, "fragile").status in {400, 429, 502}
    main.behave(None)
    assert ask(gateway, "fragile").status == 200


def test_every_exchange_has_one_closing_record(gateway):
    closing: dict[str, list[str]] = {}
    for record in gateway.records():
        closing.setdefault(record["requestId"], []).append(record["event"])
    exchanges = {tuple(told) for told in closing.values() if "intent" in told}
    assert exchanges <= {("intent", "outcome"), ("intent", "refusal")}
