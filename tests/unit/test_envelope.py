"""The envelope: opens in one place with one key, and nowhere else."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostiary.envelope import (
    OVERHEAD,
    Context,
    DataKey,
    Purpose,
    key_id_of,
    seal,
    unseal,
)
from ostiary.errors import IntegrityError

KEY = DataKey(bytes(range(16)), bytes(range(32)))
HERE = Context("tenant", "person", "messages", "content", "row-1", 7)
TEXT = b"meet me at noon"


def test_what_was_sealed_comes_back() -> None:
    sealed = seal(TEXT, KEY, Purpose.MESSAGE, HERE)
    assert unseal(sealed, KEY, Purpose.MESSAGE, HERE) == TEXT
    assert TEXT not in sealed


@given(
    plaintext=st.binary(max_size=200)
    | st.integers(-2, 2).map(lambda n: b"x" * (16_384 + n))
    | st.integers(-2, 2).map(lambda n: b"y" * (32_768 + n)),
    parts=st.lists(
        st.text(st.characters(codec="utf-8"), min_size=1, max_size=20), min_size=5, max_size=5
    ),
    revision=st.integers(0, 2**64 - 1),
    purpose=st.sampled_from(Purpose),
)
def test_every_text_and_place_makes_the_round_trip(plaintext, parts, revision, purpose) -> None:
    context = Context(*parts, revision)
    sealed = seal(plaintext, KEY, purpose, context)
    assert unseal(sealed, KEY, purpose, context) == plaintext
    assert len(sealed) == len(plaintext) + OVERHEAD + 16 * (len(plaintext) // 16_384)


def test_the_layout_is_the_documented_one() -> None:
    salt = bytes(range(100, 124))
    sealed = seal(TEXT, KEY, Purpose.KEY_NAME, HERE, random=lambda n: salt[:n])
    assert sealed[:6] == b"AF\x01\x01\x00\x09"
    assert sealed[6:22] == KEY.key_id
    assert sealed[22:46] == salt
    assert len(sealed) == len(TEXT) + 94


def test_the_context_bytes_are_the_documented_ones() -> None:
    assert Context("t", "sü", "m", "c", "r", 258).encode(b"H" * 22) == (
        b"aif/env/v1\x00" + b"H" * 22 + b"\x00\x01t\x00\x03s\xc3\xbc\x00\x01m\x00\x01c\x00\x01r"
        b"\x00\x00\x00\x00\x00\x00\x01\x02"
    )


def test_no_bit_of_a_sealed_record_may_change() -> None:
    sealed = seal(TEXT, KEY, Purpose.MESSAGE, HERE)
    accepted = 0
    for bit in range(len(sealed) * 8):
        forged = bytearray(sealed)
        forged[bit // 8] ^= 1 << (bit % 8)
        try:
            unseal(bytes(forged), KEY, Purpose.MESSAGE, HERE)
            accepted += 1
        except IntegrityError:
            pass
    assert accepted == 0


def test_no_truncation_and_no_extension_opens() -> None:
    sealed = seal(TEXT, KEY, Purpose.MESSAGE, HERE)
    for forged in [*(sealed[:end] for end in range(len(sealed))), sealed + b"\x00", b"x" + sealed]:
        with pytest.raises(IntegrityError):
            unseal(forged, KEY, Purpose.MESSAGE, HERE)


@pytest.mark.parametrize("length", [16_384, 16_385, 32_768, 40_000])
def test_a_long_record_cut_or_joined_at_a_chunk_does_not_open(length: int) -> None:
    sealed = seal(b"z" * length, KEY, Purpose.MESSAGE, HERE)
    first, second = sealed[78 : 78 + 16_400], sealed[78 + 16_400 :]
    for forged in (
        sealed[: 78 + 16_400],
        sealed[:78] + second,
        sealed[:78] + second + first,
        sealed[:78] + first + first + second,
    ):
        with pytest.raises(IntegrityError):
            unseal(forged, KEY, Purpose.MESSAGE, HERE)


@pytest.mark.parametrize(
    "elsewhere",
    [
        {"tenant": "other"},
        {"subject": "other"},
        {"table": "other"},
        {"column": "other"},
        {"row": "row-2"},
        {"revision": 8},
        {"table": "messagesc", "column": "ontent"},
        {"tenant": "tenantp", "subject": "erson"},
    ],
)
def test_a_record_does_not_open_in_another_place(elsewhere: dict) -> None:
    sealed = seal(TEXT, KEY, Purpose.MESSAGE, HERE)
    with pytest.raises(IntegrityError):
        unseal(sealed, KEY, Purpose.MESSAGE, dataclasses.replace(HERE, **elsewhere))


def test_a_record_does_not_open_with_another_key_or_for_another_purpose() -> None:
    sealed = seal(TEXT, KEY, Purpose.MESSAGE, HERE)
    other = bytes(range(1, 33))
    for key, purpose in (
        (DataKey(KEY.key_id, other), Purpose.MESSAGE),
        (DataKey(bytes(16), KEY.key), Purpose.MESSAGE),
        (KEY, Purpose.PROFILE),
    ):
        with pytest.raises(IntegrityError):
            unseal(sealed, key, purpose, HERE)


def test_a_rewritten_header_does_not_move_a_record_to_another_purpose_or_key_id() -> None:
    sealed = seal(TEXT, KEY, Purpose.MESSAGE, HERE)
    as_profile = sealed[:5] + bytes([Purpose.PROFILE]) + sealed[6:]
    with pytest.raises(IntegrityError):
        unseal(as_profile, KEY, Purpose.PROFILE, HERE)
    renamed = DataKey(bytes(16), KEY.key)
    with pytest.raises(IntegrityError):
        unseal(sealed[:6] + renamed.key_id + sealed[22:], renamed, Purpose.MESSAGE, HERE)


def test_equal_texts_do_not_look_equal() -> None:
    one, two = (seal(TEXT, KEY, Purpose.MESSAGE, HERE) for _ in range(2))
    assert one[22:] != two[22:]


@pytest.mark.parametrize(
    "place",
    [
        Context("", "s", "t", "c", "r"),
        Context("t", "", "t", "c", "r"),
        Context("t", "s", "", "c", "r"),
        Context("t", "s", "t", "", "r"),
        Context("t", "s", "t", "c", ""),
        Context("t", "s", "t", "c", "r" * 65_536),
        Context("t", "s", "t", "c", "\ud800"),
        Context("t", "s", "t", "c", "r", -1),
        Context("t", "s", "t", "c", "r", 2**64),
    ],
)
def test_a_place_that_cannot_be_told_apart_is_refused(place: Context) -> None:
    with pytest.raises(IntegrityError):
        seal(TEXT, KEY, Purpose.MESSAGE, place)


@pytest.mark.parametrize(("key_id", "key"), [(15, 32), (17, 32), (16, 31), (16, 33), (16, 16)])
def test_a_key_of_another_length_is_refused(key_id: int, key: int) -> None:
    with pytest.raises(IntegrityError):
        DataKey(bytes(key_id), bytes(key))


def test_a_short_salt_is_refused() -> None:
    with pytest.raises(IntegrityError):
        seal(TEXT, KEY, Purpose.MESSAGE, HERE, random=lambda n: bytes(n - 1))


def test_the_key_id_is_read_strictly() -> None:
    sealed = seal(b"", KEY, Purpose.MESSAGE, HERE)
    assert key_id_of(sealed) == KEY.key_id
    for forged in (
        b"",
        sealed[:-1],
        b"ZF" + sealed[2:],
        sealed[:2] + b"\x02" + sealed[3:],
        sealed[:3] + b"\x02" + sealed[4:],
        sealed[:4] + b"\x01" + sealed[5:],
        sealed[:5] + b"\x00" + sealed[6:],
        sealed[:5] + b"\x0a" + sealed[6:],
    ):
        with pytest.raises(IntegrityError):
            key_id_of(forged)


def test_a_key_is_not_in_its_repr() -> None:
    secret = b"S" * 32
    shown = repr(DataKey(bytes(16), secret))
    assert "SSS" not in shown
    assert secret.hex() not in shown


def test_an_error_quotes_neither_text_nor_key() -> None:
    sealed = seal(TEXT, KEY, Purpose.MESSAGE, HERE)
    with pytest.raises(IntegrityError) as caught:
        unseal(sealed[:-1] + bytes([sealed[-1] ^ 1]), KEY, Purpose.MESSAGE, HERE)
    assert "noon" not in str(caught.value)
    assert caught.value.__cause__ is None
