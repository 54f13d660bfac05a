"""The slow way in: imported rows and a lost pepper, by bcrypt, once, and at nobody else's cost."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from itertools import count
from typing import Any

import pytest

from ostiary.authenticators import apikey
from ostiary.authenticators.apikey import SlowHashes, mint, sealed, verifier
from ostiary.errors import ServiceUnavailable, Unauthenticated
from ostiary.exchange import Vouched
from tests.unit.authenticators.key_gateway import NOW, OTHER, PEPPER, ROW_KEY, Gateway, wrong


def test_an_imported_key_is_checked_by_bcrypt_once_and_then_by_its_hmac() -> None:
    gateway = Gateway()
    minted = gateway.issue(verifier=b"")
    vouched = gateway.judge(minted.text)
    assert vouched.grants == {"ai.chat.use"}
    assert gateway.row(minted).verifier == verifier(PEPPER, minted.text)
    assert apikey.is_authentic(ROW_KEY, gateway.row(minted))
    gateway.judge(minted.text)
    gateway.refusal(wrong(minted))
    assert gateway.hashes.checks == 1


def test_after_the_pepper_was_lost_a_key_works_and_gets_a_new_hmac() -> None:
    gateway = Gateway()
    minted = gateway.issue()
    gateway.authenticator = gateway.build(OTHER)
    gateway.judge(minted.text)
    gateway.judge(minted.text)
    assert gateway.hashes.checks == 1
    assert gateway.row(minted).verifier == verifier(OTHER, minted.text)


def test_a_wrong_key_for_an_imported_row_is_refused_and_changes_nothing() -> None:
    gateway = Gateway()
    minted = gateway.issue(verifier=b"")
    before = gateway.row(minted)
    assert gateway.refusal(wrong(minted)).rule == "key-invalid"
    assert gateway.row(minted) == before


@pytest.mark.parametrize(
    "columns", [{"state": "revoked"}, {"expires": NOW}, {"person": "nobody"}, {"bcrypt": b""}]
)
def test_an_imported_row_that_refuses_anyway_costs_no_bcrypt(columns: dict[str, Any]) -> None:
    gateway = Gateway()
    gateway.refusal(gateway.issue(verifier=b"", **columns).text)
    assert gateway.hashes.checks == 0


def test_an_imported_row_that_is_not_authentic_costs_no_bcrypt() -> None:
    gateway = Gateway()
    minted = gateway.issue()
    gateway.rows.put(replace(gateway.row(minted), verifier=b""))
    gateway.refusal(minted.text)
    assert gateway.hashes.checks == 0


@pytest.mark.parametrize(
    "hashed",
    [b"x", b"$2b$31$" + b"a" * 53, b"$2b$13$" + b"a" * 53, b"$2b$04$" + b"!" * 53, b"$1$salt$x"],
)
def test_a_hash_of_unknown_form_or_cost_is_no_match(hashed: bytes) -> None:
    gateway = Gateway()
    gateway.refusal(gateway.issue(verifier=b"", bcrypt=hashed).text)


def test_a_revocation_during_the_bcrypt_is_not_overwritten() -> None:
    gateway = Gateway()
    minted = gateway.issue(verifier=b"")
    revoked = sealed(ROW_KEY, replace(gateway.row(minted), state="revoked"))
    reads = count()

    def revoke_after_first_read() -> None:
        if next(reads) == 0:
            gateway.rows.put(revoked)

    gateway.rows.during = revoke_after_first_read
    gateway.refusal(minted.text)
    assert gateway.row(minted) == revoked


def test_a_row_that_got_another_hash_during_the_bcrypt_is_refused() -> None:
    gateway = Gateway()
    minted = gateway.issue(verifier=b"")
    replaced = sealed(ROW_KEY, replace(gateway.row(minted), bcrypt=b"another"))
    reads = count()

    def replace_after_first_read() -> None:
        if next(reads) == 0:
            gateway.rows.put(replaced)

    gateway.rows.during = replace_after_first_read
    gateway.refusal(minted.text)
    assert gateway.row(minted) == replaced


def test_a_key_that_is_deleted_during_the_bcrypt_is_refused() -> None:
    gateway = Gateway()
    minted = gateway.issue(verifier=b"")
    reads = count()

    def delete_after_second_read() -> None:
        if next(reads) == 1:
            del gateway.rows.key_rows[minted.public_id]

    gateway.rows.during = delete_after_second_read
    gateway.refusal(minted.text)


def test_whoever_finds_the_slow_checks_queue_full_is_told_to_come_back() -> None:
    gateway = Gateway(threads=1, waiting=1, rounds=10)
    minted = gateway.issue(verifier=b"")

    async def crowd() -> list[Vouched | BaseException]:
        asked = (gateway.authenticator.authenticate(wrong(minted), "") for _ in range(6))
        return await asyncio.gather(*asked, return_exceptions=True)

    answers = asyncio.run(crowd())
    busy = [a for a in answers if isinstance(a, ServiceUnavailable)]
    assert len(busy) == 4
    assert {(a.rule, a.retry_after) for a in busy} == {("key-check-busy", 2.0)}
    assert sum(isinstance(a, Unauthenticated) for a in answers) == 2
    gateway.judge(minted.text)


def test_whoever_leaves_gives_the_place_back() -> None:
    gateway = Gateway(threads=1, waiting=1, rounds=8)
    minted = gateway.issue(verifier=b"")

    async def leave() -> None:
        for _ in range(5):
            tasks = [
                asyncio.create_task(gateway.authenticator.authenticate(minted.text, ""))
                for _ in range(2)
            ]
            await asyncio.sleep(0.002)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.sleep(0.05)
        assert (await gateway.authenticator.authenticate(minted.text, "")).person == "ada"

    asyncio.run(leave())


def test_the_event_loop_goes_on_during_a_bcrypt() -> None:
    async def both() -> int:
        hashes = SlowHashes(rounds=11)
        turns = 0
        hashing = asyncio.create_task(hashes.hash(mint().text))
        while not hashing.done():
            turns += 1
            await asyncio.sleep(0.001)
        hashes.close()
        return turns

    assert asyncio.run(both()) > 5


def test_a_hash_costs_twelve_rounds_unless_told_otherwise() -> None:
    async def one() -> tuple[bytes, bool, bool]:
        hashes = SlowHashes()
        text = mint().text
        hashed = await apikey.hash_slowly(text, hashes)
        right = await hashes.matches(text, hashed)
        other = await hashes.matches(mint().text, hashed)
        hashes.close()
        return hashed, right, other

    hashed, right, other = asyncio.run(one())
    assert hashed.startswith(b"$2b$12$")
    assert (right, other) == (True, False)
