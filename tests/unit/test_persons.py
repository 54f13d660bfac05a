"""A person is tenant and object id: stable across names, found without a readable name."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from ostiary.errors import IntegrityError
from ostiary.exchange import Subject, Vouched
from ostiary.rows import PersonRow, SetRoles
from tests.unit.doorway import doorway

ANN = Subject("tenant-1", "object-ann", "ann@example.com")


def vouched(subject: Subject | None = ANN, *roles: str, person: str | None = None) -> Vouched:
    return Vouched("token", False, roles, frozenset(), None, subject=subject, person=person)


def run(test: Any) -> None:
    asyncio.run(test)


def test_a_new_subject_becomes_a_person_once(tmp_path: Path) -> None:
    async def test() -> None:
        async with doorway(tmp_path) as door:
            rows = await asyncio.gather(
                *(door.persons.recognise(vouched(ANN, "User")) for _ in range(5))
            )
            assert len({row.id for row in rows}) == 1
            renamed = Subject("TENANT-1", "OBJECT-ANN", "married@example.com")
            assert (await door.persons.recognise(vouched(renamed, "User"))).id == rows[0].id
            others = [Subject("tenant-2", "object-ann"), Subject("tenant-1", "object-ann2")]
            for other in others:
                assert (await door.persons.recognise(vouched(other, "User"))).id != rows[0].id

    run(test())


def test_a_persons_roles_are_those_of_her_last_token(tmp_path: Path) -> None:
    async def test() -> None:
        async with doorway(tmp_path) as door:
            await door.persons.recognise(vouched(ANN, "Admin"))
            row = await door.persons.recognise(vouched(ANN, "User"))
            assert row.roles == ("User",)
            assert (await door.store.person(row.id)).roles == ("User",)

    run(test())


def test_a_change_of_another_process_counts_at_once(tmp_path: Path) -> None:
    async def test() -> None:
        async with doorway(tmp_path) as door:
            row = await door.persons.named(ANN, roles=("User",))
            await door.store.commit(SetRoles(row.id, ("Analyst",)))
            assert (await door.persons.named(ANN, roles=("User",))).roles == ("Analyst",)

    run(test())


def test_what_was_read_before_a_change_does_not_outlive_it(tmp_path: Path) -> None:
    async def test() -> None:
        async with doorway(tmp_path) as door:
            row = await door.persons.named(ANN, roles=("Admin",))
            read, go = asyncio.Event(), asyncio.Event()
            slow = True

            async def slowly(index: bytes) -> PersonRow | None:
                nonlocal slow
                found = await door.store._store.person_by_index(index)
                if slow:
                    slow = False
                    read.set()
                    await go.wait()
                return found

            door.store.person_by_index = slowly
            door.persons._known.clear()
            early = asyncio.create_task(door.persons.find(ANN))
            await read.wait()
            await door.store.commit(SetRoles(row.id, ("User",)))
            assert (await door.persons.find(ANN)).roles == ("User",)
            go.set()
            await early
            assert (await door.persons.find(ANN)).roles == ("User",)

    run(test())


def test_a_key_of_nobody_is_an_error(tmp_path: Path) -> None:
    async def test() -> None:
        async with doorway(tmp_path) as door:
            with pytest.raises(IntegrityError):
                await door.persons.recognise(vouched(None, person="nobody"))

    run(test())


def test_a_profile_is_sealed_and_bound_to_its_person(tmp_path: Path) -> None:
    async def test() -> None:
        async with doorway(tmp_path) as door:
            ann = await door.persons.named(ANN, roles=("User",))
            bob = await door.persons.named(Subject("tenant-1", "bob", "Bob"), roles=("User",))
            assert door.persons.profile(ann).name == "ann@example.com"
            swapped = PersonRow(
                ann.id, ann.index, bob.profile, ann.roles, ann.application, True, ann.created
            )
            with pytest.raises(IntegrityError):
                door.persons.profile(swapped)
            shown = repr(door.persons.profile(ann)) + repr(ann) + repr(ANN)
            for private in ("ann@", "object-ann", "tenant-1"):
                assert private not in shown
        stored = b"".join(f.read_bytes() for f in tmp_path.rglob("*") if f.is_file())
        for private in (b"ann@", b"object-ann", b"tenant-1"):
            assert private not in stored

    run(test())
