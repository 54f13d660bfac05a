"""curl against a live gateway, as the README's pastes use it."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import Any

import pytest
from aiohttp import web

from tests.simulator.client import events
from tests.simulator.gateway import Gateway, upstream_settings
from tests.simulator.upstream import Upstream, chunks, completion, stream

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")

SPOKEN = [
    'Hello! What is "Ostiary", please?',
    "Zażółć gęślą jaźń 日本語 👩‍👩‍👧‍👦 e\u0301",
    "line\n\n  indented\ttab\nlast line",
    '```sh\necho "$X" | sort > out.txt\n```',
    "a long message, as people write them — ünïcode; " * 160,
]
ANSWERED = [
    "An old word for a door-keeper.",
    "Może. はい 🎉",
    "1\n\n2\n   3\n",
    "```html\n<b>bold</b> & &amp;\n```",
    "a long answer, as models write them — ÄÖÜß; " * 2_300,
]


@pytest.fixture(scope="module")
def upstream():
    with Upstream() as running:
        yield running


@pytest.fixture(scope="module")
def gateway(upstream, tmp_path_factory):
    home = tmp_path_factory.mktemp("curl") / "home"
    with Gateway(home, upstream_settings(upstream.url)) as running:
        yield running


@pytest.fixture(autouse=True)
def in_turn(upstream):
    """The model says ANSWERED, one after the other."""
    left = list(ANSWERED)

    async def answer(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        text = left.pop(0)
        if body.get("stream"):
            return await stream(request, chunks(text, max(3, len(text) // 200)))
        return web.json_response(completion(text))

    upstream.behave(answer)
    upstream.received.clear()


def curl(gateway, path: str, body: dict[str, Any]) -> bytes:
    """What curl prints; it fails where the status is not 2xx."""
    command = ["curl", "-sS", "-N", "--fail-with-body", "--max-time", "20", f"{gateway.url}{path}"]
    command += [
        "-H",
        f"Authorization: Bearer {gateway.key}",
        "-H",
        "Content-Type: application/json",
    ]
    sent = json.dumps(body, ensure_ascii=False).encode()
    done = subprocess.run(
        [*command, "--data-binary", "@-"], input=sent, capture_output=True, check=False
    )
    assert done.returncode == 0, done
    return done.stdout


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_a_conversation_through_v1_is_word_for_word(gateway, upstream, streamed):
    messages = []
    for question, answer in zip(SPOKEN, ANSWERED, strict=True):
        messages.append({"role": "user", "content": question})
        raw = curl(
            gateway,
            "/v1/chat/completions",
            {"model": "gpt-4o", "messages": messages, "stream": streamed},
        )
        if streamed:
            *parts, done = events(raw)
            assert done == "[DONE]"
            choices = [choice for part in parts for choice in part["choices"]]
            said = "".join(choice["delta"].get("content") or "" for choice in choices)
        else:
            said = json.loads(raw)["choices"][0]["message"]["content"]
        assert said == answer
        assert upstream.received[-1].body["messages"] == messages
        messages.append({"role": "assistant", "content": answer})


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_a_conversation_through_api_chat_is_word_for_word(gateway, upstream, streamed):
    conversation = None
    messages = []
    for question, answer in zip(SPOKEN, ANSWERED, strict=True):
        body = {"message": question, "stream": streamed}
        if conversation:
            body["conversationId"] = conversation
        raw = curl(gateway, "/api/chat", body)
        if streamed:
            *deltas, end, done = events(raw)
            assert done == "[DONE]"
            assert [set(delta) for delta in deltas] == [{"delta"}] * len(deltas)
            said = "".join(delta["delta"] for delta in deltas)
        else:
            end = json.loads(raw)
            said = end["response"]
        assert said == answer
        assert "warning" not in end
        assert end["usage"] == {"promptTokens": 7, "completionTokens": 5, "totalTokens": 12}
        assert conversation in {None, end["conversationId"]}
        conversation = end["conversationId"]
        messages.append({"role": "user", "content": question})
        assert upstream.received[-1].body["messages"] == messages
        messages.append({"role": "assistant", "content": answer})
