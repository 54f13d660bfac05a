"""What every store promises (`ports.Store`)."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ostiary.errors import IntegrityError, UnavailableError
from ostiary.ports import Missing, Stale
from ostiary.rows import (
    AddKey,
    AddPerson,
    CloseExchanges,
    DeleteConversation,
    OpenExchange,
    ReplaceKey,
    Sequenced,
    SetRoles,
    TouchKey,
    TreeState,
)
from tests.conformance.rows import key, new_id, person, record, sealed, turn

ROOT = Path(__file__).resolve().parents[2]


def on(place, story):
    """Tell a story on an open store and one person, and close it."""

    async def told():
        store = await place.open()
        try:
            owner = person()
            await store.commit(AddPerson(owner))
            return await story(store, owner.id)
        finally:
            await store.close()

    return asyncio.run(told())


def test_what_was_committed_is_read_at_once_and_after_a_restart(place):
    owner, change, noted = person(roles=("Admin", "Ünique role")), None, None

    async def write():
        nonlocal change, noted
        store = await place.open()
        await store.commit(AddPerson(owner))
        change, noted = turn(owner.id), record("address", "agent", owner=owner.id)
        await store.commit(change, noted)
        await check(store)
        await store.close()

    async def check(store):
        assert await store.person(owner.id) == owner
        assert await store.person_by_index(owner.index) == owner
        assert list(await store.persons()) == [owner]
        assert list(await store.messages(change.conversation)) == list(change.messages)
        conversation = await store.conversation(change.conversation)
        assert (conversation.person, conversation.messages) == (owner.id, 2)
        assert (conversation.created, conversation.updated) == (change.at, change.at)
        assert list(await store.outbox(10)) == [noted.row]
        absent = new_id()
        found = await store.private([noted.row.id, absent])
        assert sorted(found[noted.row.id], key=lambda r: r.name) == list(noted.private)
        assert list(found[absent]) == []
        assert await store.tree_state() is None

    async def again():
        store = await place.open()
        await check(store)
        await store.close()

    asyncio.run(write())
    asyncio.run(again())


def test_what_does_not_exist_is_none_or_empty(place):
    async def story(store, _):
        for read in (store.person, store.key, store.key_by_public_id, store.conversation):
            assert await read(new_id()) is None
        assert await store.person_by_index(b"nobody") is None
        assert list(await store.messages(new_id())) == []
        assert list(await store.keys(new_id())) == []
        assert list(await store.conversations(new_id(), limit=5)) == []
        assert await store.private([]) == {}

    on(place, story)


def test_a_second_person_of_the_same_index_changes_nothing(place):
    async def story(store, owner):
        first = await store.person(owner)
        before = store.changed()
        await store.commit(AddPerson(person(index=first.index, roles=("Admin",))))
        assert list(await store.persons()) == [first]
        assert store.changed() == before

    on(place, story)


def test_roles_are_replaced(place):
    async def story(store, owner):
        await store.commit(SetRoles(owner, ("Analyst",)))
        assert (await store.person(owner)).roles == ("Analyst",)
        with pytest.raises(Missing):
            await store.commit(SetRoles(new_id(), ()))

    on(place, story)


def test_keys_come_and_change_and_keep_their_last_use(place):
    async def story(store, owner):
        first, second = key(owner, expires=99.5), key(owner, created=1.25)
        await store.commit(AddKey(first), AddKey(second))
        assert await store.key(first.id) == first
        assert await store.key_by_public_id(first.public_id) == first
        assert list(await store.keys(owner)) == list(await store.keys()) == [second, first]
        await store.commit(TouchKey(first.id, 8.5))
        await store.commit(TouchKey(first.id, 7.5))
        revoked = dataclasses.replace(first, state="revoked", mac=b"m" * 32, permissions=())
        await store.commit(ReplaceKey(revoked))
        assert await store.key(first.id) == dataclasses.replace(revoked, last_used=8.5)
        with pytest.raises(Missing):
            await store.commit(ReplaceKey(key(owner)))
        with pytest.raises(Missing):
            await store.commit(AddKey(key(new_id())))
        with pytest.raises(Stale):
            await store.commit(AddKey(key(owner, public_id=first.public_id)))

    on(place, story)


def test_the_use_of_a_key_that_is_gone_does_not_undo_what_it_rides_on(place):
    async def story(store, _):
        noted = record()
        await store.commit(TouchKey(new_id(), 1.5), noted)
        assert list(await store.outbox(5)) == [noted.row]

    on(place, story)


def test_the_change_counter_moves_with_persons_and_keys_alone(place):
    async def story(store, owner):
        row = key(owner)
        moving = [
            AddPerson(person()),
            SetRoles(owner, ("Admin",)),
            AddKey(row),
            ReplaceKey(dataclasses.replace(row, state="revoked")),
        ]
        for change in moving:
            before = store.changed()
            await store.commit(change)
            assert store.changed() != before, change
        before = store.changed()
        change = turn(owner)
        await store.commit(change, record(), TouchKey(row.id, 3.5))
        await store.commit(DeleteConversation(change.conversation, owner))
        assert store.changed() == before

    on(place, story)


def test_another_connections_change_is_seen_by_the_next_call(place):
    async def story(store, owner):
        other = await place.open()
        for count in range(20):
            before = store.changed(), other.changed()
            await other.commit(SetRoles(owner, (str(count),)))
            assert store.changed() != before[0]
            assert other.changed() != before[1]
            assert (await store.person(owner)).roles == (str(count),)
        await other.close()

    on(place, story)


def test_turns_append_in_order(place):
    async def story(store, owner):
        first = turn(owner, at=5.5)
        await store.commit(first)
        second = turn(owner, first.conversation, 2, at=7.5)
        await store.commit(second)
        third = turn(owner, first.conversation, 4, at=6.5)
        await store.commit(third)
        rows = list(await store.messages(first.conversation))
        assert rows == [*first.messages, *second.messages, *third.messages]
        row = await store.conversation(first.conversation)
        assert (row.messages, row.created, row.updated) == (6, 5.5, 7.5)

    on(place, story)


def test_two_turns_in_one_commit_are_two_turns(place):
    async def story(store, owner):
        first = turn(owner)
        await store.commit(first, turn(owner, first.conversation, 2))
        assert [row.position for row in await store.messages(first.conversation)] == [0, 1, 2, 3]

    on(place, story)


def test_a_stale_turn_leaves_nothing_of_its_commit(place):
    async def story(store, owner):
        stranger = person()
        first = turn(owner)
        await store.commit(AddPerson(stranger), first)
        stale = [
            turn(owner, first.conversation, 0),
            turn(owner, first.conversation, 4),
            turn(stranger.id, first.conversation, 2),
            turn(owner, new_id(), 0),
            turn(owner, first.conversation, 0, created=True),
            turn(owner, new_id(), 2, created=True),
        ]
        for change in stale:
            for changes in ([change, record()], [record("name"), change]):
                with pytest.raises(Stale):
                    await store.commit(*changes)
        with pytest.raises(Missing):
            await store.commit(turn(new_id()), record())
        assert list(await store.messages(first.conversation)) == list(first.messages)
        assert list(await store.outbox(5)) == []

    on(place, story)


def test_a_message_of_another_turn_is_refused(place):
    async def story(store, owner):
        one, other = turn(owner), turn(owner)
        with pytest.raises(ValueError, match="does not belong"):
            await store.commit(dataclasses.replace(one, messages=other.messages))
        assert await store.conversation(one.conversation) is None

    on(place, story)


def test_a_deleted_conversation_is_gone_and_a_foreign_one_cannot_be(place):
    async def story(store, owner):
        kept, gone = turn(owner), turn(owner)
        await store.commit(kept, gone)
        with pytest.raises(Missing):
            await store.commit(DeleteConversation(gone.conversation, new_id()))
        await store.commit(DeleteConversation(gone.conversation, owner))
        with pytest.raises(Missing):
            await store.commit(DeleteConversation(gone.conversation, owner))
        assert await store.conversation(gone.conversation) is None
        assert list(await store.messages(gone.conversation)) == []
        assert list(await store.messages(kept.conversation)) == list(kept.messages)
        after = turn(owner)
        await store.commit(after)
        assert list(await store.messages(after.conversation)) == list(after.messages)

    on(place, story)


def test_conversations_are_paged_newest_first(place):
    async def story(store, owner):
        stranger = person()
        await store.commit(AddPerson(stranger), turn(stranger.id))
        turns = [turn(owner, at=float(at) + 0.5) for at in (3, 1, 2, 2, 2, 5)]
        await store.commit(*turns)
        expected = sorted(((t.at, t.conversation) for t in turns), reverse=True)
        seen, before = [], None
        while page := await store.conversations(owner, limit=2, before=before):
            assert len(page) <= 2
            seen += [(row.updated, row.id) for row in page]
            before = seen[-1]
        assert seen == expected

    on(place, story)


def test_the_outbox_keeps_the_order_of_commits(place):
    async def story(store, _):
        lanes = [[record() for _ in range(10)] for _ in range(8)]

        async def lane(records):
            for change in records:
                await store.commit(change)

        await asyncio.gather(*(lane(records) for records in lanes))
        rows = [row.id for row in await store.outbox(1000)]
        assert len(rows) == 80
        for records in lanes:
            ids = [change.row.id for change in records]
            assert [row for row in rows if row in set(ids)] == ids
        assert [row.id for row in await store.outbox(7)] == rows[:7]

    on(place, story)


def test_sequencing_takes_records_out_and_notes_the_tree(place):
    async def story(store, owner):
        changes = [record("name", owner=owner) for _ in range(6)]
        await store.commit(*changes)
        ids = [change.row.id for change in changes]
        await store.commit(Sequenced((ids[0], ids[1]), TreeState(2, b"a" * 32)))
        await store.commit(Sequenced((ids[5], ids[3], ids[0], new_id()), TreeState(4, b"b" * 32)))
        assert [row.id for row in await store.outbox(9)] == [ids[2], ids[4]]
        assert await store.tree_state() == TreeState(4, b"b" * 32)
        with pytest.raises(Stale):
            await store.commit(Sequenced((ids[2],), TreeState(3, b"c" * 32)))
        assert [row.id for row in await store.outbox(9)] == [ids[2], ids[4]]
        assert len((await store.private(ids))[ids[0]]) == 1
        late = record()
        await store.commit(late)
        assert [row.id for row in await store.outbox(9)] == [ids[2], ids[4], late.row.id]

    on(place, story)


def test_an_exchange_is_open_from_its_intent_to_its_closing_record(place):
    async def story(store, owner):
        requests = [new_id() for _ in range(4)]
        await store.commit(Sequenced((), TreeState(7, b"a" * 32)))
        for request in requests:
            await store.commit(dataclasses.replace(record(), opens=request))
        assert set(await store.open_exchanges()) == {OpenExchange(r, 7) for r in requests}
        await store.commit(turn(owner), dataclasses.replace(record(), closes=requests[0]))
        both = dataclasses.replace(record(), opens=new_id())
        await store.commit(both, dataclasses.replace(record(), closes=both.opens))
        await store.commit(dataclasses.replace(record(), closes=new_id()))
        with pytest.raises(Missing):
            await store.commit(
                dataclasses.replace(record(), closes=requests[1]),
                DeleteConversation(new_id(), owner),
            )
        assert {row.request for row in await store.open_exchanges()} == set(requests[1:])
        await store.commit(CloseExchanges((requests[2], new_id())))
        found = (OpenExchange(requests[1], 3), OpenExchange(new_id(), 8))
        await store.commit(Sequenced((), TreeState(9, b"b" * 32), found))
        assert set(await store.open_exchanges()) == {
            OpenExchange(requests[1], 7),
            OpenExchange(requests[3], 7),
            found[1],
        }

    on(place, story)


def test_two_hundred_commits_at_once_all_arrive(place):
    async def story(store, owner):
        turns = [turn(owner) for _ in range(200)]
        await asyncio.gather(*(store.commit(t, record(), record()) for t in turns))
        assert len(await store.conversations(owner, limit=500)) == 200
        assert len(await store.outbox(500)) == 400
        for one in turns[::20]:
            assert list(await store.messages(one.conversation)) == list(one.messages)

    on(place, story)


def test_a_faulty_commit_fails_alone_among_many(place):
    async def story(store, owner):
        good = [[turn(owner), record("name", owner=owner)] for _ in range(30)]
        clear = record("name", owner=owner)
        clear = dataclasses.replace(
            clear, private=(dataclasses.replace(clear.private[0], envelope=b"Alice"),)
        )
        faulty = [
            ([record(), turn(owner, new_id(), 2)], Stale),
            ([turn(owner), SetRoles(new_id(), ())], Missing),
            ([turn(owner), AddKey(key(new_id()))], Missing),
            ([record(), AddPerson(person(profile=b"Alice Example" * 20))], IntegrityError),
            ([turn(owner), clear], IntegrityError),
            ([AddPerson(person()), AddKey(key(owner, created="x"))], IntegrityError),
            ([record(), AddKey(key(owner, created=2**80 + 0j))], Exception),
        ]
        mixed = []
        for i, changes in enumerate(good):
            mixed.append((changes, None))
            if i < len(faulty):
                mixed.append(faulty[i])
        results = await asyncio.gather(
            *(store.commit(*changes) for changes, _ in mixed), return_exceptions=True
        )
        for result, (_, fault) in zip(results, mixed, strict=True):
            assert result is None if fault is None else isinstance(result, fault)
        assert "Alice" not in repr(results)
        assert len(await store.conversations(owner, limit=100)) == 30
        assert [row.id for row in await store.outbox(100)] == [r.row.id for _, r in good]
        assert len(await store.persons()) == 1

    on(place, story)


def test_turns_at_once_in_one_conversation_never_mix(place):
    async def story(store, owner):
        first = turn(owner)
        await store.commit(first)
        rivals = [turn(owner, first.conversation, 2) for _ in range(10)]
        results = await asyncio.gather(
            *(store.commit(rival, record()) for rival in rivals), return_exceptions=True
        )
        winners = [r for r, result in zip(rivals, results, strict=True) if result is None]
        assert len(winners) == 1
        assert sum(isinstance(result, Stale) for result in results) == 9
        rows = list(await store.messages(first.conversation))
        assert rows == [*first.messages, *winners[0].messages]
        assert len(await store.outbox(50)) == 1

    on(place, story)


def test_work_that_is_cancelled_can_still_hand_in_its_record(place):
    async def story(store, _):
        noted = record()

        async def work():
            try:
                await asyncio.sleep(60)
            finally:
                store.submit(noted)

        task = asyncio.create_task(work())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await store.commit(record())  # commits keep their order
        assert (await store.outbox(5))[0] == noted.row

    on(place, story)


def test_a_commit_that_is_no_longer_awaited_happens_as_a_whole_or_not(place):
    async def story(store, owner):
        turns = [turn(owner) for _ in range(20)]
        tasks = [asyncio.create_task(store.commit(t, record())) for t in turns]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await store.commit(record())
        held = [len(await store.messages(t.conversation)) for t in turns]
        assert set(held) <= {0, 2}
        assert len(await store.outbox(50)) == 1 + sum(held) // 2

    on(place, story)


def test_closing_writes_what_was_handed_in_and_refuses_what_comes_later(place):
    noted = record()

    async def write():
        store = await place.open()
        store.submit(noted)
        await store.close()
        await store.close()
        for late in (store.commit(record()), store.persons(), store.person(new_id())):
            with pytest.raises(UnavailableError):
                await late
        with pytest.raises(UnavailableError):
            store.submit(record())
        with pytest.raises(UnavailableError):
            store.changed()

    async def read(store, _):
        return [row.id for row in await store.outbox(5)]

    asyncio.run(write())
    assert on(place, read) == [noted.row.id]


def test_contents_of_every_size_come_back_byte_for_byte(place):
    async def story(store, owner):
        sizes = [94, 95, 127, 128, 129, 511, 1023, 1024, 1025, 4095, 4097, 16_384, 70_001]
        for length in sizes:
            change = turn(owner, lengths=(length, 94))
            change = dataclasses.replace(
                change,
                messages=(
                    dataclasses.replace(change.messages[0], content=sealed(length - 3) + b"\0\0\0")
                    if length > 97
                    else change.messages[0],
                    change.messages[1],
                ),
            )
            await store.commit(change)
            assert list(await store.messages(change.conversation)) == list(change.messages)

    on(place, story)


def _start_crashing(place) -> subprocess.Popen[bytes]:
    options = json.dumps(dataclasses.asdict(place.options))
    env = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
    command = [sys.executable, "-m", "tests.conformance.crashing", place.name, options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, env=env, cwd=ROOT)


def _killed_under_load(place) -> list[list[str]]:
    """The commits that a process acknowledged before it was killed at a random moment."""
    process = _start_crashing(place)
    head = process.stdout.readline()
    time.sleep(secrets.randbelow(400) / 1000)
    process.send_signal(signal.SIGKILL)
    lines = (head + process.stdout.read()).split(b"\n")[:-1]  # the last may be half a line
    process.wait()
    process.stdout.close()
    return [line.decode().split() for line in lines]


def _nothing_acknowledged_is_lost(place, rounds: int) -> None:
    async def check(acknowledged, records):
        store = await place.open()
        counts: dict[str, int] = {}
        for conversation, count, *ids in acknowledged:
            counts[conversation] = int(count)
            records.update(ids)
        for conversation, count in counts.items():
            row = await store.conversation(conversation)
            rows = await store.messages(conversation)
            assert row.messages == len(rows) >= count
            assert len(rows) % 2 == 0, "half a turn is stored"
        outbox = [row.id for row in await store.outbox(10_000_000)]
        assert records <= set(outbox)
        assert len(outbox) == len(set(outbox))
        assert len(outbox) % 2 == 0, "half a commit is stored"
        await store.close()

    records: set[str] = set()
    for _ in range(rounds):
        acknowledged = _killed_under_load(place)
        assert acknowledged
        asyncio.run(check(acknowledged, records))


def test_kill_9_loses_nothing_that_was_acknowledged(place):
    _nothing_acknowledged_is_lost(place, 5)


@pytest.mark.slow
def test_kill_9_fifty_times_loses_nothing_that_was_acknowledged(place):
    _nothing_acknowledged_is_lost(place, 50)
