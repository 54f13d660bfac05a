"""Tokens of Microsoft Entra ID for the gateway itself, as azure-identity finds them.

The chain of DefaultAzureCredential is used as it is: environment, workload identity, managed
identity, and the tools of a developer. One token is held for all requests. It is renewed before
it expires, beside the requests, and a renewal that fails leaves the held one in use.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import logging
import os
import re
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Protocol

import aiohttp
import structlog

from ostiary.errors import ConfigurationError, ServiceUnavailable
from ostiary.upstream.trust import trust

log = structlog.get_logger("ostiary")
SCOPE = "https://cognitiveservices.azure.com/.default"
AHEAD = 300.0
LONGEST_FETCH = 20.0
PAUSE = 5.0
REPLACE_EVERY = 30.0
_CLAIMS = re.compile(r'(?:^|[\s,])claims="([A-Za-z0-9+/=_-]{1,8192})"')


class Issued(Protocol):
    """A token as azure-core describes it (`AccessTokenInfo`); times are seconds since the epoch."""

    token: str
    expires_on: int
    refresh_on: int | None


class Source(Protocol):
    """What gives tokens: an asynchronous credential of azure-identity."""

    async def get_token_info(self, *scopes: str, options: Any = None) -> Issued:
        """A token that holds for these scopes."""
        ...

    async def close(self) -> None:
        """Release connections."""
        ...


@dataclass(frozen=True, slots=True)
class _Held:
    """A token, when it ends, and from when on it should be renewed (seconds since the epoch)."""

    token: str = field(repr=False)
    expires: float
    due: float


class EntraTokens:
    """A provider's credential: the gateway's own token for one scope."""

    def __init__(
        self,
        scope: str,
        connect: Callable[[], Source],
        failures: tuple[type[Exception], ...],
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`connect` makes a source without a memory; `failures` are what it raises on purpose."""
        self._scope = scope
        self._connect = connect
        self._failures: tuple[type[Exception], ...] = (
            *failures,
            *(OSError, ValueError, KeyError, TypeError),
        )
        self._clock = clock
        self._source: Source | None = None
        self._held: _Held | None = None
        self._fetching: asyncio.Task[None] | None = None
        self._not_before = 0.0
        self._claims: str | None = None
        self._forget_source = False
        self._replaced = float("-inf")

    async def current(self) -> str:
        """The token, waited for only where none is valid; ServiceUnavailable without one."""
        held, now = self._held, self._clock()
        if held is not None and now < held.expires:
            if now >= held.due and now >= self._not_before:
                self._fetch()
            return held.token
        if self._under_way or now >= self._not_before:
            # Whoever waits may leave; the fetch goes on for all the others.
            await asyncio.wait({self._fetch()})
        held, now = self._held, self._clock()
        if held is None or now >= held.expires:
            raise ServiceUnavailable(
                "The gateway cannot get a token of Entra ID for the model now.",
                layer="forward",
                rule="provider-token",
                retry_after=max(1.0, self._not_before - now),
            )
        return held.token

    def rejected(self, sent: str, challenge: str) -> bool:
        """Forget the token that was sent, and its source, whose own memory would repeat it.

        False where the rejected one had itself replaced another less than 30 s ago: a provider
        that takes no token at all must not become a flood of requests for new ones.
        """
        if self._held is None or self._held.token != sent:
            return True
        now = self._clock()
        if now < self._replaced + REPLACE_EVERY:
            return False
        self._replaced = now
        self._held = None
        self._not_before = 0.0
        self._claims = claims_of(challenge)
        self._forget_source = True
        return True

    async def close(self) -> None:
        """End a fetch under way, and release connections."""
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.wait({self._fetching})
        if self._source is not None:
            await self._source.close()

    @property
    def _under_way(self) -> bool:
        return self._fetching is not None and not self._fetching.done()

    def _fetch(self) -> asyncio.Task[None]:
        """The one fetch under way, begun where there is none."""
        if self._fetching is None or not self._under_way:
            self._fetching = asyncio.create_task(self._renew())
        return self._fetching

    async def _renew(self) -> None:
        try:
            async with asyncio.timeout(LONGEST_FETCH):
                source = await self._open_source()
                options = {"enable_cae": True, **({"claims": self._claims} if self._claims else {})}
                issued = await source.get_token_info(self._scope, options=options)
            now = self._clock()
            ahead = min(AHEAD, (issued.expires_on - now) / 2)
            due = min(issued.expires_on - ahead, issued.refresh_on or float("inf"))
            self._held = _Held(issued.token, float(issued.expires_on), due)
            self._claims = None
        except self._failures as cause:
            self._not_before = self._clock() + PAUSE
            log.warning("provider_token_failed", cause=type(cause).__name__)

    async def _open_source(self) -> Source:
        if self._source is not None and self._forget_source:
            forgotten, self._source = self._source, None
            await forgotten.close()
        self._forget_source = False
        if self._source is None:
            self._source = self._connect()
        return self._source


def claims_of(challenge: str) -> str | None:
    """The claims that a challenge of continuous access evaluation asks for, as JSON, or None."""
    found = _CLAIMS.search(challenge)
    if found is None:
        return None
    text = found[1].replace("-", "+").replace("_", "/").rstrip("=")
    try:
        claims = base64.b64decode(text + "=" * (-len(text) % 4)).decode()
        is_object = isinstance(json.loads(claims), dict)
    except (binascii.Error, ValueError, RecursionError):
        return None
    return claims if is_object else None


def default_tokens(scope: str) -> EntraTokens:
    """Tokens from DefaultAzureCredential; ConfigurationError without the extra `azure`."""
    try:
        identity = import_module("azure.identity.aio")
        errors = import_module("azure.core.exceptions")
    except ImportError as cause:
        raise ConfigurationError(
            'auth = "entra" needs the extra "azure": pip install ostiary[azure]'
        ) from cause
    # These libraries' own lines would name tenants, identities and addresses.
    for name in ("azure", "msal"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    trusted = trust(os.environ)

    def connect() -> Source:
        made: Source = identity.DefaultAzureCredential(**_transport(trusted))
        return made

    return EntraTokens(scope, connect, (errors.AzureError,))


def _transport(trusted: ssl.SSLContext | bool) -> dict[str, Any]:
    """What makes azure-core trust the same authorities; nothing where that is its own default.

    Its asynchronous transport does not read REQUESTS_CA_BUNDLE, as its synchronous one does.
    """
    if trusted is True:
        return {}
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=trusted),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
    )
    made = import_module("azure.core.pipeline.transport").AioHttpTransport
    return {"transport": made(session=session, session_owner=True)}
