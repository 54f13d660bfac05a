"""A key authenticator over a store in memory, for the tests of API keys."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from ostiary.authenticators import apikey
from ostiary.authenticators.apikey import MintedKey, SlowHashes, mint, new_row, sealed
from ostiary.errors import Unauthenticated, UnavailableError
from ostiary.exchange import Vouched
from ostiary.ports import Missing
from ostiary.rows import Change, KeyRow, PersonRow, ReplaceKey

NOW = 1_800_000_000.0
PEPPER, ROW_KEY, OTHER = b"p" * 32, b"r" * 32, b"o" * 32
ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
ROUNDS = 4


class Rows:
    """A store of keys and persons in memory, with a change counter, that counts its reads."""

    def __init__(self) -> None:
        self.key_rows: dict[str, KeyRow] = {}
        self.persons = {"ada": PersonRow("ada", b"", b"", ("Developer",), False, True, NOW)}
        self.version = 0
        self.reads = 0
        self.down = False
        self.during: Callable[[], None] | None = None

    def changed(self) -> int:
        return self.version

    async def key_by_public_id(self, public_id: str) -> KeyRow | None:
        self.reads += 1
        row = self.key_rows.get(public_id)
        await asyncio.sleep(0)
        if self.down:
            raise UnavailableError("the store is down")
        if self.during:
            self.during()
        return row

    async def person(self, person: str) -> PersonRow | None:
        return self.persons.get(person)

    async def commit(self, *changes: Change) -> None:
        for change in changes:
            assert isinstance(change, ReplaceKey)
            if change.row.public_id not in self.key_rows:
                raise Missing
            self.put(change.row)

    def put(self, row: KeyRow) -> None:
        self.key_rows[row.public_id] = row
        self.version += 1


class CountedHashes(SlowHashes):
    """bcrypt at its least cost, counted."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"rounds": ROUNDS, **options})
        self.checks = 0

    async def matches(self, text: str, hashed: bytes) -> bool:
        self.checks += 1
        return await super().matches(text, hashed)


class Gateway:
    """An authenticator over a store in memory, with a clock that the test moves."""

    def __init__(self, **options: Any) -> None:
        self.rows = Rows()
        self.now = NOW
        self.hashes = CountedHashes(**options)
        self.authenticator = self.build(PEPPER)

    def build(self, pepper: bytes) -> apikey.KeyAuthenticator:
        return apikey.build(
            apikey.Options(),
            self.rows,
            lambda: self.now,
            pepper=pepper,
            row_key=ROW_KEY,
            hashes=self.hashes,
        )

    def issue(self, **columns: Any) -> MintedKey:
        minted = mint()
        hashed = asyncio.run(apikey.hash_slowly(minted.text, self.hashes))
        row = new_row(
            minted,
            key_id=f"id-{minted.public_id}",
            person="ada",
            name=b"sealed",
            permissions=["ai.chat.use"],
            created=NOW,
            expires=None,
            slow_hash=hashed,
            pepper=PEPPER,
            row_key=ROW_KEY,
        )
        self.rows.put(sealed(ROW_KEY, replace(row, **columns)) if columns else row)
        return minted

    def judge(self, text: str) -> Vouched:
        return asyncio.run(self.authenticator.authenticate(text, "192.0.2.7"))

    def refusal(self, text: str) -> Unauthenticated:
        with pytest.raises(Unauthenticated) as refusal:
            self.judge(text)
        return refusal.value

    def row(self, minted: MintedKey) -> KeyRow:
        return self.rows.key_rows[minted.public_id]


def checked(body: str) -> str:
    """A body of 59 characters with its check sum, written down independently of the product."""
    number, digits = zlib.crc32(body.encode()), ""
    for _ in range(6):
        number, digit = divmod(number, 62)
        digits = ALPHABET[digit] + digits
    return body + digits


def wrong(minted: MintedKey) -> str:
    """A key of the same public id and a good check sum with another secret."""
    return checked(minted.text[:16] + mint().text[16:59])
