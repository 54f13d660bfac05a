"""Nothing behind the door sees a request whose form could mean two things."""

from __future__ import annotations

import asyncio
import gzip
import ipaddress
import time
import zlib
from typing import Any

import pytest

from ostiary.edge.routes import Table
from ostiary.errors import (
    MalformedRequest,
    MethodNotAllowed,
    MisdirectedRequest,
    NotFound,
    Refusal,
    UnsupportedMedia,
)
from ostiary.exchange import Admitted, Arrival
from ostiary.stages.admit import Door, admit, knows_host, over_tls, peer_address
from ostiary.wire.gzip_body import SLICE, GzipTooLarge, inflate

NEW = "0" * 31 + "1"
DOOR = Door(frozenset({"127.0.0.1", "localhost", "[::1]"}), (), lambda: NEW, lambda: 5.0)
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def arrival(
    path: str = "/v1/models",
    method: str = "GET",
    *headers: tuple[str, str],
    body: bytes = b"",
    query: bytes = b"",
    host: str | None = "localhost:8787",
) -> Arrival:
    match = Table().match(method, path)

    async def read(_: int) -> bytes:
        return body

    sent = [("host", host), *headers] if host is not None else list(headers)
    return Arrival(
        request_id="r",
        method=method,
        route=match.route,
        allowed=match.allowed,
        params=match.params,
        query=query,
        headers=tuple((n.encode(), v.encode("latin-1")) for n, v in sent),
        peer="10.1.2.3",
        read=read,
    )


def admitted(*args: Any, **more: Any) -> Admitted:
    return asyncio.run(admit(arrival(*args, **more), DOOR))


def refused(*args: Any, **more: Any) -> Refusal:
    with pytest.raises(Refusal) as caught:
        admitted(*args, **more)
    return caught.value


def post(body: bytes, *headers: tuple[str, str], kind: str = "application/json") -> Any:
    return ("/api/chat", "POST", ("content-type", kind), *headers), {"body": body}


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:65535", "[::1]:8787"])
def test_a_known_name_under_any_port_is_admitted(host: str) -> None:
    assert admitted(host=host).request_id == "r"


@pytest.mark.parametrize("host", ["evil.test", "localhost.", "localhost.evil.test", "[::2]"])
def test_a_foreign_host_is_misdirected(host: str) -> None:
    assert isinstance(refused(host=host), MisdirectedRequest)


@pytest.mark.parametrize(
    "host", ["", "a b", "localhost/x", "x@localhost", "localhost:", "localhost:99999", "::1", None]
)
def test_a_malformed_host_is_a_bad_request(host: str | None) -> None:
    assert isinstance(refused(host=host), MalformedRequest)


def test_two_hosts_are_a_bad_request() -> None:
    assert refused("/v1/models", "GET", ("host", "localhost")).rule == "host-form"


@pytest.mark.parametrize(
    ("path", "host", "known"),
    [
        ("/livez", "10.0.0.7:8080", True),
        ("/readyz", "pod.internal", True),
        ("/livez", "a b", False),
        ("/openapi.json", "localhost", True),
        ("/openapi.json", "rebound.evil.test", False),
    ],
)
def test_probes_answer_any_host_and_the_document_its_own(path: str, host: str, known: bool) -> None:
    assert knows_host(arrival(path, host=host), DOOR) is known


def test_unknown_paths_and_methods_are_told_apart() -> None:
    assert isinstance(refused("/nowhere"), NotFound)
    wrong = refused("/api/chat", "GET")
    assert isinstance(wrong, MethodNotAllowed)
    assert wrong.headers == {"Allow": "POST"}


def test_a_websocket_is_refused() -> None:
    upgrade = ("upgrade", "WebSocket")
    assert refused("/v1/models", "GET", ("connection", "upgrade"), upgrade).rule == "upgrade"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (TRACE, ("4bf92f3577b34da6a3ce929d0e0e4736", "01")),
        (TRACE.replace("00-", "cc-", 1) + "-more", ("4bf92f3577b34da6a3ce929d0e0e4736", "01")),
        (TRACE + "-more", (NEW, "01")),
        (TRACE.replace("00-", "ff-", 1), (NEW, "01")),
        (TRACE.upper(), (NEW, "01")),
        ("00-" + "0" * 32 + "-00f067aa0ba902b7-01", (NEW, "01")),
        ("00-4bf92f3577b34da6a3ce929d0e0e4736-" + "0" * 16 + "-01", (NEW, "01")),
        ("", (NEW, "01")),
    ],
)
def test_a_trace_goes_on_or_begins_anew(value: str, expected: tuple[str, str]) -> None:
    trace = admitted("/v1/models", "GET", ("traceparent", value)).trace
    assert (trace.trace_id, trace.flags) == expected


def test_two_traces_begin_a_new_one() -> None:
    twice = ("traceparent", TRACE)
    assert admitted("/v1/models", "GET", twice, twice).trace.trace_id == NEW


PROXIES = (ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("fd00::/8"))


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("203.0.113.9", ["198.51.100.1"], "203.0.113.9"),
        ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["6.6.6.6, 198.51.100.1, 10.9.9.9"], "198.51.100.1"),
        ("10.0.0.1", ["6.6.6.6", "198.51.100.1:4711"], "198.51.100.1"),
        ("10.0.0.1", ["[2001:db8::5]:443"], "2001:db8::5"),
        ("::ffff:10.0.0.1", ["::ffff:198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ("", [], ""),
    ],
)
def test_the_address_is_the_rightmost_hop_that_no_proxy_of_ours_is(
    peer: str, forwarded: list[str], expected: str
) -> None:
    assert peer_address(peer, forwarded, PROXIES) == expected


@pytest.mark.parametrize("hop", ["unknown", "1.2.3", "1.2.3.4.5", "", "_hidden", "1.2.3.4, "])
def test_an_unreadable_hop_is_a_bad_request(hop: str) -> None:
    with pytest.raises(MalformedRequest) as caught:
        peer_address("10.0.0.1", [hop], PROXIES)
    assert not hop.strip() or hop not in caught.value.message


def test_a_query_is_read_once_and_strictly() -> None:
    assert admitted(query=b"limit=5&cursor=").query == {"limit": "5", "cursor": ""}
    assert refused(query=b"limit=5&limit=6").rule == "query-duplicate"
    assert refused(query=b"a=%ff").rule == "query"
    assert refused(query="ä=1".encode()).rule == "query"
    assert refused(query=b"&".join(b"a%d=1" % n for n in range(65))).rule == "query"


def test_a_body_is_decoded_once() -> None:
    args, more = post(b'{"message": "Hi"}', kind='Application/JSON; charset="UTF-8"')
    assert admitted(*args, **more).body == {"message": "Hi"}


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/json; charset=utf-16", "application/jsonx", ""]
)
def test_a_body_of_another_type_is_refused(kind: str) -> None:
    args, more = post(b"{}", kind=kind)
    assert isinstance(refused(*args, **more), UnsupportedMedia)


def test_a_body_with_two_types_or_a_coding_is_refused() -> None:
    args, more = post(b"{}", ("content-type", "application/json"))
    assert refused(*args, **more).rule == "content-type"
    for coding in ("br", "deflate", "zstd", "gzip, gzip", "gzip, identity", "gzip;q=1", "*"):
        args, more = post(b"{}", ("content-encoding", coding))
        found = refused(*args, **more)
        assert (found.status, found.rule) == (415, "content-encoding")
        assert found.headers["Accept-Encoding"] == "gzip, identity"
    args, more = post(gzip.compress(b"{}"), *[("content-encoding", "gzip")] * 2)
    assert refused(*args, **more).rule == "content-encoding"


@pytest.mark.parametrize("coding", ["gzip", "GZIP", "x-gzip"])
def test_a_packed_body_is_the_body_that_was_packed(coding: str) -> None:
    args, more = post(gzip.compress(b'{"message": "Hi"}'), ("content-encoding", coding))
    assert admitted(*args, **more).body == {"message": "Hi"}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        gzip.compress(b"{}")[:-1],
        gzip.compress(b"{}")[:12],
        gzip.compress(b"{}") + b"x",
        gzip.compress(b"{}") + b"\0",
        gzip.compress(b"{") + gzip.compress(b"}"),
        gzip.compress(b"{}")[:-8] + b"\0" * 8,
        zlib.compress(b"{}"),
    ],
    ids=["empty", "plain", "cut", "cut early", "more", "padding", "members", "sum", "zlib"],
)
def test_what_is_not_one_whole_member_is_refused(body: bytes) -> None:
    args, more = post(body, ("content-encoding", "gzip"))
    assert (refused(*args, **more).status, refused(*args, **more).rule) == (400, "gzip")


def test_a_bomb_is_refused_when_the_limit_is_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    def counted(data: bytes, limit: int) -> Any:
        for part in inflate(data, limit):
            made.append(len(part))
            yield part

    monkeypatch.setattr("ostiary.stages.admit.inflate", counted)
    bomb = zlib.compressobj(9, zlib.DEFLATED, 31)
    packed = b"".join(bomb.compress(bytes(1024 * 1024)) for _ in range(256)) + bomb.flush()
    args, more = post(packed, ("content-encoding", "gzip"))
    assert refused(*args, **more).status == 413
    limit = Table().match("POST", args[0]).route.body_limit
    assert sum(made) <= limit


def test_the_limit_is_of_what_comes_out() -> None:
    limit = 64 * 1024
    for size, fits in ((limit, True), (limit + 1, False)):
        packed = gzip.compress(bytes(size))
        if fits:
            assert sum(map(len, inflate(packed, limit))) == size
        else:
            with pytest.raises(GzipTooLarge):
                list(inflate(packed, limit))


def test_a_large_body_lets_others_have_their_turn() -> None:
    async def test() -> None:
        turns = 0

        async def other() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        beside = asyncio.create_task(other())
        text = b'{"model": "m", "messages": [], "x": "' + b"a" * (4 * 1024 * 1024) + b'"}'
        headers = (("content-type", "application/json"), ("content-encoding", "gzip"))
        path, body = "/v1/chat/completions", gzip.compress(text)
        await admit(arrival(path, "POST", *headers, body=body), DOOR)
        assert turns >= len(text) // SLICE
        beside.cancel()

    asyncio.run(test())


def test_a_proxys_word_on_tls_is_believed_from_a_trusted_proxy_alone() -> None:
    behind = Door(DOOR.hosts, (ipaddress.ip_network("10.0.0.0/8"),), DOOR.new_trace_id)
    said = arrival("/v1/models", "GET", ("x-forwarded-proto", "https"))
    assert over_tls(said, behind)
    assert not over_tls(said, DOOR)
    for values in (["http"], ["https", "http"], ["https,http"], [""], []):
        pairs = [("x-forwarded-proto", value) for value in values]
        assert not over_tls(arrival("/v1/models", "GET", *pairs), behind)


@pytest.mark.parametrize(
    ("body", "rule"),
    [
        (b"", "json-empty"),
        (b'{"message": "secret"', "json-not-json"),
        (b'{"secret": 1, "secret": 2}', "json-duplicate-key"),
        (b'{"a": "\xff"}', "json-not-utf8"),
        (b'{"a": "\\ud800"}', "json-lone-surrogate"),
        (b"[" * 70 + b"]" * 70, "json-too-deep"),
        (b'{"a": 1' + b"0" * 400 + b"}", "json-number-range"),
        (b'{"a": NaN}', "json-not-json"),
    ],
)
def test_a_body_that_is_not_strict_json_is_refused_without_being_quoted(
    body: bytes, rule: str
) -> None:
    args, more = post(body)
    refusal = refused(*args, **more)
    assert (refusal.status, refusal.rule) == (400, rule)
    assert "secret" not in refusal.message


def test_a_route_without_a_body_reads_none() -> None:
    async def read(_: int) -> bytes:
        raise AssertionError("nobody asked for a body")

    base = arrival()
    silent = Arrival(
        **{n: getattr(base, n) for n in base.__slots__ if n != "read"},
        read=read,
    )
    assert asyncio.run(admit(silent, DOOR)).body is None


def test_many_fields_of_one_name_cost_linear_time() -> None:
    many = [("x-many", "v")] * 20_000
    started = time.process_time()
    assert len(admitted("/v1/models", "GET", *many).headers["x-many"]) == 20_000
    assert time.process_time() - started < 0.5
