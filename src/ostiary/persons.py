"""Persons and applications: who a credential stands for, without a readable name on disk.

A person is found by a blind index (HMAC of tenant and object id under a key of its own); what
is known about her is one sealed profile under her own data key.
"""

from __future__ import annotations

import hmac
import uuid
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace

import msgspec

from ostiary.envelope import Context, Purpose, seal, unseal
from ostiary.errors import IntegrityError
from ostiary.exchange import Subject, Vouched
from ostiary.keyring import Keyring
from ostiary.ports import Store
from ostiary.rows import AddPerson, PersonRow, SetRoles

TENANT = "ostiary"
_CACHE = 10_000


class Profile(msgspec.Struct, frozen=True):
    """What is known about a person; it exists on disk only sealed."""

    tenant: str
    object_id: str
    name: str

    def __repr__(self) -> str:
        """Hide everything: all of it is personal."""
        return "Profile(***)"


class Persons:
    """Recognises subjects, makes persons of new ones, and opens their profiles."""

    def __init__(self, store: Store, keyring: Keyring, clock: Callable[[], float]) -> None:
        """Take the store, the keys and the clock (seconds since the epoch)."""
        self._store = store
        self._keyring = keyring
        self._clock = clock
        self._index_key = keyring.secret("blind-index")
        self._known: OrderedDict[bytes | str, PersonRow] = OrderedDict()
        self._seen = -1

    async def recognise(self, vouched: Vouched) -> PersonRow:
        """The person behind a proven credential; a new subject becomes a person.

        A token's roles are the person's current roles from then on: her keys follow them.
        """
        if vouched.subject is None:
            return await self._owner(vouched.person or "")
        row = await self.named(
            vouched.subject, roles=vouched.roles, application=vouched.application
        )
        if row.roles != vouched.roles:
            await self._store.commit(SetRoles(row.id, vouched.roles))
            row = replace(row, roles=vouched.roles)
        return row

    async def named(
        self, subject: Subject, *, roles: Sequence[str], application: bool = False
    ) -> PersonRow:
        """The person of this subject, made with `roles` if there is none yet."""
        index = self.index(subject)
        return await self._find(index) or await self._add(subject, index, roles, application)

    async def find(self, subject: Subject) -> PersonRow | None:
        """The person of this subject, if there is one."""
        return await self._find(self.index(subject))

    def index(self, subject: Subject) -> bytes:
        """The blind index of a subject: 32 bytes that only this gateway's key yields."""
        text = f"{subject.tenant.lower()}/{subject.object_id.lower()}"
        return hmac.digest(self._index_key, b"person\x00" + text.encode(), "sha256")

    def profile(self, row: PersonRow) -> Profile:
        """Open a person's profile; IntegrityError where it is not authentic."""
        data = unseal(
            row.profile, self._keyring.data_key(row.id), Purpose.PROFILE, self._context(row.id)
        )
        return msgspec.json.decode(data, type=Profile)

    def _context(self, person: str) -> Context:
        return Context(TENANT, person, "persons", "profile", person)

    async def _owner(self, person: str) -> PersonRow:
        seen = self._notice_changes()
        row = self._known.get(person)
        if row is None:
            row = await self._store.person(person)
            if row is None:
                raise IntegrityError("a credential belongs to a person that does not exist")
            self._remember(person, row, seen)
        return row

    async def _find(self, index: bytes) -> PersonRow | None:
        seen = self._notice_changes()
        row = self._known.get(index)
        if row is None:
            row = await self._store.person_by_index(index)
            if row is not None:
                self._remember(index, row, seen)
        return row

    def _notice_changes(self) -> int:
        """Forget everybody when anybody changed, in whichever process."""
        changed = self._store.changed()
        if changed != self._seen:
            self._known.clear()
            self._seen = changed
        return changed

    def _remember(self, name: bytes | str, row: PersonRow, seen: int) -> None:
        """What was read before a change that was noticed meanwhile must not outlive it."""
        if seen != self._seen:
            return
        self._known[name] = row
        if len(self._known) > _CACHE:
            self._known.popitem(last=False)

    async def _add(
        self, subject: Subject, index: bytes, roles: Sequence[str], application: bool
    ) -> PersonRow:
        person = str(uuid.uuid4())
        self._keyring.create_subject(person)
        profile = Profile(subject.tenant, subject.object_id, subject.name)
        sealed = seal(
            msgspec.json.encode(profile),
            self._keyring.data_key(person),
            Purpose.PROFILE,
            self._context(person),
        )
        row = PersonRow(
            id=person,
            index=index,
            profile=sealed,
            roles=tuple(roles),
            application=application,
            active=True,
            created=self._clock(),
        )
        await self._store.commit(AddPerson(row))
        # Two first requests at once: the row that was inserted first is the person.
        return await self._store.person_by_index(index) or row
