"""The web server: uvicorn on uvloop, with three things that it lacks.

Headers are frozen when the head is complete: httptools appends trailer fields to the same list,
so that a credential in a chunked trailer would log in (measured with uvicorn 0.54). A client that
leaves cancels its request at once. And nothing is written to the server's own log.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from ostiary.edge.app import LEAVE


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


def server(app: Any, *, host: str, port: int) -> uvicorn.Server:
    """A server for one application on one address."""
    return uvicorn.Server(
        uvicorn.Config(
            app,
            host=host,
            port=port,
            http=FrozenHeaders,
            ws="none",
            lifespan="on",
            access_log=False,
            log_config=None,
            server_header=False,
            date_header=True,
            proxy_headers=False,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=10,
            backlog=2048,
        )
    )
