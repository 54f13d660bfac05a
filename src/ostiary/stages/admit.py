"""The raw request: host, peer, encoding, size, depth and duplicate keys, before anything else.

Guarantees to the stages behind it: one known Host, one peer address, a body that was decoded
once and strictly, and no header that appears twice where once is meant.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl

from ostiary.errors import (
    MalformedRequest,
    MethodNotAllowed,
    MisdirectedRequest,
    NotFound,
    TooLarge,
    UnsupportedMedia,
)
from ostiary.exchange import Admitted, Arrival, Trace
from ostiary.wire.gzip_body import GzipError, GzipTooLarge, inflate
from ostiary.wire.strict_json import StrictJSONError, decode

LAYER = "admit"
PROBES = frozenset({"livez", "readyz", "startupz"})
"""Operations that answer under any Host: an orchestrator asks by an address of its own."""

_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9](?:[A-Za-z0-9._-]{0,252}))(?::([0-9]{1,5}))?")
_WITH_PORT = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+))(?::[0-9]{1,5})?")
_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_JSON_TYPE = re.compile(r'application/json\s*(?:;\s*charset\s*=\s*"?utf-8"?\s*)?', re.IGNORECASE)

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Door:
    """What `admit` needs to know: the host allow-list and who may speak for a peer."""

    hosts: frozenset[str]
    trusted_proxies: tuple[Network, ...]
    new_trace_id: Callable[[], str]
    clock: Callable[[], float] = time.time


async def admit(arrival: Arrival, door: Door) -> Admitted:
    """Take a request in, or refuse: 400, 404, 405, 413, 415 or 421."""
    headers = _gather(arrival.headers)
    route = arrival.route
    _check_host(headers.get("host", ()), _hosts(arrival, door))
    if _is_upgrade(headers.get("upgrade", ())):
        raise MalformedRequest(
            "WebSockets are not served.",
            layer=LAYER,
            rule="upgrade",
            headers={"Connection": "close"},
        )
    address = peer_address(arrival.peer, headers.get("x-forwarded-for", ()), door.trusted_proxies)
    if route is None:
        raise _unmatched(arrival)
    return Admitted(
        request_id=arrival.request_id,
        at=door.clock(),
        route=route,
        trace=_trace(headers, door.new_trace_id),
        params=arrival.params,
        query=_query(arrival.query),
        headers=headers,
        address=address,
        body=await _body(arrival, headers),
    )


def _unmatched(arrival: Arrival) -> NotFound | MethodNotAllowed:
    if arrival.allowed:
        allow = ", ".join(arrival.allowed)
        return MethodNotAllowed(
            f"This path takes {allow}.", layer=LAYER, rule="method", headers={"Allow": allow}
        )
    if arrival.stateful:
        return NotFound(
            "Objects that a provider keeps (stored responses, files, batches, threads and the "
            "like) are not served here: nothing is stored upstream, and nobody's can be read.",
            layer=LAYER,
            rule="stateful",
        )
    return NotFound(
        "There is no such path; /openapi.json lists what there is.", layer=LAYER, rule="path"
    )


def _gather(raw: Sequence[tuple[bytes, bytes]]) -> Mapping[str, tuple[str, ...]]:
    headers: dict[str, list[str]] = {}
    for name, value in raw:
        headers.setdefault(name.decode("latin-1").lower(), []).append(
            value.decode("latin-1").strip()
        )
    return {name: tuple(values) for name, values in headers.items()}


def knows_host(arrival: Arrival, door: Door) -> bool:
    """Whether `admit` would take this route's request: a known Host, and no WebSocket."""
    try:
        _check_host(_values(arrival, b"host"), _hosts(arrival, door))
    except (MalformedRequest, MisdirectedRequest):
        return False
    return not _is_upgrade(_values(arrival, b"upgrade"))


def over_tls(arrival: Arrival, door: Door) -> bool:
    """Whether a trusted proxy says that its caller speaks TLS with it.

    Only X-Forwarded-Proto of a peer inside `trusted_proxies` is believed, and only where each of
    its values says so: the proxy may answer in clear as well.
    """
    said = [
        part.strip() for line in _values(arrival, b"x-forwarded-proto") for part in line.split(",")
    ]
    if not said or any(part.lower() != "https" for part in said):
        return False
    address = _address(arrival.peer)
    return address is not None and _within(address, door.trusted_proxies)


def _values(arrival: Arrival, name: bytes) -> tuple[str, ...]:
    return tuple(v.decode("latin-1").strip() for n, v in arrival.headers if n.lower() == name)


def _is_upgrade(values: Sequence[str]) -> bool:
    return any("websocket" in value.lower() for value in values)


def _hosts(arrival: Arrival, door: Door) -> frozenset[str] | None:
    """The names that this route answers to; None: any."""
    probe = arrival.route is not None and arrival.route.operation in PROBES
    return None if probe else door.hosts


def _check_host(values: Sequence[str], hosts: frozenset[str] | None) -> None:
    name = host_name(values)
    if name is None:
        raise MalformedRequest(
            "The request needs exactly one well-formed Host header.", layer=LAYER, rule="host-form"
        )
    if hosts is not None and name not in hosts:
        raise MisdirectedRequest(
            "This gateway does not answer for that host; add the name to server.hosts.",
            layer=LAYER,
            rule="host",
        )


def host_name(values: Sequence[str]) -> str | None:
    """The name in the one Host header, in lower case; None unless it is one and well-formed."""
    match = _HOST.fullmatch(values[0]) if len(values) == 1 else None
    if match is None or int(match[2] or 0) > 65_535:
        return None
    return match[1].lower()


def peer_address(peer: str, forwarded: Sequence[str], trusted: Sequence[Network]) -> str:
    """The client's address: the peer, or behind a trusted proxy the rightmost hop in none.

    Only X-Forwarded-For is read, and only from a peer inside `trusted`: anybody else could write
    it. Several lines are one list; a port is dropped; an unreadable hop is a 400.
    """
    address = _address(peer)
    if address is None or not _within(address, trusted):
        return peer if address is None else str(address)
    for hop in reversed([hop for line in forwarded for hop in line.split(",")]):
        address = _address(hop.strip())
        if address is None:
            raise MalformedRequest(
                "X-Forwarded-For holds something that is not an address.",
                layer=LAYER,
                rule="forwarded-for",
            )
        if not _within(address, trusted):
            break
    return str(address)


@lru_cache(maxsize=4_096)
def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    with_port = _WITH_PORT.fullmatch(text)
    if with_port:
        text = with_port[1] or with_port[2]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _within(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address, networks: Sequence[Network]
) -> bool:
    return any(address in network for network in networks)


def _trace(headers: Mapping[str, tuple[str, ...]], new_trace_id: Callable[[], str]) -> Trace:
    values = headers.get("traceparent", ())
    match = _TRACEPARENT.fullmatch(values[0]) if len(values) == 1 else None
    if match is None or match[1] == "ff" or (match[1] == "00" and match[5]):
        return Trace(new_trace_id())
    if not match[2].strip("0") or not match[3].strip("0"):
        return Trace(new_trace_id())
    return Trace(match[2], match[4])


def _query(raw: bytes) -> Mapping[str, str]:
    if not raw:
        return {}
    try:
        pairs = parse_qsl(
            raw.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=64
        )
    except ValueError as cause:
        raise MalformedRequest(
            "The query string cannot be read.", layer=LAYER, rule="query"
        ) from cause
    query = dict(pairs)
    if len(query) != len(pairs):
        raise MalformedRequest(
            "A query parameter is given twice.", layer=LAYER, rule="query-duplicate"
        )
    return query


async def _body(arrival: Arrival, headers: Mapping[str, tuple[str, ...]]) -> Any:
    route = arrival.route
    if route is None or not route.body_limit:
        return None
    packed = _is_gzip(headers.get("content-encoding", ()))
    types = headers.get("content-type", ())
    if len(types) != 1 or not _JSON_TYPE.fullmatch(types[0]):
        raise UnsupportedMedia(
            "Send the body as Content-Type: application/json, in UTF-8.",
            layer=LAYER,
            rule="content-type",
        )
    data = await arrival.read(route.body_limit)
    if packed:
        data = await _inflated(data, route.body_limit)
    try:
        return decode(data)
    except StrictJSONError as cause:
        raise MalformedRequest(
            f"The body is not acceptable JSON: {cause}", layer=LAYER, rule=f"json-{cause.rule}"
        ) from cause


def _is_gzip(codings: Sequence[str]) -> bool:
    """Whether the body is packed; 415 for every coding but gzip alone, once."""
    named = [c for c in (value.lower() for value in codings) if c not in {"", "identity"}]
    if named and named not in (["gzip"], ["x-gzip"]):
        raise UnsupportedMedia(
            "Send the body without a content coding, or with gzip alone.",
            layer=LAYER,
            rule="content-encoding",
            headers={"Accept-Encoding": "gzip, identity"},
        )
    return bool(named)


async def _inflated(data: bytes, limit: int) -> bytes:
    """The body without its coding, in slices between which others get their turn."""
    whole = bytearray()
    try:
        for part in inflate(data, limit):
            whole += part
            await asyncio.sleep(0)
    except GzipTooLarge as cause:
        raise TooLarge(
            f"Inflated, the body is larger than the {limit} bytes that this route takes.",
            layer=LAYER,
            rule="body-size",
        ) from cause
    except GzipError as cause:
        raise MalformedRequest(
            f"The body is not one whole gzip member: {cause}.", layer=LAYER, rule="gzip"
        ) from cause
    return bytes(whole)
