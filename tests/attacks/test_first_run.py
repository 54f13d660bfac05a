"""Without any configuration every way of asking a model answers, whole and streamed."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from ostiary.edge.routes import ROUTES
from ostiary.exchange import Dialect, Face
from tests.simulator.client import bearer, events, send
from tests.simulator.gateway import Gateway

BODIES: dict[Dialect, dict[str, Any]] = {
    Dialect.CHAT: {"messages": [{"role": "user", "content": "good day"}]},
    Dialect.RESPONSES: {"input": [{"role": "user", "content": "good day"}]},
    Dialect.EMBEDDINGS: {"input": ["good day", "good night"]},
}
ASKING = [route for route in ROUTES if route.converses and route.face is Face.OPENAI]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    with Gateway(tmp_path_factory.mktemp("first") / "home") as running:
        yield running


@pytest.mark.parametrize("route", ASKING, ids=lambda route: route.path)
def test_the_built_in_model_answers_on_every_route(gateway, route):
    path = route.path.replace("{deployment}", "gpt-4o").replace("{project}", "mine")
    body = {"model": "gpt-4o", **BODIES[route.dialect]}
    answered = send(gateway.url, "POST", path, body, bearer(gateway.key))
    assert answered.status == 200, answered
    if route.dialect is Dialect.EMBEDDINGS:
        assert len(answered.json()["data"]) == 2
        return
    assert b"Echo: good day" in answered.body
    streamed = send(gateway.url, "POST", path, {**body, "stream": True}, bearer(gateway.key))
    assert streamed.status == 200, streamed
    told = events(streamed.body)
    assert told[-1] == "[DONE]" or told[-1]["type"] == "response.completed"


def test_the_sdk_reads_its_responses_and_embeddings(gateway):
    options = {"base_url": f"{gateway.url}/v1", "api_key": gateway.key, "max_retries": 0}
    with openai.OpenAI(**options) as client:
        whole = client.responses.create(model="gpt-4o", input="good day")
        assert (whole.output_text, whole.status) == ("Echo: good day", "completed")
        cut = client.responses.create(model="gpt-4o", input="good day", max_output_tokens=2)
        assert (cut.output_text, cut.incomplete_details.reason) == (
            "Echo: good ",
            "max_output_tokens",
        )
        with client.responses.stream(model="gpt-4o", input="good day") as stream:
            assert stream.get_final_response().output_text == "Echo: good day"
        asked = {"model": "gpt-4o", "dimensions": 3}
        one, same, other = (
            client.embeddings.create(input=text, **asked).data[0].embedding
            for text in ("a", "a", "b")
        )
    assert len(one) == 3
    assert one == same != other
