"""One exchange with a provider over HTTP(S): the pool, when it is sent again, how it is read.

A request is sent again only where the provider cannot have begun it (no connection), where it
answered 429 or 5xx, or where it rejected a credential that has a successor; at most three calls in
all, over every provider, and never before its Retry-After. Redirects are never followed. Nothing
of what the caller sent but the screened body goes out: headers are written here, one by one.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
import msgspec
import structlog

from ostiary.errors import ProviderFailed, Refusal
from ostiary.exchange import Call
from ostiary.upstream import faults
from ostiary.upstream.addresses import Egress
from ostiary.upstream.breaker import Breaker
from ostiary.upstream.credentials import Credential
from ostiary.upstream.egress import CheckedResolver, ForbiddenAddressError
from ostiary.upstream.trust import trust
from ostiary.wire.readings import AnswerShapeError, Reading, reading_of
from ostiary.wire.sse import Parser, SseError

log = structlog.get_logger("ostiary")
LONGEST_WAIT = 2.0
LONGEST_ANSWER = 3_600.0
LONGEST_CONNECT = 10.0
MAX_ANSWER = 16 * 1024 * 1024
MAX_EVENT = 2 * 1024 * 1024
MAX_ERROR = 64 * 1024
# What is read ahead for a caller who does not read: many of them must not fill the memory.
READ_AHEAD = 16 * 1024
_BACKOFF = (0.1, 0.4)
# Not the strict decoder: what was decoded is written anew, so that nobody reads these bytes again.
_WHOLE = msgspec.json.Decoder()


@dataclass(frozen=True, slots=True)
class Service:
    """What makes one provider: where it is asked, how it is authorised, what is sent.

    `url` and `body` are made of a call; `authorise` makes the one header that carries a
    credential. `timeout_seconds` is the longest silence; `egress` says where connections may go.
    """

    name: str
    url: Callable[[Call], str]
    body: Callable[[Call], Mapping[str, Any]]
    authorise: Callable[[str], tuple[str, str]]
    credential: Credential
    timeout_seconds: float
    egress: Egress


def bearer(credential: str) -> tuple[str, str]:
    """The header that OpenAI's key and every token go in (RFC 6750 §2.1)."""
    return "Authorization", f"Bearer {credential}"


class Upstream:
    """A provider over one pool of connections and one circuit breaker."""

    def __init__(self, service: Service, breaker: Breaker | None = None) -> None:
        """Take what makes the provider; the pool opens with the first call."""
        self.name = service.name
        self._service = service
        self._breaker = breaker or Breaker(time.monotonic)
        self._trust = trust(os.environ)
        self._barred = service.egress.bars_itself
        self._session: aiohttp.ClientSession | None = None

    async def answer(self, call: Call) -> AsyncGenerator[dict[str, Any], None]:
        """Yield the answer's events; see the port for what it guarantees."""
        if wait := self._breaker.wait():
            raise faults.left_alone(wait)
        response = await self._reach(call)
        reading = reading_of(call.dialect)
        try:
            if response.content_type == "text/event-stream":
                if not call.stream:
                    raise faults.failed("shape", "The model streamed where it was not asked to.")
                async for event in self._events(response, reading):
                    yield event
            else:
                yield await self._whole(response, reading)
            self._note(well=True)
        except GeneratorExit:
            # Whoever asked has enough: what came until here did come.
            self._note(well=True)
            raise
        except TimeoutError as cause:
            self._note(well=False)
            raise faults.silent() from cause
        except aiohttp.ClientError as cause:
            raise faults.failed("broken", "The model's answer broke off.") from cause
        except SseError as cause:
            self._note(well=True)
            raise faults.failed("events", "The model's event stream cannot be read.") from cause
        except AnswerShapeError as cause:
            # Wrong, but there: leaving it alone would not help anybody.
            self._note(well=True)
            raise faults.failed(cause.rule, cause.message) from cause
        finally:
            response.close()

    async def close(self) -> None:
        """Close the pool and what the credential holds."""
        if self._session is not None:
            await self._session.close()
        await self._service.credential.close()

    def _note(self, *, well: bool) -> None:
        """Tell the breaker, and the log where that changes something."""
        before = self._breaker.open
        if well:
            self._breaker.succeeded()
        else:
            self._breaker.failed()
        if self._breaker.open != before:
            state = "open" if self._breaker.open else "closed"
            log.warning("provider_breaker", provider=self.name, state=state)

    def _pool(self) -> aiohttp.ClientSession:
        if self._session is None:
            silence = self._service.timeout_seconds
            self._session = aiohttp.ClientSession(
                read_bufsize=READ_AHEAD,
                connector=aiohttp.TCPConnector(
                    limit=0,
                    keepalive_timeout=30,
                    ssl=self._trust,
                    resolver=CheckedResolver(self._service.egress),
                    # What was right a moment ago may not be now: each connection asks anew.
                    use_dns_cache=False,
                ),
                timeout=aiohttp.ClientTimeout(
                    total=max(LONGEST_ANSWER, silence),
                    sock_connect=min(LONGEST_CONNECT, silence),
                    sock_read=silence,
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=True,
                trust_env=False,
            )
        return self._session

    async def _reach(self, call: Call) -> aiohttp.ClientResponse:
        """The first response with status 200; every other way out is a refusal."""
        body = msgspec.json.encode(self._service.body(call))
        renewed = False
        for pause in (*_BACKOFF, 0.0):
            credential = await self._service.credential.current()
            try:
                response = await self._send(call, body, credential)
            except Refusal as refusal:
                if refusal.rule == faults.UNREACHABLE and call.course.calls and not call.spare:
                    await asyncio.sleep(pause)
                    continue
                if refusal.rule in faults.FAILING:
                    self._note(well=False)
                raise
            if response.status == 200:
                return response
            try:
                if not renewed and self._has_another(credential, response, call):
                    renewed = True
                    continue
                wait = await self._judge(call, response)
            finally:
                response.close()
            await asyncio.sleep(max(wait, pause))
        raise AssertionError("the last call returns or raises")

    async def _send(
        self, call: Call, body: bytes, credential: str | None
    ) -> aiohttp.ClientResponse:
        """One call; without an answer to it, the refusal that says so."""
        if self._barred:
            raise faults.barred()
        call.course.calls -= 1
        headers = {
            "Content-Type": "application/json",
            "Accept": "text/event-stream" if call.stream else "application/json",
            "User-Agent": "ostiary",
            "traceparent": call.traceparent,
        }
        if credential:
            name, value = self._service.authorise(credential)
            headers[name] = value
        try:
            return await self._pool().post(
                self._service.url(call), data=body, headers=headers, allow_redirects=False
            )
        except aiohttp.ClientSSLError as cause:
            raise faults.failed("tls", "The model's TLS certificate does not verify.") from cause
        except aiohttp.ClientConnectorError as cause:
            if isinstance(cause.os_error, ForbiddenAddressError):
                raise faults.barred() from cause
            raise faults.unreachable() from cause
        except aiohttp.ConnectionTimeoutError as cause:
            raise faults.unconnected() from cause
        except TimeoutError as cause:
            raise faults.silent() from cause
        except (aiohttp.ClientError, OSError) as cause:
            raise faults.failed("broken", "The model broke the connection.") from cause

    def _has_another(
        self, credential: str | None, response: aiohttp.ClientResponse, call: Call
    ) -> bool:
        """Whether the credential was rejected, has a successor, and a call is left for it."""
        if response.status != 401 or credential is None or not call.course.calls:
            return False
        challenge = response.headers.get("WWW-Authenticate", "")
        return self._service.credential.rejected(credential, challenge)

    async def _judge(self, call: Call, response: aiohttp.ClientResponse) -> float:
        """The seconds to wait before the same request may be sent again, or the refusal."""
        status = response.status
        if status in faults.ABOUT_THE_REQUEST:
            self._note(well=True)
            raise faults.of_rejection(status, await self._error(response), call.body)
        wait = faults.retry_after(response.headers.get("Retry-After"), time.time())
        elsewhere = call.spare and status in {429, 503}
        again = (status == 429 or 500 <= status < 600) and call.course.calls > 0
        if not again or elsewhere or (wait or 0.0) > LONGEST_WAIT:
            self._note(well=status < 500)
            raise faults.of_status(status, wait)
        return wait or 0.0

    async def _error(self, response: aiohttp.ClientResponse) -> bytes | None:
        """The body of an error, None where it is too large or does not arrive in time."""
        data = bytearray()
        try:
            async with asyncio.timeout(min(self._service.timeout_seconds, LONGEST_CONNECT)):
                async for chunk in response.content.iter_any():
                    data += chunk
                    if len(data) > MAX_ERROR:
                        return None
        except (TimeoutError, aiohttp.ClientError):
            return None
        return bytes(data)

    async def _whole(self, response: aiohttp.ClientResponse, reading: Reading) -> dict[str, Any]:
        if response.content_type != "application/json":
            raise _not_json()
        data = bytearray()
        async for chunk in response.content.iter_any():
            data += chunk
            if len(data) > MAX_ANSWER:
                raise faults.failed("too-large", "The model's answer is too large.")
        return reading.whole(_decode(bytes(data)))

    async def _events(
        self, response: aiohttp.ClientResponse, reading: Reading
    ) -> AsyncGenerator[dict[str, Any], None]:
        parser = Parser(max_event_bytes=MAX_EVENT)
        received = 0
        async for chunk in response.content.iter_any():
            received += len(chunk)
            if received > MAX_ANSWER:
                raise faults.failed("too-large", "The model's answer is too large.")
            for frame in parser.feed(chunk):
                if frame.data.strip() == b"[DONE]":
                    reading.end(said_done=True)
                    return
                yield reading.event(_decode(frame.data))
                if reading.over:
                    return
        parser.close()
        reading.end(said_done=False)


def _not_json() -> ProviderFailed:
    return faults.failed("not-json", "The model answered something that is not JSON.")


def _decode(data: bytes) -> Any:
    try:
        return _WHOLE.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as cause:
        raise _not_json() from cause
