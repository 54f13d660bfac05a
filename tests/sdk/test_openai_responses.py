"""The responses of OpenAI's Python SDK, whole and accumulated from a stream, in its own types."""

from __future__ import annotations

import base64
import json
from typing import Any

import openai
import pytest
from aiohttp import web
from openai.types.responses import Response

from tests.simulator.client import bearer, events, send
from tests.simulator.gateway import Gateway, upstream_settings
from tests.simulator.upstream import Upstream, stream
from tests.vectors.responses_streams import translated

EMAIL = "ann@example.com"
SAID = f"Write to {EMAIL}, please."
CALL = {"index": 0, "id": "c", "function": {"name": "send", "arguments": f'{{"to": "{EMAIL}"}}'}}


@pytest.fixture(scope="module")
def upstream():
    with Upstream() as running:
        yield running


@pytest.fixture(scope="module")
def gateway(upstream, tmp_path_factory):
    home = tmp_path_factory.mktemp("responses") / "home"
    settings = upstream_settings(upstream.url)
    settings["OSTIARY_POLICY__KINDS__US_SSN"] = "block"
    with Gateway(home, settings) as running:
        yield running


@pytest.fixture(scope="module")
def client(gateway):
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key, max_retries=0) as made:
        yield made


def frames(*deltas: dict[str, Any]) -> list[bytes]:
    """The events of a response that says these deltas of a chat, in the API's own order."""
    chunks = [{"choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    lines = [f"data: {json.dumps(chunk)}\n\n".encode() for chunk in chunks]
    case = {"chunks": [base64.b64encode(line).decode() for line in lines]}
    return translated(case, "")


def speaking(*deltas: dict[str, Any]):
    async def speak(request: web.Request, _: dict[str, Any]) -> web.StreamResponse:
        return await stream(request, frames(*deltas))

    return speak


PARTS = (
    {"reasoning_content": "I know ann@exam"},
    {"reasoning_content": "ple.com well."},
    {"content": SAID[:13]},
    {"content": SAID[13:]},
    {"tool_calls": [CALL]},
)


def test_the_accumulated_response_says_what_the_events_said(client, upstream):
    upstream.behave(speaking(*PARTS))
    with client.responses.stream(model="gpt-4o", input="hi") as streamed:
        told = list(streamed)
        final = streamed.get_final_response()
    said = "".join(event.delta for event in told if event.type == "response.output_text.delta")
    assert said == final.output_text == "Write to [REDACTED], please."
    assert [item.type for item in final.output] == ["reasoning", "message", "function_call"]
    assert final.output[0].summary[0].text == "I know [REDACTED] well."
    assert final.output[2].arguments == '{"to": "[REDACTED]"}'
    assert [event.sequence_number for event in told if hasattr(event, "sequence_number")]
    assert EMAIL not in str(told)
    assert final.usage.total_tokens > 0


def test_the_types_of_the_sdk_take_every_event(client, gateway, upstream):
    upstream.behave(None)
    body = {"model": "gpt-4o", "input": "hi", "stream": True}
    for path in ("/v1/responses", "/openai/responses"):
        answered = send(gateway.url, "POST", path, body, bearer(gateway.key))
        whole = events(answered.body)[-1]["response"]
        Response.model_validate(whole)
    with client.responses.create(**body) as streamed:
        for event in streamed:
            type(event).model_validate(event.model_dump())


def test_a_blocked_response_is_incomplete_and_says_why(client, upstream):
    upstream.behave(speaking({"content": "It is 536-90-"}, {"content": "4399, and more. " * 50}))
    with client.responses.create(model="gpt-4o", input="hi", stream=True) as streamed:
        told = list(streamed)
    assert told[-1].type == "response.incomplete"
    assert told[-1].response.incomplete_details.reason == "content_filter"
    assert told[-1].response.output_text == "It is "
    assert "536" not in str(told)


def test_a_response_that_comes_whole_is_a_stream_to_the_sdk(client, upstream):
    async def whole(request: web.Request, _: dict[str, Any]) -> web.StreamResponse:
        return web.json_response(
            {
                "id": "resp_1",
                "object": "response",
                "status": "completed",
                "model": "gpt-4o",
                "tools": [],
                "output": [
                    {
                        "type": "message",
                        "id": "m",
                        "role": "assistant",
                        "status": "completed",
                        "content": [{"type": "output_text", "text": SAID, "annotations": []}],
                    }
                ],
            }
        )

    upstream.behave(whole)
    with client.responses.stream(model="gpt-4o", input="hi") as streamed:
        final = streamed.get_final_response()
    assert final.output_text == "Write to [REDACTED], please."


def test_a_stream_that_breaks_off_raises_the_error_of_the_sdk(client, upstream):
    async def breaks(request: web.Request, _: dict[str, Any]) -> web.StreamResponse:
        return await stream(request, frames({"content": "Hello there, you. " * 40})[:-3])

    upstream.behave(breaks)
    with (
        pytest.raises(openai.APIError, match="ended too early"),
        client.responses.create(model="gpt-4o", input="hi", stream=True) as streamed,
    ):
        list(streamed)


@pytest.mark.parametrize(
    ("fields", "code"),
    [({"previous_response_id": "r"}, "stateful_not_supported"), ({"input": []}, None)],
)
def test_what_is_refused_is_a_bad_request_error(client, upstream, fields, code):
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(**{"model": "gpt-4o", "input": "hi", **fields})
    assert code is None or caught.value.code == code
