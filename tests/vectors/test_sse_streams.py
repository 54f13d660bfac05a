"""Answers with personal data cut, crossed, escaped and in odd fields: none of it comes through."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import pytest
from aiohttp import web

from tests.simulator.client import bearer, chat, check_problem_body, events, send
from tests.simulator.gateway import Gateway, upstream_settings
from tests.simulator.upstream import Upstream
from tests.vectors import parameters

COMPLETIONS = "/v1/chat/completions"
LATER_KINDS = ("GITHUB_TOKEN-",)
BETWEEN_WRITES = 0.001
SHORTEST_PREFIX = 8
PERSONAL = "I am Ada, ada.king@example.org, SSN 536-90-4399; card 5555 5555 5555 4444."
PROMPTS = {"clean": "Who is it?", "personal": PERSONAL}
# What the upstream of these cases sends is no event stream.
PLAIN = {"nonstream-json": (200, "application/json"), "html-500": (500, "text/html")}
BROKEN = ("cutoff", "error-mid", "bad-json", "never-ends")
_ZERO_WIDTH = re.compile("[\u200b\u200c\u200d\u2060\ufeff\u00ad]")


@pytest.fixture(scope="module")
def upstream():
    with Upstream() as running:
        yield running


@pytest.fixture(scope="module")
def gateway(upstream, tmp_path_factory):
    home = tmp_path_factory.mktemp("streams") / "home"
    with Gateway(home, upstream_settings(upstream.url)) as running:
        yield running


def kind_of(case: dict[str, Any]) -> str:
    """The id of a case without the kind of value that it holds."""
    return re.sub(r"^[A-Z_]+-", "", case["id"])


def is_served(case: dict[str, Any]) -> bool:
    return case["endpoint"] == COMPLETIONS and not case["id"].startswith(LATER_KINDS)


def writes(case: dict[str, Any]) -> list[bytes]:
    repeated = [(c, 1) if isinstance(c, str) else c for c in case["chunks"]]
    return [base64.b64decode(text) for text, count in repeated for _ in range(count)]


def replaying(case: dict[str, Any]):
    """A model that sends a case's bytes, each chunk as a write of its own."""
    status, kind = PLAIN.get(kind_of(case), (200, "text/event-stream"))

    async def replay(request: web.Request, _: dict[str, Any]) -> web.StreamResponse:
        response = web.StreamResponse(status=status, headers={"Content-Type": kind})
        await response.prepare(request)
        # The gateway may leave in the middle of an answer that it cannot use.
        with contextlib.suppress(ConnectionError):
            for piece in writes(case):
                await response.write(piece)
                await asyncio.sleep(BETWEEN_WRITES)
            await response.write_eof()
        return response

    return replay


def strings(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], str]]:
    """Every string of an event and every name, with the channel that a client would join it to."""
    if isinstance(tree, str):
        yield path, tree
    elif isinstance(tree, dict):
        for name, value in tree.items():
            yield (*path, "name"), name
            yield from strings(value, (*path, name))
    elif isinstance(tree, list):
        for item in tree:
            index = item.get("index", "*") if isinstance(item, dict) else "*"
            yield from strings(item, (*path, index))


def texts(raw: bytes, parts: list[Any]) -> list[str]:
    """Everything that a client could read an answer as."""
    channels: dict[tuple[Any, ...], list[str]] = defaultdict(list)
    for part in parts:
        for path, text in strings(part):
            channels[path].append(text)
    joined = ["".join(pieces) for pieces in channels.values()]
    values = [text for part in parts for path, text in strings(part) if path[-1] != "name"]
    plain = raw.decode()
    return [plain, plain.encode().decode("unicode_escape", "ignore"), "".join(values), *joined]


def forbidden(case: dict[str, Any]) -> set[str]:
    """What may not be recoverable: what the case names, and every longer prefix of the value."""
    found = set(case["must_not"])
    for value in case["must_not"][:1]:
        found |= {value[:end] for end in range(SHORTEST_PREFIX, len(value))}
    return found


@pytest.mark.parametrize("prompt", PROMPTS)
@pytest.mark.parametrize("case", parameters("sse_streams.json", wanted=is_served))
def test_nothing_personal_comes_through_and_all_else_does(gateway, upstream, case, prompt):
    upstream.received.clear()
    upstream.behave(replaying(case))
    body = chat(PROMPTS[prompt], stream=True)
    answered = send(gateway.url, "POST", COMPLETIONS, body, bearer(gateway.key))

    if answered.headers["content-type"] == "text/event-stream":
        parts = [part for part in events(answered.body) if part != "[DONE]"]
    else:
        parts = [answered.json()]
    read = texts(answered.body, parts)
    read += [_ZERO_WIDTH.sub("", text) for text in read]
    assert [value for value in forbidden(case) if any(value in text for text in read)] == []
    assert [value for value in case["must"] if not any(value in text for text in read)] == []
    for received in upstream.received:
        for value in ("ada.king@example.org", "536-90-4399", "5555 5555 5555 4444"):
            assert value.encode() not in received.raw
    check_end(answered, parts, kind_of(case))


def check_end(answered, parts: list[Any], kind: str) -> None:
    """An answer ends as a whole one, or with one refusal and without any sign of an end."""
    reasons = [c["finish_reason"] for part in parts for c in part.get("choices", ())]
    ended = b"data: [DONE]" in answered.body
    if answered.headers["content-type"] != "text/event-stream":
        check_problem_body(parts[0], 502)
        assert kind in {"html-500", "empty", "giant-event"}
    elif kind in BROKEN or "error" in parts[-1]:
        assert kind in {*BROKEN, "giant-event"}
        check_problem_body(parts[-1], 502)
        assert [part for part in parts[:-1] if "error" in part] == []
        assert set(reasons) <= {None}
        assert not ended
    else:
        assert ended
        assert {reason for reason in reasons if reason} <= {"stop", "tool_calls"}
        assert any(reasons)
