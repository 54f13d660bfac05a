"""The gateway's own token: one for all, renewed beside the requests, never shown."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Coroutine
from types import SimpleNamespace
from typing import Any

import pytest

from ostiary.errors import ConfigurationError, ServiceUnavailable
from ostiary.upstream import entra
from ostiary.upstream.entra import EntraTokens, claims_of


class Refused(Exception):
    pass


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


class Sources:
    """Makes sources, which number their tokens; each remembers its own, as azure-identity does."""

    def __init__(self, clock: Clock, lifetime: float = 3_600) -> None:
        self.clock, self.lifetime = clock, lifetime
        self.made = self.asked = self.closed = 0
        self.options: list[dict[str, Any]] = []
        self.fails = False
        self.gate = asyncio.Event()
        self.gate.set()

    def __call__(self) -> Any:
        self.made += 1
        number = self.made

        async def get_token_info(*scopes: str, options: Any) -> Any:
            assert scopes == ("scope",)
            self.asked += 1
            self.options.append(options)
            await self.gate.wait()
            if self.fails:
                raise Refused("secret-token")
            expires = int(self.clock() + self.lifetime)
            return SimpleNamespace(
                token=f"secret-token-{number}-{self.asked}", expires_on=expires, refresh_on=None
            )

        async def close() -> None:
            self.closed += 1

        return SimpleNamespace(get_token_info=get_token_info, close=close)


def tokens(sources: Sources) -> EntraTokens:
    return EntraTokens("scope", sources, (Refused,), clock=sources.clock)


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(test)


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def test_one_token_is_held_for_all_and_fetched_once() -> None:
    async def test() -> None:
        sources = Sources(Clock())
        held = tokens(sources)
        got = await asyncio.gather(*(held.current() for _ in range(20)))
        assert set(got) == {"secret-token-1-1"}
        assert (sources.made, sources.asked) == (1, 1)
        assert "secret" not in repr(held) + repr(held._held)
        await held.close()
        assert sources.closed == 1

    run(test())


def test_it_is_renewed_ahead_of_its_end_and_nobody_waits() -> None:
    async def test() -> None:
        clock = Clock()
        sources = Sources(clock)
        held = tokens(sources)
        first = await held.current()
        clock.now += 3_299
        assert await held.current() == first
        await settle()
        assert sources.asked == 1
        clock.now += 2
        sources.gate.clear()
        assert await held.current() == first
        sources.gate.set()
        await settle()
        assert await held.current() == "secret-token-1-2"

    run(test())


def test_a_renewal_that_fails_goes_on_with_the_old_token_until_its_end() -> None:
    async def test() -> None:
        clock = Clock()
        sources = Sources(clock)
        held = tokens(sources)
        first = await held.current()
        sources.fails = True
        clock.now += 3_400
        for _ in range(5):
            assert await held.current() == first
            await settle()
        assert sources.asked == 2, "a failed renewal is not repeated at each request"
        clock.now += 200
        with pytest.raises(ServiceUnavailable) as caught:
            await held.current()
        assert (caught.value.layer, caught.value.rule) == ("forward", "provider-token")
        assert "secret" not in caught.value.message
        with pytest.raises(ServiceUnavailable):
            await held.current()
        assert sources.asked == 3, "while it just failed nobody is asked"
        sources.fails = False
        clock.now += 5
        assert (await held.current()).startswith("secret-token")

    run(test())


def test_whoever_leaves_does_not_end_the_fetch_of_the_others() -> None:
    async def test() -> None:
        sources = Sources(Clock())
        held = tokens(sources)
        sources.gate.clear()
        first, second = (asyncio.create_task(held.current()) for _ in range(2))
        await settle()
        first.cancel()
        await settle()
        sources.gate.set()
        assert await second == "secret-token-1-1"

    run(test())


def test_a_rejected_token_is_replaced_once_by_one_of_a_new_source() -> None:
    async def test() -> None:
        clock = Clock()
        sources = Sources(clock)
        held = tokens(sources)
        first = await held.current()
        claims = json.dumps({"access_token": {"nbf": {"value": "1"}}})
        encoded = base64.b64encode(claims.encode()).decode()
        challenge = f'Bearer realm="", error="insufficient_claims", claims="{encoded}"'
        assert held.rejected(first, challenge)
        assert held.rejected(first, challenge), "it has a successor, whoever asked for it"
        second = await held.current()
        assert second == "secret-token-2-2"
        assert sources.options == [
            {"enable_cae": True},
            {"enable_cae": True, "claims": claims},
        ]
        assert sources.closed == 1
        assert not held.rejected(second, ""), "a service that takes none is no reason for a flood"
        assert await held.current() == second
        clock.now += 31
        assert held.rejected(second, "")
        assert await held.current() == "secret-token-3-3"
        assert sources.options[-1] == {"enable_cae": True}

    run(test())


@pytest.mark.parametrize(
    "challenge",
    ["", "Bearer", 'Bearer claims=""', 'Bearer claims="%%"', 'Bearer claims="WzFd"', 'x="e30="'],
)
def test_what_is_no_claims_challenge_asks_for_nothing(challenge: str) -> None:
    assert claims_of(challenge) is None


def test_without_the_extra_the_error_says_what_to_install(monkeypatch: Any) -> None:
    def missing(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr(entra, "import_module", missing)
    with pytest.raises(ConfigurationError, match=r"pip install ostiary\[azure\]"):
        entra.default_tokens("scope")
