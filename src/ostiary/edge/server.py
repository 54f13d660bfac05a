"""The web server: uvicorn on uvloop, with what it lacks.

Headers are frozen when the head is complete: httptools appends trailer fields to the same list,
so that a credential in a chunked trailer would log in (measured with uvicorn 0.54). It bounds
neither the size of a head nor the time that it takes. A client that leaves cancels its request.
And uvloop asks the system for every single write: what is written together is sent together.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import socket as sockets
import sys
from collections.abc import Callable, Iterator
from ssl import SSLContext
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from ostiary.edge.accept import Acceptor, most_connections
from ostiary.edge.app import BODY_SECONDS, CUT, LEAVE, STRICT_TRANSPORT
from ostiary.errors import ConfigurationError

HEAD_SECONDS = 15
HEAD_BYTES = 64 * 1024
HEAD_FIELDS = 128
IDLE_SECONDS = 75
STALL_SECONDS = 30
"""How long a client may take nothing of what waits for it."""
LAST_SECONDS = 5
"""How long the last bytes of a connection that we close may take."""
DRAIN_SECONDS = 10
WRITE_BYTES = 32 * 1024
_LEAST_TAKEN = 1024
_FRAMING = 8
_GATHERED_BYTES = 4 * 1024
_VERSIONS = frozenset({"1.0", "1.1"})
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Gathering:
    """A transport that sends in one call what is written in one turn of the loop, in its order.

    A head and its body, or the events that one read from the model brought, so cost one system
    call. Nothing waits longer than the turn, and what reaches `_GATHERED_BYTES` not even that: the
    first events of many are not held up by the last.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        """Take the transport and the loop that it belongs to."""
        self._transport = transport
        self._loop = loop
        self._waiting: list[bytes] = []
        self._size = 0

    def __getattr__(self, name: str) -> Any:
        """Whatever else a transport can do."""
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Send `data` at the end of this turn."""
        if not self._waiting:
            self._loop.call_soon(self._send)
        self._waiting.append(data)
        self._size += len(data)
        if self._size >= _GATHERED_BYTES:
            self._send()

    def close(self) -> None:
        """Send what waits, then close."""
        self._send()
        self._transport.close()

    def _send(self) -> None:
        if self._waiting and not self._transport.is_closing():
            waiting = self._waiting
            self._transport.write(waiting[0] if len(waiting) == 1 else b"".join(waiting))
        self._waiting, self._size = [], 0


class FrozenHeaders(HttpToolsProtocol):
    """uvicorn's httptools protocol with bounds on a head, less its trailers; notices who left.

    A head has `HEAD_SECONDS` from its first byte, `HEAD_BYTES` and `HEAD_FIELDS`; what frames a
    body may not outgrow it. A connection that sends no head, or the body of a request that was
    answered long ago, or that takes nothing of what waits for it, is closed. Of transfer codings
    only `chunked` is undone, so only it is taken.
    """

    _timer: asyncio.TimerHandle | None = None
    _in_head = False
    _in_body = False
    _size = 0
    _cycles: tuple[Any, ...] = ()
    _stall: asyncio.TimerHandle | None = None
    _end: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Give the first request a while to begin."""
        super().connection_made(Gathering(transport, self.loop))  # type: ignore[arg-type]
        transport.set_write_buffer_limits(high=WRITE_BYTES)
        self._close_in(IDLE_SECONDS)

    def data_received(self, data: bytes) -> None:
        """Count what belongs to a head that stays unfinished."""
        was_in_head, was_in_body = self._in_head, self._in_body
        if not was_in_head and not was_in_body and not self._is_plain(data):
            self.send_400_response("Invalid HTTP request received.")
            return
        super().data_received(data)
        if (was_in_head and self._in_head) or (was_in_body and self._in_body):
            self._size += len(data)
            if self._size > HEAD_BYTES:
                self._hang_up()
        elif self._timer is None and (self.cycle is None or self.cycle.response_complete):
            # Empty lines between requests are legal, and must not hold a connection for ever.
            self._close_in(IDLE_SECONDS)

    def on_message_begin(self) -> None:
        """Start the head's time."""
        super().on_message_begin()
        self.scope[CUT] = self.transport.abort  # type: ignore[literal-required]
        self._in_head, self._size = True, 0
        self._close_in(HEAD_SECONDS)

    def on_url(self, url: bytes) -> None:
        """Refuse a request line that is too long."""
        super().on_url(url)
        self._take(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        """Refuse too many header fields, or too long ones."""
        super().on_header(name, value)
        self._take(len(name) + len(value))
        if len(self.headers) > HEAD_FIELDS:
            raise ValueError("the head has too many fields")

    def on_headers_complete(self) -> None:
        """Hand the head over, then let trailer fields fall into a list that nobody reads."""
        codings = [value.lower() for name, value in self.headers if name == b"transfer-encoding"]
        version = self.parser.get_http_version()
        if version not in _VERSIONS or (codings and (codings, version) != ([b"chunked"], "1.1")):
            raise ValueError("the head is not of HTTP/1.1 as we speak it")
        self._in_head, self._in_body, self._size = False, True, 0
        self._close_in(BODY_SECONDS, answered=True)
        super().on_headers_complete()
        self.headers: list[tuple[bytes, bytes]] = []
        # Of requests sent behind each other, the one read last is not the one under way.
        self._cycles = (*(c for c in self._cycles if not c.response_complete), self.cycle)

    def on_body(self, body: bytes) -> None:
        """Give each byte of a body its share of framing (one byte in a chunk takes six)."""
        self._size -= _FRAMING * len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is whole: what comes next has its own time."""
        self._in_body = False
        self._stop_timer()
        super().on_message_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the requests under way: nobody is there to hear the answers."""
        self._stop_timer()
        self._stop_stall()
        if self._end is not None:
            self._end.cancel()
        super().connection_lost(exc)
        for cycle in self._cycles:
            if not cycle.response_complete:
                cycle.disconnected = True
                leave: Callable[[], object] | None = cycle.scope.get(LEAVE)
                if leave is not None:
                    leave()

    def pause_writing(self) -> None:
        """The client takes less than it is sent: let it not hold the request for ever."""
        super().pause_writing()
        self._stop_stall()
        self._watch_reader(self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        """The client reads again."""
        self._stop_stall()
        super().resume_writing()

    def timeout_keep_alive_handler(self) -> None:
        """Close a connection that was idle for long, even if it reads nothing."""
        self._hang_up()

    def shutdown(self) -> None:
        """Close at once what is idle, the rest with its answer, and let the application know."""
        super().shutdown()
        if self.transport.is_closing():
            self._hang_up()

    def _watch_reader(self, waiting: int) -> None:
        self._stall = self.loop.call_later(STALL_SECONDS, self._judge_reader, waiting)

    def _judge_reader(self, before: int) -> None:
        waiting = self.transport.get_write_buffer_size()
        if waiting > before - _LEAST_TAKEN:
            self._stall = None
            self.transport.abort()
        else:
            self._watch_reader(waiting)

    def _stop_stall(self) -> None:
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None

    def _hang_up(self) -> None:
        """Close; what was not taken in time is dropped, else it would hold the connection."""
        self.transport.close()
        if self._end is None:
            self._end = self.loop.call_later(LAST_SECONDS, self.transport.abort)

    def _is_plain(self, data: bytes) -> bool:
        """Whether a request line that begins here has single spaces (RFC 9112 §3)."""
        return b"  " not in data.lstrip(b"\r\n").partition(b"\n")[0]

    def _take(self, size: int) -> None:
        self._size += size
        if self._size > HEAD_BYTES:
            raise ValueError("the head is too long")

    def _close_in(self, seconds: float, *, answered: bool = False) -> None:
        self._stop_timer()
        self._timer = self.loop.call_later(seconds, self._close, answered)

    def _close(self, answered: bool) -> None:
        """Close; where `answered`, only if the answer is out (else the application decides)."""
        self._timer = None
        if not answered or self.cycle.response_complete:
            self._hang_up()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class _Server(uvicorn.Server):
    """Says when it is ready, and ends by itself on a signal instead of dying of it."""

    def __init__(
        self,
        config: uvicorn.Config,
        ready: Callable[[], None],
        *,
        most: int,
        tls: SSLContext | None,
    ) -> None:
        super().__init__(config)
        self._ready = ready
        self._most = most
        self._tls = tls

    async def startup(self, sockets: list[sockets.socket] | None = None) -> None:
        """Start the application, then listen; uvicorn's own listener bounds nothing."""
        await self.lifespan.startup()
        if self.lifespan.should_exit:
            sys.exit(3)

        def protocol() -> asyncio.Protocol:
            return FrozenHeaders(self.config, self.server_state, self.lifespan.state)

        self._acceptors = [
            Acceptor(
                socket,
                protocol,
                held=self.server_state.connections,
                most=self._most,
                tls=self._tls,
            )
            for socket in sockets or ()
        ]
        for acceptor in self._acceptors:
            acceptor.start(self.config.backlog)
        self.started = True
        # What is there now stays: the collector would walk it for 30 ms each time, and
        # requests would wait.
        gc.collect()
        gc.freeze()
        self._ready()

    async def shutdown(self, sockets: list[sockets.socket] | None = None) -> None:
        """Take nobody in, give what is under way `DRAIN_SECONDS`, cut the rest, then end."""
        state = self.server_state
        self.config.loaded_app.draining = True
        for acceptor in self._acceptors:
            acceptor.close()
        for socket in sockets or ():
            socket.close()
        for connection in list(state.connections):
            connection.shutdown()
        loop = asyncio.get_running_loop()
        until = loop.time() + DRAIN_SECONDS
        while state.tasks and loop.time() < until and not self.force_exit:
            await asyncio.wait(list(state.tasks), timeout=0.1)
        for task in list(state.tasks):
            task.cancel()
        if state.tasks:
            # Each records its interruption on the way out; the store closes after that.
            await asyncio.wait(list(state.tasks), timeout=LAST_SECONDS)
        await asyncio.sleep(0)
        for connection in list(state.connections):
            connection.transport.abort()
        await self.lifespan.shutdown()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        before = {number: signal.signal(number, self.handle_exit) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


@contextlib.contextmanager
def listen(host: str, port: int) -> Iterator[sockets.socket]:
    """A bound socket; ConfigurationError where the address cannot be had."""
    family = sockets.AF_INET6 if ":" in host else sockets.AF_INET
    with sockets.socket(family, sockets.SOCK_STREAM) as socket:
        socket.setsockopt(sockets.SOL_SOCKET, sockets.SO_REUSEADDR, 1)
        try:
            socket.bind((host, port))
        except OSError as cause:
            raise ConfigurationError(
                f"server.port: cannot listen there ({cause.strerror}); "
                "another program may hold the port: choose one with --port"
            ) from cause
        yield socket


async def server(
    app: Any,
    socket: sockets.socket,
    ready: Callable[[], None],
    *,
    most: int = 10_000,
    tls: SSLContext | None = None,
) -> None:
    """Serve one application on one socket until a signal ends it; `ready` is called once.

    `most` connections are held at a time, fewer where the system allows fewer open files.
    """
    config = uvicorn.Config(
        app,
        http=FrozenHeaders,
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=IDLE_SECONDS,
        backlog=2048,
        # Beneath every answer, those of the parser included.
        headers=[STRICT_TRANSPORT] if tls else [],
    )
    running = _Server(config, ready, most=most_connections(most), tls=tls)
    await running.serve(sockets=[socket])
