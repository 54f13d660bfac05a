"""One credential, one judge; failing locks out nobody else."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from ostiary.authenticators import apikey, entra
from ostiary.development import DevelopmentIssuer, generate_private_key
from ostiary.rows import PersonRow
from ostiary.stages.authn import network_of
from tests.unit.doorway import doorway

WRONG = "aif_t" + "0" * 60


@pytest.fixture(scope="module")
def issuer() -> DevelopmentIssuer:
    return DevelopmentIssuer(generate_private_key())


def run(test: Any) -> None:
    asyncio.run(test)


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": "Bearer KEY"},
        {"authorization": "bearer  KEY"},
        {"x-api-key": "KEY"},
        {"api-key": "KEY"},
        {"authorization": "Bearer KEY", "x-api-key": "KEY", "api-key": "KEY"},
    ],
)
def test_a_credential_is_taken_from_any_of_its_places(
    tmp_path: Path, headers: dict[str, str]
) -> None:
    async def test() -> None:
        async with doorway(tmp_path) as door:
            sent = {name: value.replace("KEY", door.key) for name, value in headers.items()}
            arrival = door.arrival("GET", "/nothing", None, sent, key=None)
            assert (await door.refusal(arrival)).status == 404
            body = {"message": "Hi"}
            await door.events(door.arrival("POST", "/api/chat", body, sent, key=None))

    run(test())


@pytest.mark.parametrize(
    ("headers", "rule"),
    [
        ({}, "credential-missing"),
        ({"authorization": ""}, "credential-scheme"),
        ({"authorization": "Basic dTpw"}, "credential-scheme"),
        ({"authorization": "Bearer"}, "credential-scheme"),
        ({"authorization": "Bearer KEY", "x-api-key": WRONG}, "credential-conflict"),
        ({"x-api-key": "KEY", "api-key": WRONG}, "credential-conflict"),
        ({"authorization": "Bearer not-a-token"}, "credential-unknown"),
        ({"x-api-key": WRONG}, "key-invalid"),
    ],
)
def test_whatever_proves_nothing_is_a_401_with_a_challenge(
    tmp_path: Path, headers: dict[str, str], rule: str
) -> None:
    async def test() -> None:
        async with doorway(tmp_path) as door:
            sent = {name: value.replace("KEY", door.key) for name, value in headers.items()}
            arrival = door.arrival("GET", "/v1/models", None, sent, key=None)
            refusal = await door.refusal(arrival)
            assert (refusal.status, refusal.rule) == (401, rule)
            assert refusal.headers["WWW-Authenticate"].startswith("Bearer")
            record = await door.closing(arrival)
            assert record["identity"] == "none"
            assert "actor" not in record

    run(test())


def test_failures_are_counted_by_network_and_never_stop_a_valid_credential(tmp_path: Path) -> None:
    async def test() -> None:
        async with doorway(tmp_path) as door:

            def attempt(peer: str, key: str) -> Any:
                return door.arrival("GET", "/v1/models", key=key, peer=peer)

            statuses = [
                (await door.refusal(attempt(f"2001:db8:1:2::{n}", WRONG))).status for n in range(7)
            ]
            assert statuses == [401] * 5 + [429] * 2
            refusal = await door.refusal(attempt("2001:db8:1:2::9", WRONG))
            assert refusal.retry_after
            assert (await door.refusal(attempt("2001:db8:1:3::9", WRONG))).status == 401
            await door.events(
                door.arrival("POST", "/api/chat", {"message": "Hi"}, peer="2001:db8:1:2::9")
            )

    run(test())


def test_sending_no_credential_at_all_is_no_failed_login(tmp_path: Path) -> None:
    async def test() -> None:
        async with doorway(tmp_path) as door:
            arrivals = [door.arrival("GET", "/v1/models", key=None) for _ in range(12)]
            assert {(await door.refusal(one)).status for one in arrivals} == {401}

    run(test())


def test_addresses_are_counted_as_networks() -> None:
    assert network_of("192.0.2.7") == "192.0.2.7"
    assert network_of("2001:db8:1:2:3::4") == network_of("2001:db8:1:2::") == "2001:db8:1:2::"
    assert network_of("") == ""


def test_a_person_that_is_no_longer_active_is_refused(
    tmp_path: Path, issuer: DevelopmentIssuer
) -> None:
    async def test() -> None:
        tokens = entra.build(issuer.options, issuer.keys(), door_clock)
        async with doorway(tmp_path, authenticators=(tokens,)) as door:
            token = issuer.token("ann", ["User"], ["ai.chat.use"], expires_in=3_600)
            body = {"message": "Hi"}
            await door.events(door.arrival("POST", "/api/chat", body, key=token))

            async def inactive(index: bytes) -> PersonRow:
                row = await door.store._store.person_by_index(index)
                return PersonRow(
                    row.id, row.index, row.profile, row.roles, row.application, False, row.created
                )

            door.store.person_by_index = inactive
            door.persons._known.clear()
            refusal = await door.refusal(door.arrival("POST", "/api/chat", body, key=token))
            assert (refusal.status, refusal.rule) == (401, "person-inactive")

    run(test())


def door_clock() -> float:
    return time.time()


def test_a_tokens_roles_are_what_her_keys_follow(tmp_path: Path, issuer: DevelopmentIssuer) -> None:
    async def test() -> None:
        tokens = entra.build(issuer.options, issuer.keys(), door_clock)
        async with doorway(tmp_path, authenticators=(tokens,)) as door:

            def chat(key: str) -> Any:
                return door.arrival("POST", "/api/chat", {"message": "Hi"}, key=key)

            wide = issuer.token("ann", ["Developer"], ["ai.chat.use"], expires_in=3_600)
            await door.events(chat(wide))
            row = await door.persons.find(issuer.subject("ann"))
            assert row is not None
            key = await door.new_key(row.id)
            await door.events(chat(key))
            narrow = issuer.token("ann", ["Analyst"], ["ai.chat.use"], expires_in=3_600)
            assert (await door.refusal(chat(narrow))).status == 403
            assert (await door.refusal(chat(key))).status == 403

    run(test())


def test_a_key_in_a_url_or_another_header_is_no_credential(tmp_path: Path) -> None:
    async def test() -> None:
        async with doorway(tmp_path) as door:
            arrival = door.arrival(
                "GET",
                "/v1/models",
                None,
                {"x-apikey": door.key, "cookie": f"key={door.key}"},
                query=f"api-key={door.key}".encode(),
                key=None,
            )
            assert (await door.refusal(arrival)).rule == "credential-missing"

    run(test())


def test_the_wrong_key_of_the_tests_has_a_keys_shape() -> None:
    assert not apikey.is_well_formed(WRONG)
    assert apikey.is_well_formed(apikey.mint().text)
