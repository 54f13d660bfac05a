"""Hostile bodies, headers and credentials against a live gateway: every one has its status."""

from __future__ import annotations

import gzip
import json
import struct
import time
import zlib
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.attacks import forge
from tests.simulator.client import bearer, chat, check_problem, send
from tests.simulator.gateway import Gateway, upstream_settings
from tests.simulator.upstream import Upstream
from tests.vectors import parameters

MIB = 1024 * 1024
MOST_MEMORY = 200 * MIB
MOST_SECONDS = 2.0
COMPLETIONS = "/v1/chat/completions"


@pytest.fixture(scope="module")
def upstream():
    with Upstream() as running:
        yield running


@pytest.fixture(scope="module")
def gateway(upstream, tmp_path_factory):
    home = tmp_path_factory.mktemp("bodies") / "home"
    with Gateway(home, upstream_settings(upstream.url)) as running:
        yield running


@pytest.fixture(scope="module")
def expired(gateway):
    return gateway.token("alice", "Developer", "--expires-in", "-120")


@pytest.fixture(scope="module")
def memory(gateway):
    """What the process needs when it is warm."""
    assert post(gateway, chat()).status == 200
    return memory_of(gateway, "VmRSS")


@pytest.fixture(autouse=True)
def forget(upstream):
    upstream.received.clear()


def post(gateway, body: Any, path: str = COMPLETIONS, **headers: str):
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return send(gateway.url, "POST", path, body, {**bearer(gateway.key), **names})


def memory_of(gateway, field: str) -> int:
    """Bytes of memory: VmRSS is now, VmHWM the peak since `forget_peak`."""
    status = Path(f"/proc/{gateway.pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024


def forget_peak(gateway) -> None:
    Path(f"/proc/{gateway.pid}/clear_refs").write_text("5")


def encoded(body: str | list[Any]) -> bytes:
    """The bytes of a vector's body; its file says how they are written."""
    if isinstance(body, list):
        return "".join(p if isinstance(p, str) else p[0] * p[1] for p in body).encode()
    marker, _, rest = body.removeprefix("@").partition("@") if body[:1] == "@" else ("", "", body)
    if marker == "UTF16":
        return rest.encode("utf-16")
    if marker == "BYTES":
        return bytes.fromhex(rest)
    name, _, count = marker.partition(":")
    if name == "GZIP":
        return bomb(int(count))
    if name == "GZIP2":
        return gzip.compress(bomb(int(count)), 1, mtime=0)
    if name == "ZLIB":
        return b"\x78\x9c" + bomb(int(count))[10:-8] + struct.pack(">I", 1)
    return rest.encode()


@cache
def bomb(count: int) -> bytes:
    """A valid chat body with `count` letters, as gzip; one deflated piece is repeated."""
    head, tail = json.dumps(chat("@")).encode().split(b"@")
    unit = b"a" * 100_000
    pressed = zlib.compressobj(9, zlib.DEFLATED, -15)
    parts = [pressed.compress(head) + pressed.flush(zlib.Z_FULL_FLUSH)]
    piece = pressed.compress(unit) + pressed.flush(zlib.Z_FULL_FLUSH)
    whole, left = divmod(count, len(unit))
    parts.append(piece * whole)
    parts.append(pressed.compress(b"a" * left + tail) + pressed.flush())
    check = zlib.crc32(head)
    for _ in range(whole):
        check = zlib.crc32(unit, check)
    check = zlib.crc32(b"a" * left + tail, check)
    size = (len(head) + count + len(tail)) & 0xFFFFFFFF
    return b"\x1f\x8b\x08" + bytes(6) + b"\xff" + b"".join(parts) + struct.pack("<II", check, size)


def test_the_bombs_are_real():
    text = "a" * 250_000
    assert json.loads(gzip.decompress(bomb(250_000))) == chat(text)
    assert json.loads(gzip.decompress(gzip.decompress(encoded("@GZIP2:250000@")))) == chat(text)
    raw = zlib.decompressobj(-15).decompress(encoded("@ZLIB:250000@")[2:-4])
    assert json.loads(raw) == chat(text)


@pytest.mark.parametrize("case", parameters("json_bodies.json"))
def test_a_body_gets_the_outcome_that_it_deserves(gateway, upstream, memory, case):
    body = encoded(case["body"])
    forget_peak(gateway)
    began = time.monotonic()
    answered = send(
        gateway.url, "POST", COMPLETIONS, body, {**bearer(gateway.key), **case.get("headers", {})}
    )
    assert time.monotonic() - began <= MOST_SECONDS
    assert gateway.alive
    assert memory_of(gateway, "VmHWM") - memory <= MOST_MEMORY
    if case["must"] == "accept":
        assert answered.status == 200
    elif case["must"] == "reject":
        assert 400 <= answered.status < 500
    assert answered.status < 500
    if answered.status == 200:
        assert len(upstream.received) == 1
    else:
        check_problem(answered, answered.status)
        assert upstream.received == []


def deep(levels: int) -> bytes:
    head = json.dumps(chat()).encode()[:-1]
    return head + b', "x": ' + b"[" * levels + b"]" * levels + b"}"


TWICE = b'{"model":"gpt-4o","model":"gpt-4o","messages":[{"role":"user","content":"hi"}]}'

OPENAI = [
    pytest.param(b"", 400, "json-empty", id="empty"),
    pytest.param(b'{"model": "\xff"}', 400, "json-not-utf8", id="invalid-utf-8"),
    pytest.param(chat("a" * (11 * MIB)), 413, "body-size", id="11-MB"),
    pytest.param(chat("a" * (3 * MIB)), 413, "text-size", id="3-MB-of-text"),
    pytest.param(deep(10_000), 400, "json-too-deep", id="depth-10000"),
    pytest.param(TWICE, 400, "json-duplicate-key", id="duplicate-keys"),
    pytest.param(chat(temperature=float("nan")), 400, "json-not-json", id="NaN"),
    pytest.param(chat(temperature=-1), 400, "fields", id="negative-temperature"),
    pytest.param(chat(max_tokens=-1), 400, "fields", id="negative-max-tokens"),
    pytest.param(chat(stream="yes"), 400, "fields", id="stream-not-boolean"),
    pytest.param({"model": 1, "messages": []}, 400, "fields", id="model-not-a-name"),
    pytest.param({"model": "gpt-4o", "messages": {}}, 400, "fields", id="messages-not-a-list"),
    pytest.param({"model": "gpt-9", **chat() | {"model": "gpt-9"}}, 404, "model", id="no-model"),
    pytest.param([], 400, "fields", id="not-an-object"),
]
NATIVE = [
    pytest.param(b"", 400, "json-empty", id="empty"),
    pytest.param(b'{"message": "\xff"}', 400, "json-not-utf8", id="invalid-utf-8"),
    pytest.param({"message": "a" * (11 * MIB)}, 413, "body-size", id="11-MB"),
    pytest.param({"message": "a" * 8_001}, 400, "fields", id="8001-characters"),
    pytest.param(b'{"message":"a","message":"a"}', 400, "json-duplicate-key", id="duplicate-keys"),
    pytest.param(b"[" * 10_000 + b"]" * 10_000, 400, "json-too-deep", id="depth-10000"),
    pytest.param({"message": "hi", "temperature": -0.1}, 400, "fields", id="negative-temperature"),
    pytest.param({"message": "hi", "maxTokens": -5}, 400, "fields", id="negative-max-tokens"),
    pytest.param({"message": "hi", "maxTokens": 4_001}, 400, "fields", id="too-many-tokens"),
    pytest.param({"message": 5}, 400, "fields", id="message-not-text"),
    pytest.param({"message": " \t\n"}, 400, "fields", id="blank"),
    pytest.param({}, 400, "fields", id="nothing"),
    pytest.param({"message": "hi", "model": "gpt-9"}, 400, "fields", id="unknown-model"),
    pytest.param({"message": "hi", "conversationId": "7"}, 400, "fields", id="malformed-id"),
    pytest.param({"message": "hi", "extra": 1}, 400, "fields", id="unknown-field"),
]


@pytest.mark.parametrize(("body", "status", "rule"), OPENAI)
def test_a_wrong_body_of_v1_is_refused_with_its_status_and_rule(
    gateway, upstream, body, status, rule
):
    assert check_problem(post(gateway, body), status)["rule"] == rule
    assert upstream.received == []
    assert post(gateway, chat()).status == 200


@pytest.mark.parametrize(("body", "status", "rule"), NATIVE)
def test_a_wrong_body_of_api_chat_is_refused_with_its_status_and_rule(
    gateway, upstream, body, status, rule
):
    problem = check_problem(post(gateway, body, "/api/chat"), status, native=True)
    assert problem["rule"] == rule
    if rule == "fields":
        assert problem["error"] == "Validation failed"
        assert problem["details"]
        assert all(set(detail) == {"field", "message"} for detail in problem["details"])
    assert upstream.received == []


def test_every_wrong_field_of_api_chat_is_named_at_once(gateway):
    body = {"message": "", "temperature": 9, "maxTokens": 0, "model": "x", "stream": 1}
    problem = check_problem(post(gateway, body, "/api/chat"), 400, native=True)
    assert {detail["field"] for detail in problem["details"]} == set(body)


@pytest.mark.parametrize("path", [COMPLETIONS, "/api/chat"])
@pytest.mark.parametrize(
    "kind",
    ["", "text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin-1",
     "application/jsonp", "text/json"],
)  # fmt: skip
def test_a_body_of_another_type_is_415(gateway, path, kind):
    body = chat() if path == COMPLETIONS else {"message": "hi"}
    answered = post(gateway, body, path, Content_Type=kind)
    assert check_problem(answered, 415, native=path == "/api/chat")["rule"] == "content-type"


@pytest.mark.parametrize(
    "kind", ["application/json", "Application/JSON", 'application/json; charset="UTF-8"']
)
def test_json_in_utf8_is_taken_however_it_is_spelled(gateway, kind):
    assert post(gateway, chat(), Content_Type=kind).status == 200


def test_a_second_content_type_is_415(gateway):
    headers = [*bearer(gateway.key).items(), *[("Content-Type", "application/json")] * 2]
    answered = send(gateway.url, "POST", COMPLETIONS, chat(), headers)
    check_problem(answered, 415)


def test_a_body_without_a_stated_length_is_refused_as_soon_as_it_is_too_long(gateway):
    piece = b"%x\r\n" % MIB + b" " * MIB + b"\r\n"
    headers = {**bearer(gateway.key), "Transfer-Encoding": "chunked"}
    answered = send(gateway.url, "POST", COMPLETIONS, piece * 11 + b"0\r\n\r\n", headers)
    assert check_problem(answered, 413)["rule"] == "body-size"


@pytest.mark.parametrize(
    "path", ["/", "/v1", "/v1/", "/v1/chat/completions/", "/V1/chat/completions", "/api/chat/x",
             "//v1/chat/completions", "/v1/../v1/models", "/.env", "/v1/completions", "/console/"],
)  # fmt: skip
def test_an_unknown_path_is_404_with_and_without_a_credential(gateway, path):
    native = path.startswith("/api/")
    for headers in ({}, bearer(gateway.key)):
        answered = send(gateway.url, "GET", path, headers=headers)
        assert check_problem(answered, 404, native=native)["rule"] == "path"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/api/chat", "POST"),
        ("PUT", COMPLETIONS, "POST"),
        ("POST", "/v1/models", "GET"),
        ("DELETE", "/api/keys", "GET, POST"),
        ("PATCH", "/api/conversations/7", "DELETE, GET"),
        ("QUERY", "/v1/models", "GET"),
        ("TRACE", "/v1/models", "GET"),
        ("OPTIONS", COMPLETIONS, "POST"),
        ("POST", "/readyz", "GET"),
    ],
)
def test_another_method_is_405_and_says_which_there_are(gateway, method, path, allowed):
    answered = send(gateway.url, method, path, headers=bearer(gateway.key))
    check_problem(answered, 405, native=path.startswith("/api/"))
    assert answered.headers["allow"] == allowed


@pytest.mark.parametrize("path", [COMPLETIONS, "/api/chat", "/api/keys"])
def test_no_credential_or_one_that_proves_nothing_is_401(gateway, upstream, expired, path):
    for headers in (
        {},
        {"Authorization": ""},
        {"Authorization": "Bearer"},
        {"Authorization": f"Basic {gateway.key}"},
        {"Authorization": gateway.key},
        bearer("garbled"),
        bearer("a.b.c"),
        bearer("ünï"),
        bearer(gateway.key[:-1]),
        bearer(gateway.key + "1"),
        {"x-api-key": "aif_l" + "1" * 60},
        {"api-key": ""},
        bearer(expired),
        bearer(forge.token(forge.person(exp=int(time.time()) + 3600, iat=int(time.time())))),
    ):
        answered = send(gateway.url, "POST", path, {"message": "hi"}, headers)
        problem = check_problem(answered, 401, native=path.startswith("/api/"))
        assert problem["layer"] == "authn"
    assert upstream.received == []


def test_two_credentials_that_differ_are_401_and_two_that_agree_are_one(gateway):
    token = gateway.token("alice")
    other = post(gateway, {"name": "other"}, "/api/keys").json()["apiKey"]
    good = gateway.key
    differing = [
        [*bearer(good).items(), ("x-api-key", other)],
        [*bearer(token).items(), ("api-key", good)],
        [("x-api-key", good), ("api-key", other)],
        [*bearer(good).items(), *bearer(other).items()],
        [("x-api-key", good), ("x-api-key", other)],
        [*bearer(good).items(), ("x-api-key", "garbled")],
    ]
    for headers in differing:
        problem = check_problem(send(gateway.url, "GET", "/v1/models", headers=headers), 401)
        assert problem["rule"] == "credential-conflict"
    agreeing = [
        [*bearer(good).items(), ("x-api-key", good), ("api-key", good)],
        [*bearer(token).items(), ("api-key", token)],
        [("x-api-key", good)],
        [("api-key", other)],
        [("AUTHORIZATION", f"bearer {good}")],
    ]
    for headers in agreeing:
        assert send(gateway.url, "GET", "/v1/models", headers=headers).status == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("127.0.0.1:1", 200),
        ("LOCALHOST:65535", 200),
        ("[::1]:8787", 200),
        ("evil.example", 421),
        ("localhost.evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("127.0.0.2", 421),
        ("localhost:65536", 400),
        ("localhost:80:80", 400),
        ("user@localhost", 400),
        ("local host", 400),
        ("localhost/", 400),
        ("localhost,evil.example", 400),
        ("lоcalhost", 400),
        (None, 400),
    ],
)
def test_the_host_is_one_that_the_gateway_answers_for(gateway, host, status):
    headers = bearer(gateway.key)
    answered = send(gateway.url, "GET", "/v1/models", headers=headers, host=host)
    assert answered.status == status
    if status != 200:
        check_problem(answered, status)
    probe = send(gateway.url, "GET", "/livez", host=host)
    assert probe.status == (200 if status == 421 else status)


def test_two_hosts_are_400_even_on_a_probe(gateway):
    headers = {"host": "localhost"}
    assert send(gateway.url, "GET", "/livez", headers=headers, host="localhost").status == 400
    assert send(gateway.url, "GET", "/v1/models", headers=headers, host="localhost").status == 400


def test_a_websocket_is_refused(gateway):
    headers = {
        **bearer(gateway.key),
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    answered = send(gateway.url, "GET", COMPLETIONS, headers=headers)
    assert 400 <= answered.status < 500
