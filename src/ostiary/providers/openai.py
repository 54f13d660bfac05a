"""Anything that speaks the OpenAI API, over HTTP(S).

A call is sent again only where the provider cannot have begun it (no connection), or where it
answered 429 or 5xx; at most three calls in all, and never before its Retry-After. Redirects are
never followed. Nothing of what the caller sent but the screened body goes out: outbound headers
are written here, one by one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
import msgspec

from ostiary.errors import ProviderFailed, ProviderSilent, ServiceUnavailable, TooManyRequests
from ostiary.exchange import Call, Dialect
from ostiary.wire.readings import AnswerShapeError, Reading, reading_of
from ostiary.wire.sse import Parser, SseError

LAYER = "forward"
CALLS = 3
LONGEST_WAIT = 2.0
LONGEST_RETRY = 86_400.0
MAX_ANSWER = 16 * 1024 * 1024
MAX_EVENT = 2 * 1024 * 1024
_BACKOFF = (0.1, 0.4)
# Not the strict decoder: what was decoded is written anew, so that nobody reads these bytes again.
_WHOLE = msgspec.json.Decoder()
_PATHS = {
    Dialect.CHAT: "/chat/completions",
    Dialect.RESPONSES: "/responses",
    Dialect.EMBEDDINGS: "/embeddings",
}


@dataclass(frozen=True, slots=True)
class Options:
    """Where the model is, and how to speak to it. `secret` gives the current credential."""

    base_url: str
    timeout_seconds: float = 60.0
    secret: Callable[[], str | None] = field(default=lambda: None, repr=False)


class OpenAI:
    """A provider over one pool of connections."""

    def __init__(self, name: str, options: Options) -> None:
        """Take the configured name and options; the pool opens with the first call."""
        self.name = name
        self._options = options
        self._base = options.base_url.rstrip("/")
        self._session: aiohttp.ClientSession | None = None

    async def answer(self, call: Call) -> AsyncGenerator[dict[str, Any], None]:
        """Yield the answer's events; see the port for what it guarantees."""
        response = await self._reach(call)
        reading = reading_of(call.dialect)
        try:
            if response.content_type == "text/event-stream":
                if not call.stream:
                    raise _failed("shape", "The model streamed where it was not asked to.")
                async for event in self._events(response, reading):
                    yield event
            else:
                yield await self._whole(response, reading)
        except TimeoutError as cause:
            raise _silent() from cause
        except aiohttp.ClientError as cause:
            raise _failed("broken", "The model's answer broke off.") from cause
        except SseError as cause:
            raise _failed("events", "The model's event stream cannot be read.") from cause
        except AnswerShapeError as cause:
            raise _failed(cause.rule, cause.message) from cause
        finally:
            response.close()

    async def close(self) -> None:
        """Close the pool."""
        if self._session is not None:
            await self._session.close()

    def _pool(self) -> aiohttp.ClientSession:
        if self._session is None:
            silence = self._options.timeout_seconds
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=30),
                timeout=aiohttp.ClientTimeout(
                    total=None, sock_connect=min(10.0, silence), sock_read=silence
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=True,
                trust_env=False,
            )
        return self._session

    async def _reach(self, call: Call) -> aiohttp.ClientResponse:
        """The first usable response (2xx, JSON or events), after at most three calls."""
        body = msgspec.json.encode(call.body)
        for attempt in range(CALLS):
            last = attempt == CALLS - 1
            try:
                response = await self._send(call, body)
            except aiohttp.ClientConnectorError as cause:
                if last:
                    raise _failed("unreachable", "The model cannot be reached.") from cause
                await asyncio.sleep(_BACKOFF[attempt])
                continue
            except TimeoutError as cause:
                raise _silent() from cause
            except (aiohttp.ClientError, OSError) as cause:
                raise _failed("broken", "The model broke the connection.") from cause
            if response.status == 200:
                return response
            wait = retry_after(response.headers.get("Retry-After"), time.time())
            response.close()
            if not _again(response.status) or last or (wait or 0.0) > LONGEST_WAIT:
                raise _refusal(response.status, wait)
            await asyncio.sleep(max(wait or 0.0, _BACKOFF[attempt]))
        raise AssertionError("the last call returns or raises")

    async def _send(self, call: Call, body: bytes) -> aiohttp.ClientResponse:
        headers = {
            "Content-Type": "application/json",
            "Accept": "text/event-stream" if call.stream else "application/json",
            "User-Agent": "ostiary",
            "traceparent": call.traceparent,
        }
        secret = self._options.secret()
        if secret:
            headers["Authorization"] = f"Bearer {secret}"
        return await self._pool().post(
            self._base + _PATHS[call.dialect], data=body, headers=headers, allow_redirects=False
        )

    async def _whole(self, response: aiohttp.ClientResponse, reading: Reading) -> dict[str, Any]:
        if response.content_type != "application/json":
            raise _failed("not-json", "The model answered something that is not JSON.")
        data = bytearray()
        async for chunk in response.content.iter_any():
            data += chunk
            if len(data) > MAX_ANSWER:
                raise _failed("too-large", "The model's answer is too large.")
        return reading.whole(_decode(bytes(data)))

    async def _events(
        self, response: aiohttp.ClientResponse, reading: Reading
    ) -> AsyncGenerator[dict[str, Any], None]:
        parser = Parser(max_event_bytes=MAX_EVENT)
        received = 0
        async for chunk in response.content.iter_any():
            received += len(chunk)
            if received > MAX_ANSWER:
                raise _failed("too-large", "The model's answer is too large.")
            for frame in parser.feed(chunk):
                if frame.data.strip() == b"[DONE]":
                    reading.end(said_done=True)
                    return
                yield reading.event(_decode(frame.data))
                if reading.over:
                    return
        parser.close()
        reading.end(said_done=False)


def _decode(data: bytes) -> Any:
    try:
        return _WHOLE.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as cause:
        raise _failed("not-json", "The model answered something that is not JSON.") from cause


def _again(status: int) -> bool:
    return status == 429 or 500 <= status < 600


def _refusal(
    status: int, wait: float | None
) -> ProviderFailed | TooManyRequests | ServiceUnavailable:
    if status == 429:
        return TooManyRequests(
            "The model is at its limit.",
            layer=LAYER,
            rule="provider-429",
            retry_after=wait or 1.0,
        )
    if status == 503:
        return ServiceUnavailable(
            "The model is not available now.",
            layer=LAYER,
            rule="provider-503",
            retry_after=wait or 1.0,
        )
    return _failed("status", f"The model answered with status {status}.")


def _failed(rule: str, message: str) -> ProviderFailed:
    return ProviderFailed(message, layer=LAYER, rule=f"provider-{rule}")


def _silent() -> ProviderSilent:
    return ProviderSilent(
        "The model was silent for too long.", layer=LAYER, rule="provider-silence"
    )


def retry_after(value: str | None, now: float) -> float | None:
    """Seconds that a Retry-After header asks for (RFC 9110 §10.2.3), at most a day, or None."""
    if not value:
        return None
    if value.isascii() and value.isdigit():
        return min(float(value[:9]), LONGEST_RETRY)
    try:
        seconds = parsedate_to_datetime(value).timestamp() - now
    except (ValueError, OverflowError):
        return None
    return min(max(0.0, seconds), LONGEST_RETRY)


def build(name: str, options: Options) -> OpenAI:
    """The provider under its configured name."""
    return OpenAI(name, options)
