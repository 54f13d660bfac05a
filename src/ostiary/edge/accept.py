"""Takes connections in, no more than can be held.

asyncio's own listener counts a connection only after its TLS handshake, so that handshakes without
an end are bounded by nothing but the open files, which the store and the providers need too.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import resource
import socket as sockets
import ssl
from collections.abc import Callable, Sized
from typing import Final

HANDSHAKE_SECONDS: Final = 10.0
KEPT_FILES: Final = 256
"""Open files that connections leave to the store, the log and the loop."""

_AT_ONCE: Final = 128
_PAUSE_SECONDS: Final = 0.1
_SEND_BUFFER: Final = 128 * 1024
_OUT_OF_FILES: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_FULL: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 2\r\ncache-control: no-store\r\n"
    b"content-length: 0\r\nconnection: close\r\n\r\n"
)


def raise_file_limit() -> None:
    """Allow this process as many open files as the system lets it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def most_connections(wanted: int) -> int:
    """How many connections can be held: each may need a second file, towards a provider."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return wanted
    return max(1, min(wanted, (soft - KEPT_FILES) // 2))


class Acceptor:
    """Accepts on one socket; what exceeds `most`, handshakes included, is closed at once."""

    def __init__(
        self,
        socket: sockets.socket,
        protocol: Callable[[], asyncio.Protocol],
        *,
        held: Sized,
        most: int,
        tls: ssl.SSLContext | None,
    ) -> None:
        """`held` are the connections that got past their handshake."""
        self._loop = asyncio.get_running_loop()
        self._socket = socket
        self._protocol = protocol
        self._held = held
        self._most = most
        self._tls = tls
        self._beginning: set[asyncio.Task[None]] = set()
        self._waiting: asyncio.TimerHandle | None = None

    def start(self, backlog: int) -> None:
        """Listen and accept from now on."""
        self._socket.setblocking(False)
        self._socket.listen(backlog)
        self._watch()

    def close(self) -> None:
        """Take nobody in any more; who is in the middle of a handshake is let go."""
        if self._waiting is not None:
            self._waiting.cancel()
        self._loop.remove_reader(self._socket.fileno())
        for task in self._beginning:
            task.cancel()

    async def wait_closed(self) -> None:
        """Return when no handshake is under way."""
        await asyncio.gather(*self._beginning, return_exceptions=True)

    def _watch(self) -> None:
        self._waiting = None
        self._loop.add_reader(self._socket.fileno(), self._accept)

    def _accept(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                connection, _address = self._socket.accept()
            except (BlockingIOError, ConnectionAbortedError, InterruptedError):
                return
            except OSError as cause:
                if cause.errno in _OUT_OF_FILES:
                    # The connection stays in the backlog and would wake the loop without end.
                    self._loop.remove_reader(self._socket.fileno())
                    self._waiting = self._loop.call_later(_PAUSE_SECONDS, self._watch)
                return
            if len(self._held) + len(self._beginning) >= self._most:
                self._turn_away(connection)
            else:
                task = self._loop.create_task(self._begin(connection))
                self._beginning.add(task)
                task.add_done_callback(self._beginning.discard)

    def _turn_away(self, connection: sockets.socket) -> None:
        connection.setblocking(False)
        with connection, contextlib.suppress(OSError):
            if self._tls is None:
                connection.send(_FULL)

    async def _begin(self, connection: sockets.socket) -> None:
        try:
            connection.setblocking(False)
            connection.setsockopt(sockets.IPPROTO_TCP, sockets.TCP_NODELAY, 1)
            # Else the kernel keeps up to 4 MB of a stream for a client that does not read.
            connection.setsockopt(sockets.SOL_SOCKET, sockets.SO_SNDBUF, _SEND_BUFFER)
            await self._loop.connect_accepted_socket(
                self._protocol,
                connection,
                ssl=self._tls,
                ssl_handshake_timeout=HANDSHAKE_SECONDS if self._tls else None,
            )
        except (OSError, asyncio.CancelledError):
            # No TLS, a handshake without an end, or gone already. Nobody is there to be told.
            connection.close()
