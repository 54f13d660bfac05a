"""The ASGI application: one route table, one pipeline, one way to answer."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from ostiary.edge import problem, render
from ostiary.edge.overload import Overload, overloaded
from ostiary.edge.routes import Match, Table, face_of, names_stored_objects
from ostiary.errors import MalformedRequest, RequestTimeout, TooLarge
from ostiary.exchange import Arrival, Face, Limit
from ostiary.pipeline import Answer, Done, Pipeline, Refused

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Probe = Callable[[], Awaitable[tuple[int, dict[str, Any]]]]

LEAVE, CUT = "ostiary.leave", "ostiary.cut"
LINGER_SECONDS, LINGER_BYTES = 2.0, 64 * 1024 * 1024
BODY_SECONDS = 30
STRICT_TRANSPORT = ("Strict-Transport-Security", "max-age=63072000")
"""Two years (RFC 6797 §6.1): on every answer over TLS and on none without."""
_encode = msgspec.json.Encoder().encode
_EVERY_ANSWER = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


@dataclass(frozen=True, slots=True)
class Edge:
    """What the application is made of. `probes` answer without a credential or a record.

    `shed` notes that a request is refused for want of room, and says whether that will be
    recorded; `over_tls` whether a proxy in front speaks TLS to the caller of a request.
    """

    pipeline: Pipeline
    probes: Mapping[str, Probe]
    new_request_id: Callable[[], str]
    start: Callable[[], Awaitable[None]]
    stop: Callable[[], Awaitable[None]]
    load: Overload
    shed: Callable[[Arrival], bool]
    over_tls: Callable[[Arrival], bool] = lambda _: False
    table: Table = field(default_factory=Table)


class Application:
    """An ASGI 3 application over the pipeline."""

    def __init__(self, edge: Edge) -> None:
        """Take the built parts."""
        self._edge = edge
        self.draining = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection scope."""
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        await self._edge.start()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._edge.stop()
        await send({"type": "lifespan.shutdown.complete"})

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = self._edge.new_request_id()
        match = _match(self._edge.table, scope)
        arrival = _arrival(scope, receive, request_id, match)
        pipeline, load = self._edge.pipeline, self._edge.load
        probe = match.route is not None and match.route.public
        admitted = probe or load.admits()
        with load.stay() as stay:
            reply = _Reply(
                send,
                receive,
                request_id,
                face_of(scope["path"]),
                match.route is not None and match.route.azure,
                pipeline.standing,
                stay.answered,
            )
            if self._edge.over_tls(arrival):
                reply.every[STRICT_TRANSPORT[0]] = STRICT_TRANSPORT[1]
            leave_with(scope, asyncio.current_task())
            serving = self._serve(arrival, reply) if admitted else self._shed(arrival, reply, scope)
            # Cancelled means that the client left or the drain is over: nobody hears the rest.
            with contextlib.suppress(asyncio.CancelledError):
                await problem.guarded(serving, reply.refused)

    async def _shed(self, arrival: Arrival, reply: _Reply, scope: Scope) -> None:
        """Refuse for want of room. What could not be recorded any more is cut without a word."""
        cut: Callable[[], None] | None = scope.get(CUT)
        if self._edge.shed(arrival) or cut is None:
            await reply.refused(Refused(overloaded()))
        else:
            cut()
            await asyncio.sleep(0)

    async def _serve(self, arrival: Arrival, reply: _Reply) -> None:
        route = arrival.route
        if route is not None and route.public and self._edge.pipeline.knows_host(arrival):
            status, body = await self._edge.probes[route.operation]()
            if self.draining and route.operation == "readyz":
                status, body = 503, {**body, "status": "draining"}
            await reply.whole(status, _encode(body), "application/json", {})
            return
        result = await self._edge.pipeline.walk(arrival)
        if isinstance(result, Refused):
            await reply.refused(result)
        elif isinstance(result, Done):
            await reply.done(result)
        else:
            await reply.answer(result)


def leave_with(scope: Scope, task: asyncio.Task[Any] | None) -> None:
    """Let the server cancel the request when its client is gone (`server.py` calls it)."""
    if task is not None:
        scope[LEAVE] = task.cancel


def _match(table: Table, scope: Scope) -> Match:
    """The row of a request. A slash that came encoded is none: readers differ on what it means."""
    if b"%2f" in scope.get("raw_path", b"").lower():
        return Match(None, {})
    return table.match(scope["method"], scope["path"])


def _arrival(scope: Scope, receive: Receive, request_id: str, match: Match) -> Arrival:
    headers = tuple(scope["headers"])
    client = scope.get("client")
    return Arrival(
        request_id=request_id,
        method=scope["method"],
        route=match.route,
        allowed=match.allowed,
        stateful=match.route is None and names_stored_objects(scope["path"]),
        params=match.params,
        query=scope["query_string"],
        headers=headers,
        peer=client[0] if client else "",
        read=lambda limit: _read(receive, headers, limit),
    )


async def _read(receive: Receive, headers: tuple[tuple[bytes, bytes], ...], limit: int) -> bytes:
    """The body, refused before it is read where its length says so, else as soon as it is over.

    It has `BODY_SECONDS` to arrive, however slowly it drips.
    """
    for name, value in headers:
        if name == b"content-length" and value.isdigit() and int(value[:20]) > limit:
            raise _too_large(limit)
    try:
        async with asyncio.timeout(BODY_SECONDS):
            return await _gather(receive, limit)
    except TimeoutError as cause:
        raise RequestTimeout(
            f"The body did not arrive within {BODY_SECONDS} s.",
            layer="admit",
            rule="body-slow",
            headers={"Connection": "close"},
        ) from cause


async def _gather(receive: Receive, limit: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise MalformedRequest(
                "The client left before the body was whole.", layer="admit", rule="body-cut"
            )
        part = message.get("body", b"")
        size += len(part)
        if size > limit:
            raise _too_large(limit)
        parts.append(part)
        if not message.get("more_body", False):
            return parts[0] if len(parts) == 1 else b"".join(parts)


async def _linger(receive: Receive) -> None:
    """Read on, keeping nothing, until the client is done, or for a bounded while.

    To close on bytes that wait unread resets the connection, and may take the refusal away from
    a client that has not read it yet (RFC 9112 §9.6).
    """
    left = LINGER_BYTES
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LINGER_SECONDS):
            while left > 0:
                message = await receive()
                left -= len(message.get("body", b""))
                if not message.get("more_body", False):
                    return


def _too_large(limit: int) -> TooLarge:
    return TooLarge(
        f"The body is larger than the {limit} bytes that this route takes.",
        layer="admit",
        rule="body-size",
        headers={"Connection": "close"},
    )


class _Reply:
    """Writes one response."""

    def __init__(
        self,
        send: Send,
        receive: Receive,
        request_id: str,
        face: Face,
        azure: bool,
        standing: tuple[Limit, ...],
        begun: Callable[[], None],
    ) -> None:
        self._send = send
        self._receive = receive
        self._request_id = request_id
        self._face = face
        self._azure = azure
        self._standing = render.limit_headers(standing)
        self._begun = False
        self._tell = begun
        self.every = dict(_EVERY_ANSWER)

    async def refused(self, refused: Refused) -> None:
        if self._begun:
            return
        refusal = refused.refusal
        body = problem.body(refusal, self._request_id, self._face, azure=self._azure)
        headers = {**render.limit_headers(refused.limits), **problem.headers(refusal)}
        closes = "Connection" in headers
        await self.whole(
            refusal.status, _encode(body), problem.CONTENT_TYPE, headers, linger=closes
        )

    async def done(self, done: Done) -> None:
        body = b"" if done.body is None else _encode(done.body)
        headers = {**render.limit_headers(done.limits), **done.headers}
        await self.whole(done.status, body, "application/json", headers)

    async def answer(self, answer: Answer) -> None:
        try:
            headers = render.limit_headers(answer.limits)
            if answer.screened.checked.stream:
                await self._stream(answer, headers)
            else:
                async for event in answer.events:
                    await self.whole(200, render.whole(answer, event), "application/json", headers)
        finally:
            await answer.events.aclose()

    async def _stream(self, answer: Answer, headers: Mapping[str, str]) -> None:
        await self._head(200, "text/event-stream", headers)
        async for frame in render.stream(answer):
            await self._send({"type": "http.response.body", "body": frame, "more_body": True})
        await self._send({"type": "http.response.body", "body": b""})

    async def whole(
        self,
        status: int,
        body: bytes,
        content_type: str,
        headers: Mapping[str, str],
        *,
        linger: bool = False,
    ) -> None:
        await self._head(status, content_type, {"Content-Length": str(len(body)), **headers})
        await self._send({"type": "http.response.body", "body": body, "more_body": linger})
        if linger:
            await _linger(self._receive)
            await self._send({"type": "http.response.body", "body": b""})

    async def _head(self, status: int, content_type: str, headers: Mapping[str, str]) -> None:
        merged = {
            "Content-Type": content_type,
            "x-request-id": self._request_id,
            **self.every,
            **({} if "RateLimit" in headers else self._standing),
            **headers,
        }
        if status == 204:
            del merged["Content-Type"], merged["Content-Length"]
        self._begun = True
        self._tell()
        raw = [(n.lower().encode("latin-1"), v.encode("latin-1")) for n, v in merged.items()]
        await self._send({"type": "http.response.start", "status": status, "headers": raw})
