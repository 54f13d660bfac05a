"""The npm clients against a live gateway: each as it is published, told nothing but an address.

Each client is one script under tests/sdk/node that plays its acts and prints what came of them;
the tests here say what should have. `make test` installs the clients from their lock.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.absent import absent
from tests.simulator.answers import (
    PLACE,
    call_item,
    chunks,
    completion,
    embeddings,
    message_item,
    response,
    response_frames,
    tool_completion,
    vector,
    wanted_tool,
)
from tests.simulator.command import ostiary
from tests.simulator.gateway import Gateway, upstream_settings
from tests.simulator.upstream import Received, Upstream, stream

SCRIPTS = Path(__file__).parent / "node"
MODEL, EMBEDDER = "gpt-4o", "text-embedding-3-small"
CLIENTS = {
    "openai": ("openai.mjs",),
    "azure-openai": ("openai.mjs", "azure"),
    "azure-rest": ("azure-rest.mjs",),
    "vercel": ("vercel.mjs",),
}

CHAT_PATHS = {"/v1/chat/completions", "/v1/responses", "/v1/embeddings"}

CONVERSATION = {
    "Hello, can you help me?": "Of course!",
    "Zażółć gęślą jaźń. 日本語で 👩‍👩‍👧‍👦 e\u0301": "はい 🎉 Βεβαίως.",
    "first line\nsecond\r\n\n\ttabbed   end   ": "1. one\n\n   three   \n",
    '```js\nconst f = (x) => `</b> ${x} "\\u0041"`;\n```': "<details>& &amp; &lt;</details>",
    "a long text, as people paste them — ünïcode. " * 1_000: "a long answer — ÄÖÜß. " * 2_000,
}
QUESTIONS, ANSWERS = list(CONVERSATION), list(CONVERSATION.values())
CARD = "Charge 5555 5555 5555 4444, please."
TEXTS = ["first text", "zażółć 日本語"]
TOOL = {
    "question": "What is on?",
    "name": "look_up",
    "parameters": {"type": "object", "properties": {"place": {"type": "string"}}},
    "result": '{"answer": "ratusz\\n"}',
}
FROM_THE_TOOL = "The town hall."


@dataclass(frozen=True)
class Played:
    """What a client made of its acts, and what the model was sent meanwhile."""

    client: str
    told: dict[str, Any]
    received: list[Received]

    def of(self, act: str) -> Any:
        """What came of one act; an act that the client could not play fails here."""
        told = self.told[act]
        assert not (isinstance(told, dict) and "failed" in told), told
        return told


def own_key(gateway: Gateway, user: str) -> str:
    """A key of a person of her own, whose limit no one else uses up."""
    made = ostiary(gateway.home, "keys", "create", "--user", user, "--name", "node", "--json")
    return made.json["apiKey"]


@pytest.fixture(scope="module")
def node() -> str:
    found = shutil.which("node")
    if found is None:
        absent("node is not installed")
    if not (SCRIPTS / "node_modules").is_dir():
        absent("the npm clients are not installed: `make test` does it")
    return found


def spoken(turn: dict[str, Any]) -> str:
    """The text of a turn, in one string or in parts."""
    content = turn.get("content")
    return content if isinstance(content, str) else "".join(part["text"] for part in content or ())


async def answer(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    """Call the tool where there is one; else say what belongs to the last question."""
    if request.path.endswith("/embeddings"):
        return web.json_response(embeddings(body))
    tool = wanted_tool(body)
    turns = body.get("messages") or body["input"]
    turns = turns if isinstance(turns, list) else [{"role": "user", "content": turns}]
    said = CONVERSATION.get(spoken(turns[-1]), FROM_THE_TOOL)
    if request.path.endswith("/responses"):
        item = call_item(*tool) if tool else message_item(said)
        if body.get("stream"):
            return await stream(request, response_frames(body, item, max(3, len(said) // 200)))
        return web.json_response(response(body, [item]))
    if body.get("stream"):
        return await stream(request, chunks(said, max(3, len(said) // 200)))
    return web.json_response(tool_completion(*tool) if tool else completion(said))


@pytest.fixture(scope="module")
def upstream():
    with Upstream() as running:
        running.behave(answer)
        yield running


@pytest.fixture(scope="module")
def gateway(upstream, tmp_path_factory):
    """Card numbers are blocked."""
    home = tmp_path_factory.mktemp("node") / "home"
    settings = upstream_settings(upstream.url, [MODEL, EMBEDDER])
    with Gateway(home, {**settings, "OSTIARY_POLICY__KINDS__CREDIT_CARD": "block"}) as running:
        yield running


@pytest.fixture(scope="module")
def limited(upstream, tmp_path_factory):
    """Twenty requests a minute: one passes every three seconds once they are used up."""
    home = tmp_path_factory.mktemp("limited") / "home"
    settings = upstream_settings(upstream.url, [MODEL])
    with Gateway(home, {**settings, "OSTIARY_LIMITS__REQUESTS_PER_MINUTE": "20"}) as running:
        yield running


@pytest.fixture(scope="module", params=CLIENTS)
def played(request, node, upstream, gateway, limited) -> Played:
    """One run of a client's script: all its acts."""
    key = gateway.key
    given = {
        "url": gateway.url,
        "key": key,
        "wrongKey": key[:30] + ("1" if key[30] != "1" else "2") + key[31:],
        "limitedUrl": limited.url,
        "limitedKey": own_key(limited, request.param),
        "model": MODEL,
        "embedder": EMBEDDER,
        "questions": QUESTIONS,
        "card": CARD,
        "tool": TOOL,
        "texts": TEXTS,
    }
    upstream.received.clear()
    script, *arguments = CLIENTS[request.param]
    done = subprocess.run(
        [node, str(SCRIPTS / script), *arguments],
        input=json.dumps(given).encode(),
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return Played(request.param, json.loads(done.stdout), list(upstream.received))


with_responses = pytest.mark.parametrize(
    "played", ["openai", "azure-openai", "vercel"], indirect=True
)


def asked(played: Played, path: str, *, streamed: bool = False) -> list[list[dict[str, str]]]:
    """The conversations that the model was sent on a path, as role and text."""
    bodies = [r.body for r in played.received if r.path == path]
    bodies = [b for b in bodies if bool(b.get("stream")) is streamed]
    turns = [b.get("messages") or b["input"] for b in bodies if not b.get("tools")]
    return [
        [{"role": turn["role"], "content": spoken(turn)} for turn in conversation]
        for conversation in turns
        if isinstance(conversation, list)
    ]


def dialogue() -> list[list[dict[str, str]]]:
    """What the model is sent at each turn of the conversation."""
    turns: list[dict[str, str]] = []
    sent = []
    for question, reply in CONVERSATION.items():
        turns.append({"role": "user", "content": question})
        sent.append(list(turns))
        turns.append({"role": "assistant", "content": reply})
    return sent


def test_a_conversation_arrives_word_for_word_both_ways(played):
    assert played.of("whole") == ANSWERS
    assert asked(played, "/v1/chat/completions")[: len(QUESTIONS)] == dialogue()


def test_a_streamed_conversation_arrives_word_for_word_both_ways(played):
    assert played.of("streamed") == ANSWERS
    assert asked(played, "/v1/chat/completions", streamed=True) == dialogue()


def test_a_tool_call_and_its_result_go_round(played):
    came = played.of("tool")
    assert (came["name"], came["said"]) == (TOOL["name"], FROM_THE_TOOL)
    assert json.loads(came["arguments"]) == {"place": PLACE}
    assert came["reason"] in {"tool_calls", "tool-calls"}
    bodies = [r.body for r in played.received if r.path == "/v1/chat/completions"]
    question, call, result = [b for b in bodies if b.get("tools")][-1]["messages"]
    assert spoken(question) == TOOL["question"]
    assert json.loads(call["tool_calls"][0]["function"]["arguments"]) == {"place": PLACE}
    assert (result["role"], result["content"]) == ("tool", TOOL["result"])


REFUSALS = {
    "policy": (400, "content_filter", "credit_card"),
    "wrongKey": (401, "invalid_credential", "key"),
    "wrongModel": (404, "model_not_found", "model"),
    "tooLong": (413, "content_too_large", "2 MB"),
}


@pytest.mark.parametrize("act", REFUSALS)
def test_a_refusal_is_the_clients_own_error_in_words(played, act):
    refusal = played.of(act)
    status, code, word = REFUSALS[act]
    assert refusal["natural"], refusal
    assert (refusal["status"], refusal["code"]) == (status, code)
    assert word in refusal["message"]
    assert len(refusal["message"].split()) >= 4


def test_nothing_that_was_refused_reached_the_model(played):
    sent = json.dumps([received.body for received in played.received])
    assert played.of("policy")["status"] == 400
    assert "5555" not in sent
    assert "gpt-5000" not in sent
    assert "a" * 10_000 not in sent


def test_the_limit_is_the_clients_own_error_and_its_retry_obeys(played):
    came = played.of("limited")
    refusal = came["refusal"]
    assert refusal["natural"], refusal
    assert (refusal["status"], refusal["code"]) == (429, "rate_limit_exceeded")
    assert len(refusal["message"].split()) >= 4
    assert 1 <= int(refusal["retryAfter"]) <= 3
    assert came["said"] == ANSWERS[0]
    assert 0.9 <= came["waited"] <= 15


def test_embeddings_come_whole(played):
    assert played.of("embeddings") == [vector(text) for text in TEXTS]


def test_the_key_and_what_clients_add_stay_at_the_gateway(played, gateway):
    assert played.of("whole")
    assert {received.path for received in played.received} <= CHAT_PATHS
    for received in played.received:
        names = {name.lower() for name in received.headers}
        assert (
            not {n for n in names if n.startswith(("x-ms-", "x-stainless-"))} | {"api-key"} & names
        )
        assert gateway.key not in json.dumps(received.headers)


@with_responses
def test_a_conversation_through_responses_arrives_word_for_word_both_ways(played):
    assert played.of("responses") == ANSWERS
    assert asked(played, "/v1/responses")[: len(QUESTIONS)] == dialogue()


@with_responses
def test_a_streamed_conversation_through_responses_does_too(played):
    assert played.of("responsesStreamed") == ANSWERS
    assert asked(played, "/v1/responses", streamed=True) == dialogue()


@with_responses
def test_responses_are_never_kept_by_the_provider(played):
    bodies = [r.body for r in played.received if r.path == "/v1/responses"]
    assert [body["store"] for body in bodies] == [False] * len(bodies)
    assert len(bodies) >= 2 * len(QUESTIONS)


@with_responses
def test_a_tool_call_through_responses_goes_round(played):
    came = played.of("responsesTool")
    assert (came["name"], came["said"]) == (TOOL["name"], FROM_THE_TOOL)
    assert json.loads(came["arguments"]) == {"place": PLACE}
    bodies = [r.body for r in played.received if r.path == "/v1/responses"]
    question, call, result = [b for b in bodies if b.get("tools")][-1]["input"]
    assert spoken(question) == TOOL["question"]
    assert (call["type"], json.loads(call["arguments"])) == ("function_call", {"place": PLACE})
    assert (result["call_id"], result["output"]) == (call["call_id"], TOOL["result"])


@pytest.mark.parametrize("played", ["vercel"], indirect=True)
def test_an_answer_that_no_one_kept_cannot_be_referred_to(played):
    refusal = played.of("referred")
    assert refusal["natural"], refusal
    assert (refusal["status"], refusal["code"]) == (400, "stateful_not_supported")
    assert "send the whole input" in refusal["message"]


@with_responses
def test_policy_refuses_responses_in_the_same_words(played):
    refusal = played.of("responsesPolicy")
    assert refusal["natural"], refusal
    assert (refusal["status"], refusal["code"]) == (400, "content_filter")
    assert "credit_card" in refusal["message"]


@pytest.mark.parametrize("played", ["azure-rest"], indirect=True)
def test_the_model_behind_the_endpoint_is_described(played):
    assert {"model_name", "model_type", "model_provider_name"} <= set(played.of("info"))


@pytest.mark.parametrize("played", ["openai", "azure-openai"], indirect=True)
def test_the_models_that_are_configured_are_listed(played):
    assert sorted(played.of("models")) == sorted([MODEL, EMBEDDER])
