"""Wycheproof's vectors for C2SP chunked-encryption: whole, raw, and encrypting again."""

from __future__ import annotations

import hashlib
import zlib
from typing import Any

import pytest

from ostiary import envelope
from ostiary.envelope import COBBLESTONE_256, Cobblestone
from ostiary.errors import IntegrityError
from tests import vectors

SUITES = {256: COBBLESTONE_256, 128: Cobblestone(b"AEAD_AES_128_GCM", 16)}


def cases(bits: int) -> list[dict[str, Any]]:
    document: Any = vectors.load(f"wycheproof/c2sp_chunked_encryption_aes_{bits}_gcm_test.json")
    found = []
    for group in document["testGroups"]:
        assert group["aead"].encode() == SUITES[bits].aead
        assert group["sha"] == "SHA-512"
        found += group["tests"]
    assert len(found) == document["numberOfTests"] == 35
    return found


def ciphertext(case: dict[str, Any]) -> bytes:
    return zlib.decompress(bytes.fromhex(case["ct"]))


def outcome(case: dict[str, Any], opened: bytes | None) -> bool:
    """Whether the result is what the vector asks for."""
    if case["result"] == "invalid":
        return opened is None
    return (
        opened is not None
        and len(opened) == case["msgLength"]
        and hashlib.sha512(opened).hexdigest() == case["msgSha512"]
    )


@pytest.mark.parametrize("bits", [256, 128])
def test_every_vector_opens_or_is_refused_as_it_says(bits: int) -> None:
    wrong = []
    for case in cases(bits):
        try:
            opened = SUITES[bits].decrypt(
                ciphertext(case), bytes.fromhex(case["key"]), bytes.fromhex(case["ctx"])
            )
        except IntegrityError:
            opened = None
        if not outcome(case, opened):
            wrong.append(case["tcId"])
    assert wrong == []


@pytest.mark.parametrize("bits", [256, 128])
def test_every_vector_holds_in_raw_mode(bits: int) -> None:
    wrong, seen = [], 0
    for case in cases(bits):
        if "HeaderFailure" in case["flags"]:
            continue
        seen += 1
        try:
            opened = envelope._open_chunks(
                memoryview(ciphertext(case))[56:],
                bytes.fromhex(case["aeadKey"]),
                bytes.fromhex(case["baseNonce"]),
            )
        except IntegrityError:
            opened = None
        if not outcome(case, opened):
            wrong.append(case["tcId"])
    assert wrong == []
    assert seen > 20


@pytest.mark.parametrize("bits", [256, 128])
def test_encrypting_a_valid_vector_again_gives_its_very_bytes(bits: int) -> None:
    valid = [case for case in cases(bits) if case["result"] == "valid"]
    assert len(valid) == 10
    for case in valid:
        key, context = bytes.fromhex(case["key"]), bytes.fromhex(case["ctx"])
        sealed = ciphertext(case)
        opened = SUITES[bits].decrypt(sealed, key, context)
        assert SUITES[bits].encrypt(opened, key, context, salt=sealed[:24]) == sealed
