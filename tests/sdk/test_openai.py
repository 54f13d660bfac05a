"""The openai package against a live gateway: it notices nothing, and neither does the model."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import openai
import pytest
from aiohttp import web

from tests.simulator.client import bearer, chat, send
from tests.simulator.gateway import Gateway, upstream_settings
from tests.simulator.upstream import Upstream, chunk, completion, stream

SPOKEN = [
    "Hello, can you help me?",
    "Zażółć gęślą jaźń. 日本語でお願いします。 Ελληνικά, עברית, العربية.",
    "👩‍👩‍👧‍👦 🏳️‍🌈 e\u0301 \U0001f600",
    "first line\nsecond line\r\n\n\ttabbed   spaces at the end   ",
    '```python\ndef f(x):\n    return {"a": [x, "\\u0041", \'</b>\']}\n```\n\n| a | b |\n|---|---|',
    "sentence of a long text, as people paste them — ünïcode. " * 1_800,
]
ANSWERED = [
    "Of course!",
    "Oczywiście. もちろんです。 Βεβαίως.",
    "🎉🎉 \u200d👍🏽",
    "1. one\n2. two\n\n\n   three   \n",
    '```rust\nfn main() { println!("<{}>", r#"x"#); }\n```\n<details>& &amp; &lt;</details>',
    "another long text, as models write them — ÄÖÜß. " * 2_100,
]
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "look_up",
            "description": "Looks something up.",
            "parameters": {"type": "object", "properties": {"place": {"type": "string"}}},
        },
    }
]
ARGUMENTS = ['{"place": "Łódź \\"old town\\"", "days": 3}', '{"place": "東京"}']


@pytest.fixture(scope="module")
def upstream():
    with Upstream() as running:
        yield running


@pytest.fixture(scope="module")
def gateway(upstream, tmp_path_factory):
    home = tmp_path_factory.mktemp("sdk") / "home"
    models = upstream_settings(upstream.url, ["gpt-4o", "gpt-4o-mini"])
    with Gateway(home, models) as running:
        yield running


@pytest.fixture(scope="module")
def strict(upstream, tmp_path_factory):
    """Three requests a minute; card numbers are blocked."""
    home = tmp_path_factory.mktemp("strict") / "home"
    variables = {
        **upstream_settings(upstream.url),
        "OSTIARY_LIMITS__REQUESTS_PER_MINUTE": "3",
        "OSTIARY_POLICY__KINDS__CREDIT_CARD": "block",
    }
    with Gateway(home, variables) as running:
        yield running


@pytest.fixture(autouse=True)
def fresh_model(upstream):
    upstream.behave(None)
    upstream.received.clear()


@pytest.fixture
def client(gateway):
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key, max_retries=0) as made:
        yield made


def answering(texts: list[str]):
    """A model that says these texts in turn, streamed in small pieces where that is asked."""
    left = list(texts)

    async def answer(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        text = left.pop(0)
        if not body.get("stream"):
            return web.json_response(completion(text))
        size = max(3, len(text) // 200)
        pieces = [text[at : at + size] for at in range(0, len(text), size)]
        chunks = [chunk({"role": "assistant", "content": ""})]
        chunks += [chunk({"content": piece}) for piece in pieces]
        chunks += [chunk({}, "stop"), {**chunk({}), "choices": [], "usage": USAGE}]
        return await stream(request, frames(*chunks))

    return answer


USAGE = {"prompt_tokens": 21, "completion_tokens": 34, "total_tokens": 55}


def frames(*chunks: dict[str, Any]) -> list[bytes]:
    """Chunks as the events of a whole stream."""
    return [*(b"data: " + json.dumps(c).encode() + b"\n\n" for c in chunks), b"data: [DONE]\n\n"]


def always(body: dict[str, Any]):
    """A model that gives this very answer."""

    async def answer(request: web.Request, _: dict[str, Any]) -> web.StreamResponse:
        return web.json_response(body)

    return answer


def streaming(*chunks: dict[str, Any]):
    """A model that streams these chunks."""

    async def answer(request: web.Request, _: dict[str, Any]) -> web.StreamResponse:
        return await stream(request, frames(*chunks))

    return answer


def heard(upstream) -> list[list[dict[str, Any]]]:
    """The messages of each request that the model got."""
    return [received.body["messages"] for received in upstream.received]


def test_a_conversation_arrives_word_for_word_both_ways(client, upstream):
    upstream.behave(answering(ANSWERED))
    messages = [{"role": "system", "content": "You are a helpful assistant. Mind the ümläuts."}]
    sent = []
    for question, answer in zip(SPOKEN, ANSWERED, strict=True):
        messages.append({"role": "user", "content": question})
        sent.append(list(messages))
        done = client.chat.completions.create(model="gpt-4o", messages=messages)
        assert done.choices[0].message.content == answer
        assert done.choices[0].finish_reason == "stop"
        messages.append({"role": "assistant", "content": answer})
    assert heard(upstream) == sent


def test_a_streamed_conversation_arrives_word_for_word_both_ways(client, upstream):
    upstream.behave(answering(ANSWERED))
    messages = []
    sent = []
    for question, answer in zip(SPOKEN, ANSWERED, strict=True):
        messages.append({"role": "user", "content": question})
        sent.append(list(messages))
        chunks = list(
            client.chat.completions.create(model="gpt-4o", messages=messages, stream=True)
        )
        choices = [choice for made in chunks for choice in made.choices]
        assert "".join(choice.delta.content or "" for choice in choices) == answer
        assert [choice.finish_reason for choice in choices if choice.finish_reason] == ["stop"]
        assert choices[0].delta.role == "assistant"
        messages.append({"role": "assistant", "content": answer})
    assert heard(upstream) == sent


def test_the_async_client_converses_whole_and_streamed_at_once(gateway, upstream):
    async def converse() -> list[str]:
        options = {"base_url": f"{gateway.url}/v1", "api_key": gateway.key, "max_retries": 0}
        async with openai.AsyncOpenAI(**options) as client:

            async def whole(text: str) -> str:
                messages = [{"role": "user", "content": text}]
                done = await client.chat.completions.create(model="gpt-4o", messages=messages)
                return done.choices[0].message.content

            async def streamed(text: str) -> str:
                messages = [{"role": "user", "content": text}]
                made = await client.chat.completions.create(
                    model="gpt-4o", messages=messages, stream=True
                )
                return "".join([c.choices[0].delta.content or "" async for c in made])

            return await asyncio.gather(*(ask(t) for t in SPOKEN for ask in (whole, streamed)))

    upstream.text = "Hello from the model."
    assert asyncio.run(converse()) == [upstream.text] * (2 * len(SPOKEN))
    spoken = sorted(messages[0]["content"] for messages in heard(upstream))
    assert spoken == sorted([*SPOKEN, *SPOKEN])


def called(arguments: list[str]) -> dict[str, Any]:
    calls = [
        {"id": f"call_{n}", "type": "function", "function": {"name": "look_up", "arguments": text}}
        for n, text in enumerate(arguments)
    ]
    made = completion("")
    made["choices"][0]["message"] = {"role": "assistant", "content": None, "tool_calls": calls}
    made["choices"][0]["finish_reason"] = "tool_calls"
    return made


def test_a_tool_call_and_its_result_go_round(client, upstream):
    upstream.behave(always(called(ARGUMENTS)))
    messages = [{"role": "user", "content": "What is on?"}]
    asked = client.chat.completions.create(model="gpt-4o", messages=messages, tools=TOOLS)
    choice = asked.choices[0]
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content is None
    assert [call.function.arguments for call in choice.message.tool_calls] == ARGUMENTS
    assert [call.id for call in choice.message.tool_calls] == ["call_0", "call_1"]
    assert upstream.received[-1].body["tools"] == TOOLS

    messages.append(choice.message.model_dump(exclude_none=True))
    messages += [
        {"role": "tool", "tool_call_id": call.id, "content": '{"answer": "ratusz\\n"}'}
        for call in choice.message.tool_calls
    ]
    upstream.behave(answering(["The town hall."]))
    done = client.chat.completions.create(model="gpt-4o", messages=messages, tools=TOOLS)
    assert done.choices[0].message.content == "The town hall."
    assert heard(upstream)[-1] == messages


def test_streamed_tool_arguments_are_joined_to_what_the_model_said(client, upstream):
    chunks = [chunk({"role": "assistant", "content": None})]
    for index, arguments in enumerate(ARGUMENTS):
        function = {"name": "look_up", "arguments": ""}
        begin = {"index": index, "id": f"call_{index}", "type": "function", "function": function}
        chunks.append(chunk({"tool_calls": [begin]}))
        chunks += [
            chunk({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
            for piece in re.findall(r"..?", arguments)
        ]
    upstream.behave(streaming(*chunks, chunk({}, "tool_calls")))
    made = client.chat.completions.create(
        model="gpt-4o", messages=[{"role": "user", "content": "?"}], tools=TOOLS, stream=True
    )
    calls: dict[int, dict[str, str]] = {}
    reasons = []
    for choice in (choice for part in made for choice in part.choices):
        reasons.append(choice.finish_reason)
        for call in choice.delta.tool_calls or ():
            so_far = calls.setdefault(call.index, {"id": "", "name": "", "arguments": ""})
            so_far["id"] += call.id or ""
            so_far["name"] += call.function.name or ""
            so_far["arguments"] += call.function.arguments or ""
    assert [calls[index]["arguments"] for index in sorted(calls)] == ARGUMENTS
    assert [calls[index]["name"] for index in sorted(calls)] == ["look_up", "look_up"]
    assert [calls[index]["id"] for index in sorted(calls)] == ["call_0", "call_1"]
    assert [reason for reason in reasons if reason] == ["tool_calls"]


def test_usage_comes_last_where_it_is_asked_for_and_else_not(client, upstream):
    upstream.behave(answering(["a b c"] * 2))
    asked = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}], "stream": True}
    told = list(client.chat.completions.create(**asked, stream_options={"include_usage": True}))
    assert told[-1].choices == []
    assert told[-1].usage.model_dump(exclude_none=True) == USAGE
    assert [part.usage for part in told[:-1]] == [None] * (len(told) - 1)
    untold = list(client.chat.completions.create(**asked))
    assert [part for part in untold if part.usage or not part.choices] == []


def test_two_choices_stay_apart(client, upstream):
    made = completion("heads")
    made["choices"].append({**made["choices"][0], "index": 1})
    made["choices"][1]["message"] = {"role": "assistant", "content": "tails"}
    upstream.behave(always(made))
    asked = {"model": "gpt-4o", "messages": [{"role": "user", "content": "toss"}], "n": 2}
    done = client.chat.completions.create(**asked)
    assert [choice.message.content for choice in done.choices] == ["heads", "tails"]
    assert upstream.received[-1].body["n"] == 2

    deltas = [
        {**chunk({"content": letter}), "choices": [{"index": i, "delta": {"content": letter}}]}
        for letters in zip("heads", "tails", strict=True)
        for i, letter in enumerate(letters)
    ]
    ends = [{"index": i, "delta": {}, "finish_reason": "stop"} for i in (0, 1)]
    upstream.behave(streaming(*deltas, *({**chunk({}), "choices": [end]} for end in ends)))
    texts = ["", ""]
    for choice in (
        c for part in client.chat.completions.create(**asked, stream=True) for c in part.choices
    ):
        texts[choice.index] += choice.delta.content or ""
    assert texts == ["heads", "tails"]


UNKNOWN = {
    "x_new_2027": {"nested": [1, 2.5, None, True, {"ключ": "значение"}]},
    "metadata": {"run": "nightly"},
    "reasoning_effort": "low",
    "logit_bias": {"50256": -100},
    "seed": 7,
    "safety_identifier": "somebody",
}


def test_fields_that_the_gateway_does_not_know_arrive_untouched(client, upstream):
    messages = [{"role": "user", "content": "hi", "x_hint": ["a", {"b": 1}]}]
    client.chat.completions.create(model="gpt-4o", messages=messages, extra_body=UNKNOWN)
    body = upstream.received[-1].body
    assert {name: body[name] for name in UNKNOWN} == UNKNOWN
    assert body["messages"] == messages
    assert set(body) == {"model", "messages", "stream", *UNKNOWN}


def test_stream_options_arrive_with_usage_asked_for(client, upstream):
    messages = [{"role": "user", "content": "hi"}]
    options = {"include_obfuscation": False}
    list(
        client.chat.completions.create(
            model="gpt-4o", messages=messages, stream=True, stream_options=options
        )
    )
    assert upstream.received[-1].body["stream_options"] == {**options, "include_usage": True}


def test_models_are_listed_and_one_is_found(client):
    assert {model.id for model in client.models.list()} == {"gpt-4o", "gpt-4o-mini"}
    assert client.models.retrieve("gpt-4o").id == "gpt-4o"
    with pytest.raises(openai.NotFoundError) as refusal:
        client.models.retrieve("gpt-5000")
    assert refusal.value.code == "model_not_found"


def ask(client, **fields: Any):
    asked = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}], **fields}
    return client.chat.completions.create(**asked)


@pytest.mark.parametrize("shape", ["real", "other-checksum", "words"])
def test_a_wrong_key_is_an_authentication_error_that_says_what_to_do(gateway, upstream, shape):
    middle = "1" if gateway.key[30] != "1" else "2"
    wrong = {
        "real": gateway.key[:30] + middle + gateway.key[31:],
        "other-checksum": gateway.key[:-1] + ("1" if gateway.key[-1] != "1" else "2"),
        "words": "sk-not-a-key",
    }[shape]
    options = {"base_url": f"{gateway.url}/v1", "api_key": wrong, "max_retries": 0}
    with openai.OpenAI(**options) as client:
        with pytest.raises(openai.AuthenticationError) as refusal:
            ask(client)
    assert refusal.value.code == "invalid_credential"
    assert refusal.value.type == "authentication_error"
    assert len(refusal.value.body["message"].split()) >= 4
    assert wrong not in str(refusal.value)
    assert upstream.received == []


def test_an_unknown_model_is_not_found(client, upstream):
    with pytest.raises(openai.NotFoundError) as refusal:
        ask(client, model="gpt-5000")
    assert (refusal.value.code, refusal.value.param) == ("model_not_found", "model")
    assert upstream.received == []


@pytest.mark.parametrize(
    ("field", "value"), [("temperature", 3), ("max_tokens", 0), ("n", -1), ("top_p", "x")]
)
def test_a_wrong_field_is_a_bad_request_error_that_names_it(client, upstream, field, value):
    with pytest.raises(openai.BadRequestError) as refusal:
        ask(client, **{field: value})
    assert refusal.value.param == field
    assert refusal.value.code == "invalid_request"
    assert field in refusal.value.body["message"]
    assert refusal.value.request_id
    assert upstream.received == []


@pytest.mark.parametrize("size", [3_000_000, 11_000_000])
def test_what_is_too_long_is_refused_cleanly(client, upstream, size):
    with pytest.raises(openai.APIStatusError) as refusal:
        ask(client, messages=[{"role": "user", "content": "a" * size}])
    assert refusal.value.status_code == 413
    assert refusal.value.code == "content_too_large"
    assert upstream.received == []
    assert ask(client).choices[0].message.content


def test_the_limit_of_the_model_is_a_rate_limit_error(client, upstream):
    async def busy(request: web.Request, _: dict[str, Any]) -> web.StreamResponse:
        return web.json_response({}, status=429, headers={"Retry-After": "17"})

    upstream.behave(busy)
    with pytest.raises(openai.RateLimitError) as refusal:
        ask(client)
    assert refusal.value.response.headers["retry-after"] == "17"
    assert refusal.value.code == "rate_limit_exceeded"


def test_policy_and_limits_of_the_gateway_are_the_errors_that_the_sdk_knows(strict, upstream):
    options = {"base_url": f"{strict.url}/v1", "api_key": strict.key, "max_retries": 0}
    with openai.OpenAI(**options) as client:
        with pytest.raises(openai.BadRequestError) as blocked:
            ask(client, messages=[{"role": "user", "content": "Charge 4111 1111 1111 1111"}])
        assert blocked.value.code == "content_filter"
        assert "credit_card" in blocked.value.body["message"]
        assert upstream.received == []
        assert ask(client).choices
        assert ask(client).choices
        with pytest.raises(openai.RateLimitError) as refusal:
            ask(client)
    assert refusal.value.code == "rate_limit_exceeded"
    assert int(refusal.value.response.headers["retry-after"]) >= 1
    assert refusal.value.response.headers["x-ratelimit-limit-requests"] == "3"


def test_a_stream_that_breaks_off_raises_the_error_of_the_sdk(client, upstream):
    async def break_off(request: web.Request, _: dict[str, Any]) -> web.StreamResponse:
        return await stream(request, frames(chunk({"content": "Once upon a time"}))[:1])

    upstream.behave(break_off)
    with pytest.raises(openai.APIError) as refusal:
        list(ask(client, stream=True))
    assert refusal.value.code == "provider_failed"


FORWARDED = {"content-type", "accept", "user-agent", "traceparent", "authorization", "host",
             "content-length", "accept-encoding"}  # fmt: skip


def test_no_credential_of_the_caller_is_forwarded(gateway, upstream):
    headers = {
        **bearer(gateway.key),
        "api-key": gateway.key,
        "x-api-key": gateway.key,
        "x-policy-id": "permissive",
        "x-ms-client-request-id": "5",
        "X-Ms-Anything": "5",
        "Cookie": "session=abcdef",
        "X-Forwarded-For": "203.0.113.9",
        "Forwarded": "for=203.0.113.9",
        "User-Agent": "distinctive-agent/1.0",
        "OpenAI-Organization": "org-1",
        "X-Anything-Else": "yes",
        "Origin": "https://app.example",
        "Referer": "https://app.example/page",
    }
    answered = send(gateway.url, "POST", "/v1/chat/completions", chat(), headers)
    assert answered.status == 200
    got = {name.lower(): value for name, value in upstream.received[-1].headers.items()}
    assert set(got) <= FORWARDED
    assert got["authorization"] == "Bearer upstream-secret-credential"
    everything = json.dumps(got) + upstream.received[-1].raw.decode()
    for secret in (gateway.key, "distinctive-agent", "abcdef", "203.0.113.9", "permissive"):
        assert secret not in everything
    assert "upstream-secret-credential" not in str(answered)


TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def traced(gateway, upstream, traceparent: str | None) -> list[str]:
    headers = {**bearer(gateway.key), **({"traceparent": traceparent} if traceparent else {})}
    assert send(gateway.url, "POST", "/v1/chat/completions", chat(), headers).status == 200
    got = {name.lower(): value for name, value in upstream.received[-1].headers.items()}
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}", got["traceparent"])
    return got["traceparent"].split("-")


def test_the_trace_goes_on_to_the_model_under_a_new_span(gateway, upstream):
    _, trace, span, flags = traced(gateway, upstream, f"00-{TRACE}-00f067aa0ba902b7-01")
    assert (trace, flags) == (TRACE, "01")
    assert span not in {"00f067aa0ba902b7", "0" * 16}


@pytest.mark.parametrize(
    "malformed",
    [
        None,
        f"00-{TRACE.upper()}-00f067aa0ba902b7-01",
        f"ff-{TRACE}-00f067aa0ba902b7-01",
        f"00-{'0' * 32}-00f067aa0ba902b7-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE}-00f067aa0ba902b7-01-more",
        f"00-{TRACE}-00f067aa0ba902b7",
    ],
)
def test_a_missing_or_malformed_trace_begins_a_new_one(gateway, upstream, malformed):
    traces = {traced(gateway, upstream, malformed)[1] for _ in range(2)}
    assert len(traces) == 2
    assert not traces & {TRACE, "0" * 32}
