"""The provider's keys, from a real TLS server on loopback, with a clock that the test moves."""

from __future__ import annotations

import asyncio
import gzip
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trustme
from aiohttp import web

from ostiary.errors import ConfigurationError, UnavailableError
from ostiary.issuer_keys import (
    DiscoveredKeys,
    IssuerUnavailable,
    StaticKeys,
    canonical_authority,
    signing_key,
)
from tests.attacks import forge
from tests.attacks.forge import TENANT, jwk

CA = trustme.CA()


class Provider:
    """An identity provider whose every answer a test can change; it counts what it is asked."""

    def __init__(self) -> None:
        self.keys: list[dict[str, Any]] = [jwk("one")]
        self.asked: list[str] = []
        self.broken: Callable[[web.Request], Awaitable[web.StreamResponse]] | None = None
        self.issuer: str | None = None
        self.v1: Any = None
        self.authority = ""
        self.jwks_uri: str | None = None

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.path_qs)
        if self.broken:
            return await self.broken(request)
        if request.path == f"/{TENANT}/.well-known/openid-configuration":
            if self.v1 is None:
                return web.Response(status=404)
            return web.json_response({"issuer": self.v1, "jwks_uri": f"{self.authority}/keys"})
        if request.path == f"/{TENANT}/v2.0/.well-known/openid-configuration":
            issuer = self.issuer or f"{self.authority}/{TENANT}/v2.0"
            uri = self.jwks_uri or f"{self.authority}/keys"
            return web.json_response({"issuer": issuer, "jwks_uri": uri})
        if request.path == "/keys":
            return web.json_response({"keys": self.keys})
        return web.Response(status=404)

    @property
    def loads(self) -> int:
        return sum("v2.0" in path for path in self.asked)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def served(**options: Any) -> AsyncIterator[tuple[Provider, DiscoveredKeys, Clock]]:
    provider, clock = Provider(), Clock()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    CA.issue_cert("localhost").configure_cert(context)
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", provider.answer)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    port = runner.addresses[0][1]
    provider.authority = f"https://localhost:{port}"
    trust = ssl.create_default_context()
    CA.configure_trust(trust)
    keys = DiscoveredKeys(provider.authority, [TENANT], **{"tls": trust, "clock": clock, **options})
    try:
        yield provider, keys, clock
    finally:
        await runner.cleanup()


def run(test: Callable[[Provider, DiscoveredKeys, Clock], Awaitable[None]], **options: Any) -> None:
    async def whole() -> None:
        async with served(**options) as (provider, keys, clock):
            await test(provider, keys, clock)

    asyncio.run(whole())


def test_a_key_is_found_and_the_set_is_asked_for_once() -> None:
    async def test(provider: Provider, keys: DiscoveredKeys, clock: Clock) -> None:
        found = await keys.key(TENANT, "one")
        assert found is not None
        assert found.kid == "one"
        assert await keys.key(TENANT, "one") is found
        assert keys.current(TENANT, "one") is found
        assert provider.loads == 1

    run(test)


def test_many_who_ask_at_once_wait_for_one_load() -> None:
    async def test(provider: Provider, keys: DiscoveredKeys, clock: Clock) -> None:
        found = await asyncio.gather(*(keys.key(TENANT, "one") for _ in range(50)))
        assert {key.kid for key in found if key} == {"one"}
        assert provider.loads == 1

    run(test)


def test_one_who_leaves_does_not_end_the_load_for_the_others() -> None:
    async def test(provider: Provider, keys: DiscoveredKeys, clock: Clock) -> None:
        first = asyncio.create_task(keys.key(TENANT, "one"))
        second = asyncio.create_task(keys.key(TENANT, "one"))
        await asyncio.sleep(0)
        first.cancel()
        assert await second is not None
        assert provider.loads == 1

    run(test)


def test_a_tenant_that_is_not_served_is_never_asked_about() -> None:
    async def test(provider: Provider, keys: DiscoveredKeys, clock: Clock) -> None:
        assert await keys.key(forge.OTHER_TENANT, "one") is None
        assert await keys.v1_issuer(forge.OTHER_TENANT) is None
        assert provider.asked == []

    run(test)


def test_a_new_key_is_found_at_once_and_further_searches_wait_five_minutes() -> None:
    async def test(provider: Provider, keys: DiscoveredKeys, clock: Clock) -> None:
        assert await keys.key(TENANT, "one") is not None
        provider.keys.append(jwk("two", "second"))
        assert await keys.key(TENANT, "two") is not None
        assert provider.loads == 2

        for number in range(20):
            assert await keys.key(TENANT, f"random-{number}") is None
        clock.now += 299
        assert await keys.key(TENANT, "three") is None
        assert provider.loads == 2

        provider.keys.append(jwk("three", "third"))
        clock.now += 1
        assert await keys.key(TENANT, "three") is not None
        assert provider.loads == 3

    run(test)


def test_an_unknown_key_id_in_the_first_request_does_not_delay_a_rollover() -> None:
    async def test(provider: Provider, keys: DiscoveredKeys, clock: Clock) -> None:
        assert await keys.key(TENANT, "two") is None
        provider.keys = [jwk("two", "second")]
        assert await keys.key(TENANT, "two") is not None

    run(test)


def test_whoever_asks_for_a_new_key_during_a_load_gets_what_it_brings() -> None:
    async def test(provider: Provider, keys: DiscoveredKeys, clock: Clock) -> None:
        assert await keys.key(TENANT, "one") is not None
        provider.keys.append(jwk("two", "second"))
        searched = await asyncio.gather(
            keys.key(TENANT, "random"), keys.key(TENANT, "two"), keys.key(TENANT, "two")
        )
        assert [key and key.kid for key in searched] == [None, "two", "two"]
        assert provider.loads == 2

    run(test)


def test_a_key_that_left_the_set_is_gone_after_a_refresh_and_the_rest_stay_the_same() -> None:
    async def test(provider: Provider, keys: DiscoveredKeys, clock: Clock) -> None:
        provider.keys.append(jwk("two", "second"))
        one = await keys.key(TENANT, "one")
        provider.keys = [jwk("one")]
        await keys.refresh()
        assert keys.current(TENANT, "one") is one
        assert keys.current(TENANT, "two") is None

        provider.keys = [jwk("one", "third")]
        await keys.refresh()
        assert keys.current(TENANT, "one") is not one

    run(test)


def test_a_set_is_loaded_anew_after_a_day() -> None:
    async def test(provider: Provider, keys: DiscoveredKeys, clock: Clock) -> None:
        await keys.key(TENANT, "one")
        provider.keys = [jwk("two", "second")]
        clock.now += 24 * 3600 - 1
        assert await keys.key(TENANT, "one") is not None
        clock.now += 1
        assert await keys.key(TENANT, "one") is None
        assert provider.loads == 2

    run(test)


async def failing(request: web.Request) -> web.StreamResponse:
    return web.Response(status=500)


async def slow(request: web.Request) -> web.StreamResponse:
    await asyncio.sleep(1)
    return web.Response(status=500)


async def trickling(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    for _ in range(20):
        await response.write(b" ")
        await asyncio.sleep(0.05)
    return response


def right(request: web.Request) -> dict[str, Any]:
    """What this path should answer."""
    if request.path == "/keys":
        return {"keys": [jwk("one")]}
    authority = f"https://localhost:{request.url.port}"
    return {"issuer": f"{authority}/{TENANT}/v2.0", "jwks_uri": f"{authority}/keys"}


async def huge(request: web.Request) -> web.StreamResponse:
    return web.json_response({**right(request), "more": "x" * (1 << 20)})


async def cut_off(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def redirecting(request: web.Request) -> web.StreamResponse:
    """Moved to where the right answer is."""
    if request.query:
        return web.json_response(right(request))
    raise web.HTTPFound(f"{request.path}?elsewhere=1")


async def compressed(request: web.Request) -> web.StreamResponse:
    packed = gzip.compress(json.dumps(right(request)).encode())
    return web.Response(body=packed, headers={"Content-Encoding": "gzip"})


def document(body: Any) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(body=body if isinstance(body, bytes) else json.dumps(body).encode())

    return answer


UNUSABLE = {
    "500": failing,
    "slow": slow,
    "trickling": trickling,
    "huge": huge,
    "cut off": cut_off,
    "redirect": redirecting,
    "compressed": compressed,
    "not JSON": document(b"<html>"),
    "a list": document([]),
    "nested": document(b"[" * 100_000),
    "no issuer": document({"jwks_uri": "https://localhost/keys"}),
    "issuer a list": document({"issuer": ["x"], "jwks_uri": "https://localhost/keys"}),
}


@pytest.mark.parametrize("fault", UNUSABLE)
def test_an_issuer_that_cannot_be_used_is_unavailable_and_recovers_within_a_minute(
    fault: str,
) -> None:
    async def test(provider: Provider, keys: DiscoveredKeys, clock: Clock) -> None:
        provider.broken = UNUSABLE[fault]
        with pytest.raises(IssuerUnavailable) as first:
            await keys.key(TENANT, "one")
        assert 1 <= first.value.retry_after <= 60
        assert not any("elsewhere" in path for path in provider.asked)

        asked = len(provider.asked)
        with pytest.raises(IssuerUnavailable):
            await keys.key(TENANT, "one")
        assert len(provider.asked) == asked

        provider.broken = None
        clock.now += first.value.retry_after
        assert await keys.key(TENANT, "one") is not None

    run(test, deadline=0.4)


@pytest.mark.parametrize("fault", ["500", "slow", "redirect", "huge", "not JSON"])
def test_known_good_keys_outlive_an_outage(fault: str) -> None:
    async def test(provider: Provider, keys: DiscoveredKeys, clock: Clock) -> None:
        await keys.key(TENANT, "one")
        provider.broken = UNUSABLE[fault]
        clock.now += 25 * 3600
        assert await keys.key(TENANT, "one") is not None
        assert await keys.key(TENANT, "two") is None
        with pytest.raises(UnavailableError):
            await keys.refresh()
        assert keys.current(TENANT, "one") is not None

        provider.broken = None
        provider.keys.append(jwk("two", "second"))
        clock.now += 59
        assert await keys.key(TENANT, "two") is not None

    run(test, deadline=0.4)


def test_a_failed_search_does_not_count_against_the_five_minutes() -> None:
    async def test(provider: Provider, keys: DiscoveredKeys, clock: Clock) -> None:
        await keys.key(TENANT, "one")
        provider.broken = failing
        assert await keys.key(TENANT, "two") is None
        provider.broken = None
        provider.keys.append(jwk("two", "second"))
        clock.now += 20
        assert await keys.key(TENANT, "two") is not None

    run(test)


def test_metadata_of_another_issuer_is_not_used() -> None:
    async def test(provider: Provider, keys: DiscoveredKeys, clock: Clock) -> None:
        provider.issuer = f"{provider.authority}/{forge.OTHER_TENANT}/v2.0"
        with pytest.raises(IssuerUnavailable):
            await keys.key(TENANT, "one")
        assert "/keys" not in provider.asked

        provider.issuer = f"{provider.authority}/{{tenantid}}/v2.0"
        clock.now += 60
        assert await keys.key(TENANT, "one") is not None

    run(test)


@pytest.mark.parametrize("uri", ["http://localhost/keys", "file:///etc/passwd", "keys", "https://"])
def test_keys_are_fetched_over_https_only(uri: str) -> None:
    async def test(provider: Provider, keys: DiscoveredKeys, clock: Clock) -> None:
        provider.jwks_uri = uri
        with pytest.raises(IssuerUnavailable):
            await keys.key(TENANT, "one")

    run(test)


def test_a_server_with_an_unknown_certificate_is_not_believed() -> None:
    async def test(provider: Provider, keys: DiscoveredKeys, clock: Clock) -> None:
        with pytest.raises(IssuerUnavailable):
            await keys.key(TENANT, "one")
        assert provider.asked == []

    run(test, tls=ssl.create_default_context())


def test_unusable_keys_do_not_cost_the_usable_ones() -> None:
    async def test(provider: Provider, keys: DiscoveredKeys, clock: Clock) -> None:
        provider.keys = [
            {"kty": "EC", "kid": "ec", "crv": "P-256", "x": "AA", "y": "AA"},
            jwk("enc", use="enc"),
            jwk("foreign", issuer=f"{provider.authority}/{forge.OTHER_TENANT}/v2.0"),
            jwk("template", "second", issuer=f"{provider.authority}/{{tenantid}}/v2.0"),
            jwk("fixed", "third", issuer=f"{provider.authority}/{TENANT}/v2.0"),
            jwk("one"),
        ]
        found = {kid: await keys.key(TENANT, kid) for kid in ("ec", "enc", "foreign", "template")}
        assert [kid for kid, key in found.items() if key] == ["template"]
        assert await keys.key(TENANT, "fixed") is not None
        assert await keys.key(TENANT, "one") is not None

    run(test)


def test_an_empty_set_is_no_set() -> None:
    async def test(provider: Provider, keys: DiscoveredKeys, clock: Clock) -> None:
        await keys.key(TENANT, "one")
        provider.keys = []
        with pytest.raises(UnavailableError):
            await keys.refresh()
        assert keys.current(TENANT, "one") is not None

    run(test)


def test_the_issuer_of_version_1_is_what_the_cloud_says() -> None:
    async def test(provider: Provider, keys: DiscoveredKeys, clock: Clock) -> None:
        provider.v1 = f"https://sts.cloud.example/{TENANT}/"
        assert await keys.v1_issuer(TENANT) == f"https://sts.cloud.example/{TENANT}/"
        await keys.v1_issuer(TENANT)
        assert len(provider.asked) == 1

    run(test)


@pytest.mark.parametrize("said", [None, f"https://localhost/{TENANT}/v2.0", "http://x/", "x"])
def test_a_cloud_without_version_1_metadata_uses_the_public_form(said: str | None) -> None:
    async def test(provider: Provider, keys: DiscoveredKeys, clock: Clock) -> None:
        provider.v1 = said
        assert await keys.v1_issuer(TENANT) == f"https://sts.windows.net/{TENANT}/"

    run(test)


def test_version_1_metadata_that_cannot_be_had_is_no_answer() -> None:
    async def test(provider: Provider, keys: DiscoveredKeys, clock: Clock) -> None:
        provider.broken = failing
        with pytest.raises(IssuerUnavailable):
            await keys.v1_issuer(TENANT)
        with pytest.raises(IssuerUnavailable):
            await keys.v1_issuer(TENANT)
        assert len(provider.asked) == 1
        provider.broken = None
        clock.now += 20
        assert await keys.v1_issuer(TENANT) == f"https://sts.windows.net/{TENANT}/"

    run(test)


def test_the_public_cloud_is_not_asked_for_its_issuer_of_version_1() -> None:
    keys = DiscoveredKeys("https://login.microsoftonline.com/", [TENANT])
    assert asyncio.run(keys.v1_issuer(TENANT)) == f"https://sts.windows.net/{TENANT}/"


def test_static_keys_know_one_tenant() -> None:
    keys = StaticKeys(TENANT, [forge.public()])
    assert asyncio.run(keys.key(TENANT, forge.KID)) is keys.current(TENANT, forge.KID)
    assert keys.current(TENANT, forge.KID) is not None
    assert keys.current(forge.OTHER_TENANT, forge.KID) is None
    assert asyncio.run(keys.v1_issuer(TENANT)) is None


ROCA_MODULUS = 1
for _prime in (p for p in range(2, 168) if all(p % d for d in range(2, p))):
    ROCA_MODULUS *= _prime
# Of the form k·M + 65537^a mod M, as the faulty library made its factors, and so their products.
ROCA_MODULUS = ROCA_MODULUS * (1 << (2047 - ROCA_MODULUS.bit_length() + 1)) + pow(
    65537, 12345, ROCA_MODULUS
)


@pytest.mark.parametrize(
    "member",
    [
        {"kty": "oct"},
        {"kty": None},
        {"kid": ""},
        {"kid": 1},
        {"use": "enc"},
        {"use": None},
        {"alg": "RS512"},
        {"alg": "PS256"},
        {"key_ops": ["encrypt"]},
        {"key_ops": []},
        {"key_ops": "verify"},
        {"n": forge.b64((3**1290).to_bytes(256))},
        {"n": forge.b64((1 << 2046 | 1).to_bytes(256))},
        {"n": forge.b64(b"\xff" * 1025)},
        {"n": forge.b64(b"\xfe" * 256)},
        {"n": forge.b64(ROCA_MODULUS.to_bytes(256))},
        {"n": "!"},
        {"n": ""},
        {"e": "AQ"},
        {"e": "Ag"},
        {"e": forge.b64(b"\x01" * 9)},
        {"issuer": "https://evil.example/v2.0"},
        {"issuer": 1},
    ],
)
def test_a_key_that_must_not_verify_is_refused(member: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        signing_key({**jwk(), **member}, issuer=f"https://login.example.com/{TENANT}/v2.0")


@pytest.mark.parametrize("member", [{}, {"key_ops": ["verify"]}, {"alg": "RS256"}, {"x5c": ["AA"]}])
def test_a_key_that_may_verify_is_taken(member: dict[str, Any]) -> None:
    assert signing_key(jwk(**member)).modulus.bit_length() == 2048


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("https://login.microsoftonline.com/", "https://login.microsoftonline.com"),
        ("https://LOGIN.example.com:443", "https://login.example.com"),
        ("https://localhost:8443/base/", "https://localhost:8443/base"),
        ("https://[::1]:8443", "https://[::1]:8443"),
    ],
)
def test_an_authority_has_one_spelling(text: str, canonical: str) -> None:
    assert canonical_authority(text) == canonical


@pytest.mark.parametrize(
    "text",
    [
        "",
        "http://login.example.com",
        "login.example.com",
        "https://",
        "https://user@login.example.com",
        "https://user:secret@login.example.com",
        "https://login.example.com?x=1",
        "https://login.example.com#x",
        "https://login.example.com:99999",
        "https://login.example.com/\n",
        "https://[::1",
    ],
)
def test_an_authority_that_is_no_plain_https_url_is_refused_unquoted(text: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        canonical_authority(text)
    assert "secret" not in str(refusal.value)
