"""API keys: made, listed and revoked by their owner over HTTP, by the operator on the command line.

A key is shown once. Its name is personal and sealed; its row is authenticated under a key that is
not in the database. It never grants more than its owner holds.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from ostiary.authenticators import apikey
from ostiary.envelope import Context, Purpose, seal, unseal
from ostiary.errors import Forbidden, MalformedRequest, NotFound
from ostiary.exchange import Funded, Permission
from ostiary.keyring import Keyring
from ostiary.operations.conversations import require_uuid, rfc3339
from ostiary.persons import TENANT
from ostiary.pipeline import Done
from ostiary.ports import Store
from ostiary.rows import AddKey, AddRecord, KeyRow, ReplaceKey
from ostiary.stages.ledger import Ledger

LAYER = "check"
LONGEST_NAME = 200
MOST_SECONDS = 10 * 366 * 86_400


class NewKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """The body of `POST /api/keys`; `expiresIn` is in seconds."""

    name: str
    permissions: list[str] = []
    expires_in: int | None = None

    def __repr__(self) -> str:
        """Hide the name."""
        return "NewKey(***)"


@dataclass(frozen=True, slots=True)
class Created:
    """A new key: its text, which nobody can show again, and its row."""

    text: str = field(repr=False)
    row: KeyRow


@dataclass(frozen=True, slots=True)
class Keys:
    """The operations on API keys."""

    store: Store
    keyring: Keyring
    ledger: Ledger
    hashes: apikey.SlowHashes
    clock: Callable[[], float]
    live: bool

    async def create(self, funded: Funded) -> Done:
        """`{apiKey, keyId, permissions}`; the caller must hold every permission it asks for."""
        wanted = _new_key(funded.admitted.body)
        permissions = named_permissions(wanted.permissions)
        missing = [p.value for p in permissions if p not in funded.permitted.permissions]
        if missing:
            raise Forbidden(
                f"A key cannot hold what its maker does not: {', '.join(missing)}.",
                layer="authz",
                rule="key-permissions",
            )
        created = await self.make(
            funded.principal.person,
            wanted.name,
            permissions,
            wanted.expires_in,
            lambda key: self.ledger.operation(
                funded.permitted, resource=key, fields={"status": 201}
            ),
        )
        return Done(shown(created), status=201)

    async def make(
        self,
        person: str,
        name: str,
        permissions: Sequence[Permission],
        expires_in: int | None,
        record: Callable[[str], AddRecord],
    ) -> Created:
        """Make a key for a person; it and its audit record become durable together."""
        now = self.clock()
        minted = apikey.mint(live=self.live)
        key_id = str(uuid.uuid4())
        row = apikey.new_row(
            minted,
            key_id=key_id,
            person=person,
            name=seal(
                name.encode(),
                self.keyring.data_key(person),
                Purpose.KEY_NAME,
                _context(person, key_id),
            ),
            permissions=[permission.value for permission in permissions],
            created=now,
            expires=None if expires_in is None else now + expires_in,
            slow_hash=await self.hashes.hash(minted.text),
            pepper=self.keyring.secret("api-key-pepper"),
            row_key=self.keyring.secret("api-key-rows"),
        )
        await self.ledger.commit(AddKey(row), record(key_id))
        return Created(minted.text, row)

    async def list(self, funded: Funded) -> Done:
        """`{data: [{keyId, name, permissions, lastUsed, …}]}`: the caller's own."""
        rows = await self.store.keys(funded.principal.person)
        await self.ledger.commit(self.ledger.operation(funded.permitted))
        return Done({"data": [self.described(row) for row in rows]})

    async def revoke(self, funded: Funded) -> Done:
        """Dead at its next request; 204, also when it was revoked already."""
        identifier = funded.admitted.params["id"]
        require_uuid(identifier)
        row = await self.store.key(identifier)
        if row is None or row.person != funded.principal.person:
            raise NotFound("There is no such key.", layer=LAYER, rule="key")
        record = self.ledger.operation(funded.permitted, resource=row.id, fields={"status": 204})
        await self.end(row, record)
        return Done(status=204)

    async def end(self, row: KeyRow, record: AddRecord) -> None:
        """Revoke a key for good."""
        revoked = apikey.sealed(self.keyring.secret("api-key-rows"), replace(row, state="revoked"))
        await self.ledger.commit(ReplaceKey(revoked), record)

    def described(self, row: KeyRow) -> dict[str, Any]:
        """A key as its owner sees it; never its secret."""
        name = unseal(
            row.name,
            self.keyring.data_key(row.person),
            Purpose.KEY_NAME,
            _context(row.person, row.id),
        )
        return {
            "keyId": row.id,
            "name": name.decode(),
            "permissions": list(row.permissions),
            "state": self.state(row),
            "createdAt": rfc3339(row.created),
            "expiresAt": None if row.expires is None else rfc3339(row.expires),
            "lastUsed": None if row.last_used is None else rfc3339(row.last_used),
        }

    def state(self, row: KeyRow) -> str:
        """`active`, `expired` or `revoked`, now."""
        expired = row.expires is not None and row.expires <= self.clock()
        return "expired" if expired and row.state == apikey.ACTIVE else row.state


def shown(created: Created) -> dict[str, Any]:
    """The one time that a key is shown."""
    return {
        "apiKey": created.text,
        "keyId": created.row.id,
        "permissions": list(created.row.permissions),
    }


def named_permissions(names: Iterable[str]) -> tuple[Permission, ...]:
    """Permissions by name, each once; no name at all means `ai.chat.use`."""
    known = {permission.value: permission for permission in Permission}
    names = list(dict.fromkeys(names)) or [Permission.CHAT_USE.value]
    if any(name not in known for name in names):
        raise _invalid("permissions", f"must be among {', '.join(known)}")
    return tuple(known[name] for name in names)


def check_name(name: str) -> None:
    """400 unless a key's name is 1 to 200 characters and not blank."""
    if not name.strip() or len(name) > LONGEST_NAME:
        raise _invalid("name", f"must be 1 to {LONGEST_NAME} characters and not blank")


def check_expiry(seconds: int | None) -> None:
    """400 unless a key's life is 1 second to ten years, or without an end."""
    if seconds is not None and not 1 <= seconds <= MOST_SECONDS:
        raise _invalid("expiresIn", f"must be 1 to {MOST_SECONDS} seconds")


def _new_key(body: Any) -> NewKey:
    try:
        wanted = msgspec.convert(body, NewKey)
    except msgspec.ValidationError as cause:
        raise _invalid(_field_of(cause), "is missing, unknown or of the wrong type") from cause
    check_name(wanted.name)
    check_expiry(wanted.expires_in)
    return wanted


def _field_of(cause: msgspec.ValidationError) -> str:
    """The field of ours that a message names; a caller's own names are not repeated."""
    text = str(cause)
    return next((n for n in ("name", "permissions", "expiresIn") if n in text), "body")


def _invalid(field_name: str, message: str) -> MalformedRequest:
    return MalformedRequest(
        f"Validation failed: {field_name} {message}.",
        layer=LAYER,
        rule="fields",
        param=field_name,
        details=[{"field": field_name, "message": message}],
    )


def _context(person: str, key_id: str) -> Context:
    return Context(TENANT, person, "api_keys", "name", key_id)
