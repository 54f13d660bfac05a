"""API keys: their form, their check, and that a wrong key learns nothing and costs little."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ostiary.authenticators import apikey
from ostiary.authenticators.apikey import mint, sealed, verifier
from ostiary.errors import ConfigurationError, RecordDamaged, ServiceUnavailable, Unauthenticated
from ostiary.exchange import Vouched
from ostiary.rows import TouchKey
from tests.unit.authenticators.key_gateway import (
    ALPHABET,
    NOW,
    OTHER,
    PEPPER,
    ROW_KEY,
    Gateway,
    Rows,
    checked,
    wrong,
)


def test_a_key_is_65_characters_of_the_stated_parts() -> None:
    minted = mint()
    text = minted.text
    assert len(text) == 65
    assert text[:5] == "aif_l"
    assert mint(live=False).text[:5] == "aif_t"
    assert text[5:16] == minted.public_id
    assert set(text[4:]) <= set(ALPHABET)
    assert text == checked(text[:59])
    assert len(text.encode()) < 72


def test_a_key_holds_the_randomness_that_it_was_given() -> None:
    asked: list[int] = []

    def most(size: int) -> bytes:
        asked.append(size)
        return b"\xff" * size

    text = mint(random=most).text
    number = 0
    for character in text[16:59]:
        number = number * 62 + ALPHABET.index(character)
    assert asked == [8, 32]
    assert number == 2**256 - 1
    assert mint(random=bytes).text[4:59] == "l" + "0" * 54


def test_a_minted_key_does_not_show_itself() -> None:
    minted = mint()
    assert minted.text not in repr(minted)


def test_a_good_key_vouches_for_its_owner_with_what_it_was_given() -> None:
    gateway = Gateway()
    minted = gateway.issue()
    assert gateway.judge(minted.text) == Vouched(
        method="key",
        application=False,
        roles=("Developer",),
        scopes=None,
        grants=frozenset({"ai.chat.use"}),
        person="ada",
        key_id=f"id-{minted.public_id}",
    )


def test_only_what_begins_with_the_prefix_is_a_key() -> None:
    claims = Gateway().authenticator.claims
    assert claims("aif_")
    assert not claims("eyJ")
    assert not claims("AIF_")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text[:-1],
        lambda text: text + "0",
        lambda text: text + "\n",
        lambda text: "aif_x" + text[5:],
        lambda text: text[:20] + "-" + text[21:],
        lambda text: text[:20] + "é" + text[21:],
        lambda text: text[:20] + "\0" + text[21:],
        lambda text: text.swapcase(),
        lambda text: text[:64] + ("0" if text[64] != "0" else "1"),
        lambda text: "aif_" + ("t" if text[4] == "l" else "l") + text[5:],
        lambda text: "aif_" + "\ud800" * 61,
        lambda text: "aif_",
    ],
)
def test_a_malformed_key_is_refused_without_a_read(spoil: Callable[[str], str]) -> None:
    gateway = Gateway()
    gateway.refusal(spoil(gateway.issue().text))
    assert gateway.rows.reads == 0
    assert gateway.hashes.checks == 0


@settings(deadline=None)
@given(st.text(max_size=80), st.integers(0, 65))
def test_any_other_text_is_refused_without_a_read(text: str, kept: int) -> None:
    gateway = Gateway()
    whole = mint().text
    assume(whole[:kept] + text != whole)
    gateway.refusal(whole[:kept] + text)
    assert gateway.rows.reads == 0


def inactive(gateway: Gateway) -> None:
    gateway.rows.persons["ada"] = replace(gateway.rows.persons["ada"], active=False)


def test_unknown_wrong_revoked_expired_and_orphaned_keys_are_refused_alike() -> None:
    gateway = Gateway()
    refused = [
        gateway.refusal(mint().text),
        gateway.refusal(wrong(gateway.issue())),
        gateway.refusal(gateway.issue(state="revoked").text),
        gateway.refusal(gateway.issue(expires=NOW).text),
        gateway.refusal(gateway.issue(person="nobody").text),
        gateway.refusal("aif_"),
    ]
    minted = gateway.issue()
    inactive(gateway)
    gateway.rows.version += 1
    refused.append(gateway.refusal(minted.text))
    told = {(r.rule, r.message, str(r.headers), r.layer, r.status) for r in refused}
    assert len(told) == 1
    assert refused[0].rule == "key-invalid"
    assert refused[0].headers["WWW-Authenticate"].startswith("Bearer")


def test_a_key_works_up_to_its_expiry() -> None:
    gateway = Gateway()
    minted = gateway.issue(expires=NOW + 10)
    gateway.now += 9
    gateway.judge(minted.text)
    gateway.now += 1
    gateway.refusal(minted.text)


def test_a_wrong_key_never_costs_a_bcrypt() -> None:
    gateway = Gateway()
    gateway.refusal(wrong(gateway.issue()))
    gateway.refusal(mint().text)
    assert gateway.hashes.checks == 0


def test_a_good_key_never_costs_a_bcrypt() -> None:
    gateway = Gateway()
    gateway.judge(gateway.issue().text)
    assert gateway.hashes.checks == 0


def test_rows_are_read_once_until_something_changes() -> None:
    gateway = Gateway()
    minted = gateway.issue()
    for _ in range(3):
        gateway.judge(minted.text)
    assert gateway.rows.reads == 1


@pytest.mark.parametrize("columns", [{"state": "revoked"}, {"permissions": ("audit.read",)}])
def test_a_change_counts_at_the_next_check(columns: dict[str, Any]) -> None:
    gateway = Gateway()
    minted = gateway.issue()
    gateway.judge(minted.text)
    gateway.rows.put(sealed(ROW_KEY, replace(gateway.row(minted), **columns)))
    if "state" in columns:
        gateway.refusal(minted.text)
    else:
        assert gateway.judge(minted.text).grants == {"audit.read"}


def test_an_owners_new_roles_count_at_the_next_check() -> None:
    gateway = Gateway()
    minted = gateway.issue()
    gateway.judge(minted.text)
    gateway.rows.persons["ada"] = replace(gateway.rows.persons["ada"], roles=("User",))
    gateway.rows.version += 1
    assert gateway.judge(minted.text).roles == ("User",)


def test_a_row_that_was_read_before_a_revocation_does_not_outlive_it() -> None:
    gateway = Gateway()
    minted, second = gateway.issue(), gateway.issue()
    revoked = sealed(ROW_KEY, replace(gateway.row(minted), state="revoked"))

    async def both() -> None:
        # The first has read its row; then the revocation is noticed by somebody else's check.
        first = asyncio.create_task(gateway.authenticator.authenticate(minted.text, ""))
        await asyncio.sleep(0)
        gateway.rows.put(revoked)
        await gateway.authenticator.authenticate(second.text, "")
        await first
        with pytest.raises(Unauthenticated):
            await gateway.authenticator.authenticate(minted.text, "")

    asyncio.run(both())


@pytest.mark.parametrize(
    "column",
    [
        {"permissions": ("ai.chat.use", "users.manage")},
        {"person": "eve"},
        {"state": "active "},
        {"expires": NOW + 1e9},
        {"created": 0.0},
        {"name": b"another"},
        {"bcrypt": b"x"},
        {"id": "another"},
        {"mac": b""},
        {"mac": b"\0" * 32},
    ],
)
def test_a_row_that_was_altered_in_the_database_is_damaged(column: dict[str, Any]) -> None:
    gateway = Gateway()
    minted = gateway.issue()
    gateway.rows.put(replace(gateway.row(minted), **column))
    with pytest.raises(RecordDamaged) as refusal:
        gateway.judge(minted.text)
    assert refusal.value.rule == "key-row-damaged"
    gateway.refusal(wrong(minted))


def test_when_a_key_was_last_used_is_no_part_of_its_rows_mac() -> None:
    gateway = Gateway()
    minted = gateway.issue()
    gateway.rows.put(replace(gateway.row(minted), last_used=NOW))
    gateway.judge(minted.text)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"permissions": ("ab", "c")}, {"permissions": ("a", "bc")}),
        ({"permissions": ()}, {"permissions": ("",)}),
        ({"id": "ab", "public_id": "c"}, {"id": "a", "public_id": "bc"}),
        ({"verifier": b"ab", "bcrypt": b""}, {"verifier": b"a", "bcrypt": b"b"}),
        ({"expires": None}, {"expires": 0.0}),
    ],
)
def test_two_rows_never_share_a_mac(one: dict[str, Any], other: dict[str, Any]) -> None:
    gateway = Gateway()
    row = gateway.row(gateway.issue())
    macs = {apikey.row_mac(ROW_KEY, replace(row, **columns)) for columns in (one, other)}
    assert len(macs) == 2


def test_a_verifier_names_its_pepper_and_hides_the_key() -> None:
    text = mint().text
    mine, others = verifier(PEPPER, text), verifier(OTHER, text)
    assert len(mine) == 40
    assert mine[:8] == verifier(PEPPER, mint().text)[:8] != others[:8]
    assert mine[8:] != others[8:]


def test_a_store_that_is_down_and_ended_threads_are_a_503() -> None:
    gateway = Gateway()
    minted, imported = gateway.issue(), gateway.issue(verifier=b"")
    gateway.authenticator.close()
    with pytest.raises(ServiceUnavailable):
        gateway.judge(imported.text)
    gateway.rows.down = True
    with pytest.raises(ServiceUnavailable) as refusal:
        gateway.judge(minted.text)
    assert (refusal.value.rule, refusal.value.layer) == ("key-store-unavailable", "authn")


def test_last_use_is_handed_out_once_a_minute_for_each_key() -> None:
    gateway = Gateway()
    minted = gateway.issue()
    other = gateway.issue()
    key = f"id-{minted.public_id}"
    for _ in range(3):
        gateway.judge(minted.text)
    assert gateway.authenticator.used() == [TouchKey(key, NOW)]
    assert gateway.authenticator.used() == []

    gateway.now += 30
    gateway.judge(minted.text)
    gateway.judge(other.text)
    assert gateway.authenticator.used() == [TouchKey(f"id-{other.public_id}", NOW + 30)]
    gateway.now += 30
    assert gateway.authenticator.used() == [TouchKey(key, NOW + 30)]


def test_a_refused_key_was_not_used() -> None:
    gateway = Gateway()
    gateway.refusal(wrong(gateway.issue()))
    gateway.refusal(gateway.issue(state="revoked").text)
    assert gateway.authenticator.used() == []


def test_rows_at_hand_are_bounded() -> None:
    gateway = Gateway()
    gateway.authenticator = apikey.build(
        apikey.Options(rows_at_hand=2),
        gateway.rows,
        lambda: NOW,
        pepper=PEPPER,
        row_key=ROW_KEY,
        hashes=gateway.hashes,
    )
    first, second, third = (gateway.issue() for _ in range(3))
    for minted in (first, second, first, third):
        gateway.judge(minted.text)
    assert gateway.rows.reads == 3
    gateway.judge(first.text)
    assert gateway.rows.reads == 3
    gateway.judge(second.text)
    assert gateway.rows.reads == 4


@pytest.mark.parametrize(
    ("pepper", "row_key", "options"),
    [
        (b"p" * 31, ROW_KEY, {}),
        (PEPPER, b"", {}),
        (PEPPER, PEPPER, {}),
        (PEPPER, ROW_KEY, {"slow_threads": 0}),
        (PEPPER, ROW_KEY, {"slow_waiting": -1}),
        (PEPPER, ROW_KEY, {"rows_at_hand": 0}),
    ],
)
def test_weak_keys_and_sizes_are_refused(
    pepper: bytes, row_key: bytes, options: dict[str, int]
) -> None:
    with pytest.raises(ConfigurationError):
        apikey.build(apikey.Options(**options), Rows(), lambda: NOW, pepper=pepper, row_key=row_key)


def test_nothing_secret_is_in_a_repr() -> None:
    gateway = Gateway()
    minted = gateway.issue()
    vouched = gateway.judge(minted.text)
    shown = repr(vouched) + repr(gateway.authenticator._rows) + repr(minted)
    assert minted.text[16:] not in shown
    assert repr(gateway.row(minted).verifier)[2:-1] not in shown
