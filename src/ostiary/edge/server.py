"""The web server: uvicorn on uvloop, with what it lacks.

Headers are frozen when the head is complete: httptools appends trailer fields to the same list,
so that a credential in a chunked trailer would log in (measured with uvicorn 0.54). A client that
leaves cancels its request at once.
"""

from __future__ import annotations

import contextlib
import gc
import signal
import socket as sockets
from collections.abc import Callable, Iterator
from typing import Any, cast

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from ostiary.edge.app import LEAVE
from ostiary.errors import ConfigurationError

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class FrozenHeaders(HttpToolsProtocol):
    """uvicorn's httptools protocol, less its trailers, plus a way to notice who left."""

    def on_headers_complete(self) -> None:
        """Hand the head over, then let trailer fields fall into a list that nobody reads."""
        super().on_headers_complete()
        self.headers: list[tuple[bytes, bytes]] = []

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the request under way: nobody is there to hear the answer."""
        cycle = self.cycle
        super().connection_lost(exc)
        if cycle is not None and not cycle.response_complete:
            leave: Callable[[], object] | None = cast("Any", cycle.scope).get(LEAVE)
            if leave is not None:
                leave()


class _Server(uvicorn.Server):
    """Says when it is ready, and ends by itself on a signal instead of dying of it."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[sockets.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            # What is there now stays: the collector would walk it for 30 ms each time, and
            # requests would wait.
            gc.collect()
            gc.freeze()
            self._ready()

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


async def server(app: Any, socket: sockets.socket, ready: Callable[[], None]) -> None:
    """Serve one application on one socket until a signal ends it; `ready` is called once."""
    config = uvicorn.Config(
        app,
        http=FrozenHeaders,
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=10,
        backlog=2048,
    )
    await _Server(config, ready).serve(sockets=[socket])
