"""The openai package's other two surfaces against a live gateway: responses and embeddings."""

from __future__ import annotations

import asyncio
import json

import openai
import pytest
from aiohttp import web

from tests.simulator.answers import (
    PLACE,
    call_item,
    message_item,
    named_frame,
    response,
    response_frames,
    vector,
)
from tests.simulator.gateway import Gateway, upstream_settings
from tests.simulator.upstream import Upstream, stream

MODELS = ["gpt-4o", "text-embedding-3-small"]
ANSWER = 'Oczywiście: もちろん 🎉\n\n```python\nprint("<b>&amp;</b>")\n```\n   the end  .'
TOOL = {
    "type": "function",
    "name": "look_up",
    "parameters": {
        "type": "object",
        "properties": {"place": {"type": "string"}, "days": {"type": "integer"}},
        "required": ["place", "days"],
        "additionalProperties": False,
    },
    "strict": True,
}
SEQUENCE = [
    "response.created",
    "response.in_progress",
    "response.output_item.added",
    "response.content_part.added",
    "response.output_text.delta",
    "response.output_text.done",
    "response.content_part.done",
    "response.output_item.done",
    "response.completed",
]


@pytest.fixture(scope="module")
def upstream():
    with Upstream(ANSWER) as running:
        yield running


@pytest.fixture(scope="module")
def gateway(upstream, tmp_path_factory):
    home = tmp_path_factory.mktemp("surfaces") / "home"
    with Gateway(home, upstream_settings(upstream.url, MODELS)) as running:
        yield running


@pytest.fixture(autouse=True)
def fresh_model(upstream):
    upstream.behave(None)
    upstream.received.clear()


@pytest.fixture
def client(gateway):
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key, max_retries=0) as made:
        yield made


def responses(frames):
    """A model that streams these frames."""

    async def answer(request: web.Request, _: object) -> web.StreamResponse:
        return await stream(request, frames)

    return answer


def test_a_response_arrives_whole_and_nothing_is_stored_at_the_provider(client, upstream):
    turns = [{"role": "user", "content": [{"type": "input_text", "text": "Zażółć 日本語?"}]}]
    done = client.responses.create(
        model="gpt-4o", instructions="Be kind.", input=turns, max_output_tokens=100, store=True
    )
    assert done.output_text == ANSWER
    assert done.status == "completed"
    assert (done.usage.input_tokens, done.usage.output_tokens, done.usage.total_tokens) == (
        7,
        5,
        12,
    )
    body = upstream.received[-1].body
    assert body["store"] is False
    assert body["input"] == turns
    assert body["instructions"] == "Be kind."
    assert upstream.received[-1].path == "/v1/responses"


def test_a_streamed_response_keeps_the_order_of_events(client, upstream):
    events = list(client.responses.create(model="gpt-4o", input="hi", stream=True))
    kinds = [event.type for event in events]
    assert [k for i, k in enumerate(kinds) if i == 0 or k != kinds[i - 1]] == SEQUENCE
    numbers = [event.sequence_number for event in events]
    assert numbers == sorted(set(numbers))
    deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert "".join(deltas) == ANSWER
    assert len(deltas) > 3
    assert events[-1].response.output_text == ANSWER
    assert upstream.received[-1].body["store"] is False


def test_the_packages_own_stream_object_puts_the_response_together(client):
    with client.responses.stream(model="gpt-4o", input="hi") as made:
        for _ in made:
            pass
        assert made.get_final_response().output_text == ANSWER


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_a_tool_call_and_its_result_go_round(client, upstream, streamed):
    def ask(turns):
        options = {"model": "gpt-4o", "input": turns, "tools": [TOOL]}
        if not streamed:
            return client.responses.create(**options)
        return list(client.responses.create(**options, stream=True))[-1].response

    turns = [{"role": "user", "content": "What is on?"}]
    (call,) = ask(turns).output
    assert (call.type, call.name, call.call_id) == ("function_call", "look_up", "call_1")
    assert json.loads(call.arguments) == {"place": PLACE, "days": 3}
    sent = call.model_dump(exclude_none=True)
    result = {"type": "function_call_output", "call_id": call.call_id, "output": '{"a": "ratusz"}'}
    assert ask([*turns, sent, result]).output_text == ANSWER
    assert upstream.received[-1].body["input"] == [*turns, sent, result]
    assert upstream.received[-1].body["tools"] == [TOOL]


def test_streamed_arguments_are_joined_to_what_the_model_said(client, upstream):
    arguments = json.dumps({"place": "東京 " * 40, "days": 1}, ensure_ascii=False)
    upstream.behave(responses(response_frames({}, call_item("look_up", arguments), size=3)))
    events = list(client.responses.create(model="gpt-4o", input="?", tools=[TOOL], stream=True))
    kind = "response.function_call_arguments"
    assert "".join(e.delta for e in events if e.type == f"{kind}.delta") == arguments
    assert [e.arguments for e in events if e.type == f"{kind}.done"] == [arguments]


def test_a_response_that_breaks_off_raises_the_error_of_the_package(client, upstream):
    upstream.behave(responses(response_frames({}, message_item(ANSWER))[:6]))
    with pytest.raises(openai.APIError) as refusal:
        list(client.responses.create(model="gpt-4o", input="hi", stream=True))
    assert refusal.value.code == "provider_failed"


def test_a_response_that_the_model_could_not_finish_says_so(client, upstream):
    made = response({}, [message_item("Once upon")], "incomplete")
    made["incomplete_details"] = {"reason": "max_output_tokens"}
    frames = response_frames({}, message_item("Once upon"))[:-1]
    frames.append(
        named_frame({"type": "response.incomplete", "response": made, "sequence_number": 99})
    )
    upstream.behave(responses(frames))
    events = list(client.responses.create(model="gpt-4o", input="hi", stream=True))
    assert events[-1].type == "response.incomplete"
    assert events[-1].response.incomplete_details.reason == "max_output_tokens"


@pytest.mark.parametrize(
    "kept", [{"previous_response_id": "resp_1"}, {"conversation": "conv_1"}, {"background": True}]
)
def test_what_the_provider_would_have_to_keep_is_refused_by_its_name(client, upstream, kept):
    with pytest.raises(openai.BadRequestError) as refusal:
        client.responses.create(model="gpt-4o", input="hi", **kept)
    assert refusal.value.param == next(iter(kept))
    assert upstream.received == []


def test_personal_data_in_any_part_of_a_response_request_does_not_reach_the_model(client, upstream):
    turns = [
        {"role": "user", "content": [{"type": "input_text", "text": "I am ada@corp.example"}]},
        {
            "type": "function_call",
            "call_id": "c",
            "name": "f",
            "arguments": '{"m":"bob@corp.example"}',
        },
        {"type": "function_call_output", "call_id": "c", "output": "eve@corp.example"},
    ]
    client.responses.create(model="gpt-4o", instructions="zoe@corp.example", input=turns)
    assert "corp.example" not in upstream.received[-1].raw.decode()


EMBEDDED = ["one text", "zażółć gęślą jaźń 日本語"]


@pytest.mark.parametrize("encoding", [None, "float", "base64"])
def test_embeddings_arrive_number_for_number(client, upstream, encoding):
    asked = {"model": MODELS[1], "input": EMBEDDED}
    made = client.embeddings.create(**asked, **({"encoding_format": encoding} if encoding else {}))
    rows = [row.embedding for row in made.data]
    if encoding == "base64":
        assert all(isinstance(row, str) for row in rows)
    else:
        assert rows == [vector(text) for text in EMBEDDED]
    assert [row.index for row in made.data] == [0, 1]
    assert made.usage.total_tokens == 7
    assert upstream.received[-1].body["input"] == EMBEDDED


def test_one_text_and_fewer_dimensions_arrive_as_asked(client, upstream):
    made = client.embeddings.create(model=MODELS[1], input=EMBEDDED[1], dimensions=4)
    assert made.data[0].embedding == vector(EMBEDDED[1], 4)
    assert upstream.received[-1].body["dimensions"] == 4


def test_personal_data_is_not_embedded(client, upstream):
    client.embeddings.create(model=MODELS[1], input=["fine", "mail ada@corp.example now"])
    assert "ada@corp.example" not in upstream.received[-1].raw.decode()


@pytest.mark.parametrize("tokens", [[1, 2, 3], [[1, 2], [3]]], ids=["one", "several"])
def test_token_ids_are_refused_because_nobody_can_read_them(client, upstream, tokens):
    with pytest.raises(openai.BadRequestError) as refusal:
        client.embeddings.create(model=MODELS[1], input=tokens)
    assert refusal.value.body["message"]
    assert upstream.received == []


def test_the_async_client_does_all_at_once(gateway):
    async def many() -> list[object]:
        options = {"base_url": f"{gateway.url}/v1", "api_key": gateway.key, "max_retries": 0}
        async with openai.AsyncOpenAI(**options) as client:

            async def whole() -> str:
                return (await client.responses.create(model="gpt-4o", input="hi")).output_text

            async def streamed() -> str:
                made = await client.responses.create(model="gpt-4o", input="hi", stream=True)
                return "".join([e.delta async for e in made if e.type.endswith("text.delta")])

            async def embedded() -> list[float]:
                made = await client.embeddings.create(model=MODELS[1], input="x")
                return made.data[0].embedding

            calls = (whole, streamed, embedded)
            return await asyncio.gather(*(call() for call in calls * 10))

    assert asyncio.run(many()) == [ANSWER, ANSWER, vector("x")] * 10
