"""The clients that must work by their base URL alone, each as its own documentation builds it.

Each runs unmodified in a process and environment of its own (tests/sdk/clients) and goes through
the same scenarios over each of its faces; here stands what every one of them must have seen.
"""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.absent import absent
from tests.simulator.answers import PLACE, vector
from tests.simulator.gateway import Gateway, upstream_settings
from tests.simulator.upstream import Upstream

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = Path(__file__).with_name("clients")
OPENAI_3 = ROOT / ".venv-clients"
OPENAI_2 = ROOT / ".venv-clients-openai2"

ANSWER = 'Oczywiście: もちろん 🎉\n\n```python\nprint("<b>&amp;</b>")\n```\n   the end  .'
TURNS = ["Hello?", "Zażółć gęślą jaźń. 日本語 👩‍👩‍👧‍👦", 'third\n\n\t{"line": "\\u0041"}']
RESULT = '{"answer": "ratusz\\n"}'
EMBEDDED = ["one text", "zażółć gęślą jaźń"]
CARD = "Charge 5555 5555 5555 4444"
SIZES = [3_000_000, 11_000_000]
MODELS = ["gpt-4o", "text-embedding-3-small", "mistral-large-3", "mistral-embed"]
SCENARIOS = ["whole", "streamed", "tool", "policy", "limited", "wrong_key", "wrong_model", "long"]
SCENARIOS += ["embeddings", "models"]

OPEN = {"OSTIARY_POLICY__KINDS__CREDIT_CARD": "block"}
STRICT = {"OSTIARY_LIMITS__REQUESTS_PER_MINUTE": "3"}
OPENAI_ERRORS = {
    "policy": "BadRequestError",
    "limited": "RateLimitError",
    "wrong_key": "AuthenticationError",
    "wrong_model": "NotFoundError",
    "long": "APIStatusError",
}
AZURE_ERRORS = {
    "policy": "HttpResponseError",
    "limited": "HttpResponseError",
    "wrong_key": "ClientAuthenticationError",
    "wrong_model": "ResourceNotFoundError",
    "long": "HttpResponseError",
}
LITELLM_ERRORS = OPENAI_ERRORS | {"long": "APIError"}
PYDANTIC_ERRORS = dict.fromkeys(OPENAI_ERRORS, "ModelHTTPError")
KERNEL_ERRORS = dict.fromkeys(OPENAI_ERRORS, "ServiceResponseException")
STATUS = {"policy": 400, "limited": 429, "wrong_key": 401, "wrong_model": 404, "long": 413}
CODES = {
    "policy": "content_filter",
    "limited": "rate_limit_exceeded",
    "wrong_key": "invalid_credential",
    "wrong_model": "model_not_found",
    "long": "content_too_large",
}
WORDS = {
    "policy": "credit_card",
    "limited": "requests",
    "wrong_key": "key",
    "wrong_model": "model",
    "long": "than",
}


@dataclass(frozen=True)
class Client:
    """A script, its environment, how many faces it must show, and how it names refusals."""

    script: str
    environment: Path
    faces: int
    errors: dict[str, str] = field(default_factory=lambda: OPENAI_ERRORS)
    token: bool = False
    codes: bool = True


CLIENTS = {
    "openai 2": Client("with_openai", OPENAI_2, 8),
    "openai 3": Client("with_openai", OPENAI_3, 8),
    "azure-ai-inference": Client("with_azure_ai_inference", OPENAI_3, 2, AZURE_ERRORS),
    "azure-ai-projects": Client("with_azure_ai_projects", OPENAI_3, 2),
    "langchain-openai": Client("with_langchain", OPENAI_3, 3),
    "llama-index": Client("with_llama_index", OPENAI_2, 3),
    "semantic-kernel": Client("with_semantic_kernel", OPENAI_2, 2, KERNEL_ERRORS),
    "litellm": Client("with_litellm", OPENAI_2, 5, LITELLM_ERRORS, codes=False),
    "pydantic-ai": Client("with_pydantic_ai", OPENAI_3, 3, PYDANTIC_ERRORS),
}


@pytest.fixture(scope="module")
def upstream():
    with Upstream(ANSWER) as running:
        yield running


@pytest.fixture(scope="module")
def gateways(upstream, tmp_path_factory):
    """One with room that blocks card numbers, one that allows three requests a minute."""
    home = tmp_path_factory.mktemp("clients")
    settings = upstream_settings(upstream.url, MODELS)
    with (
        Gateway(home / "open", settings | OPEN) as room,
        Gateway(home / "strict", settings | STRICT) as tight,
    ):
        yield {"open": room, "strict": tight}


def python_of(environment: Path) -> Path:
    """The interpreter of an environment; without it the test is skipped, in CI it fails."""
    python = environment / "bin" / "python"
    if not python.exists():
        absent(f"{environment.name} is not set up; make test does that")
    return python


def report(
    environment: Path, script: str, said: dict[str, Any], variables: dict[str, str]
) -> dict[str, Any]:
    """What a script reports that is told this; it must not dial beyond this machine."""
    done = subprocess.run(
        [python_of(environment), SCRIPTS / "watched.py", script],
        input=json.dumps(said),
        env={"PATH": os.environ["PATH"], **variables},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    print(done.stderr)
    assert done.returncode == 0, done.stderr
    assert "dialled" not in done.stderr, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def run(
    client: Client, gateways: dict[str, Gateway], scenarios: dict[str, list[str]]
) -> dict[str, dict[str, Any]]:
    """What the client's script reports: face → scenario → result.

    `scenarios` are those of each face by its name, under "" those of all others.
    """
    said = {
        name: {
            "url": gateway.url,
            "key": gateway.token() if client.token else gateway.key,
            "model": "gpt-4o",
            "embedding_model": "text-embedding-3-small",
        }
        for name, gateway in gateways.items()
    }
    said |= {"turns": TURNS, "toolResult": RESULT, "blocked": CARD, "sizes": SIZES}
    said |= {"embedded": EMBEDDED, "wrongKey": "aif_" + "x" * 61}
    said["scenarios"] = scenarios
    home = next(iter(gateways.values())).home.parent
    return report(client.environment, client.script, said, {"HOME": str(home)})


def words(content: Any) -> str:
    """The text of a message's content, whatever its form."""
    if isinstance(content, list):
        return "".join(part.get("text", "") for part in content)
    return content or ""


def heard(upstream: Upstream, marker: str) -> list[list[tuple[str, str]]]:
    """The conversations that the model got whose first question begins with the marker."""
    found = []
    for received in upstream.received:
        if received.path.endswith("/embeddings"):
            continue
        turns = received.body.get("messages") or received.body.get("input") or ""
        if isinstance(turns, str):
            turns = [{"role": "user", "content": turns}]
        said = [
            (turn["role"], words(turn["content"]))
            for turn in turns
            if turn.get("role") in {"user", "assistant"} and turn.get("content")
        ]
        if said and said[0][1].startswith(marker):
            found.append(said)
    return found


def expected(marker: str) -> list[list[tuple[str, str]]]:
    """What the model must have heard of one conversation, request by request."""
    turns: list[tuple[str, str]] = []
    requests = []
    for text in TURNS:
        turns.append(("user", f"{marker} {text}"))
        requests.append(list(turns))
        turns.append(("assistant", ANSWER))
    return requests


def refused_well(name: str, row: dict[str, Any], client: Client) -> bool:
    """Whether a refusal came as the client's natural error, and says what is wrong."""
    if name == "policy" and "ContentFilterError" in row["types"]:
        return "content_filter" in row["message"]
    kind = client.errors[name]
    return (
        kind in row["types"]
        and row["status"] == STATUS[name]
        and (row["code"] == CODES[name] or not client.codes)
        and WORDS[name] in row["message"]
        and (row["status"] != 429 or int(row["retryAfter"] or 0) >= 1)
    )


def held(name: str, row: Any, client: Client) -> bool:
    """Whether a scenario went as it must."""
    if name == "whole":
        return row == [ANSWER] * len(TURNS)
    if name == "streamed":
        return all("".join(pieces) == ANSWER and len(pieces) > 3 for pieces in row)
    if name == "tool":
        called = row["name"].endswith("look_up") and row["arguments"] == {"place": PLACE, "days": 3}
        return called and row["said"] == ANSWER
    if name == "long":
        return len(row) == len(SIZES) and all(refused_well(name, one, client) for one in row)
    if name == "embeddings":
        return row is None or row == [vector(text) for text in EMBEDDED]
    if name == "models":
        return row is None or (0 < len(row) <= len(MODELS) and set(row) <= set(MODELS))
    return refused_well(name, row, client)


def faults(rows: dict[str, Any], client: Client) -> list[str]:
    """The scenarios of a face that did not go as they must, each with what was seen."""
    wrong = []
    for name, row in rows.items():
        if isinstance(row, dict) and "failed" in row:
            wrong.append(f"{name}: {row['failed']}")
        elif not held(name, row, client):
            wrong.append(f"{name}: {row}")
    return wrong


@pytest.mark.parametrize("name", CLIENTS)
def test_a_client_notices_nothing_but_its_own_errors(gateways, upstream, name):
    client = CLIENTS[name]
    upstream.received.clear()
    faces = run(client, gateways, {"": SCENARIOS})
    wrong = {face: found for face, rows in faces.items() if (found := faults(rows, client))}
    assert not wrong, "\n\n".join(f"## {f}\n" + "\n".join(found) for f, found in wrong.items())
    assert len(faces) == client.faces
    for marker in ("whole", "streamed"):
        assert heard(upstream, marker) == expected(marker) * client.faces
    results = [received.raw.decode() for received in upstream.received]
    assert sum("ratusz" in raw for raw in results) == client.faces
    assert not [raw for raw in results if "5555" in raw or "aif_" in raw]


@pytest.fixture(scope="module")
def slow(upstream, tmp_path_factory):
    """Fifteen requests a minute: four seconds until the next."""
    settings = upstream_settings(upstream.url, MODELS)
    settings["OSTIARY_LIMITS__REQUESTS_PER_MINUTE"] = "15"
    with Gateway(tmp_path_factory.mktemp("slow") / "home", settings) as running:
        yield running


@pytest.mark.parametrize(("name", "face"), [("openai 3", "chat"), ("azure-ai-inference", "models")])
def test_a_client_with_its_retries_on_waits_as_long_as_it_is_told(slow, name, face):
    gateways = {"open": slow, "slow": slow}
    row = run(CLIENTS[name], gateways, {"": [], face: ["patient"]})[face]["patient"]
    assert row.get("said") == ANSWER, row
    # Its own pauses, which it takes where it is told nothing, would have ended before that.
    assert 2 <= int(row["told"]["retryAfter"]) <= 4
    assert 1 <= row["waited"] < 10
