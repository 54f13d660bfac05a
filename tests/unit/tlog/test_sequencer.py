"""Records reach the tree once, in order, whoever moves them and whenever it dies."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import uuid

import pytest

from ostiary.errors import IntegrityError
from ostiary.rows import AddRecord, OpenExchange, OutboxRow
from ostiary.stores import sqlite
from ostiary.tlog.files import LogFiles
from ostiary.tlog.note import NoteSigner
from ostiary.tlog.sequencer import Mark, Sequencer, outbox_mac

KEY = b"k" * 32


def leaf(body: bytes, seq: int) -> bytes:
    return json.dumps({**json.loads(body), "seq": seq}).encode()


def mark(body: bytes) -> Mark:
    record = json.loads(body)
    return Mark(record["id"], record.get("opens"), record.get("closes"))


class Home:
    """One store and one log; several may stand on one folder, as several processes do."""

    def __init__(self, folder):
        self.folder = folder

    async def __aenter__(self):
        self.store = sqlite.build(sqlite.Options(path=str(self.folder / "ostiary.db")))
        await self.store.open()
        signer = NoteSigner.from_seed("test/log", b"s" * 32)
        self.log = LogFiles(self.folder / "ledger", "test/log", signer, self.folder / "scratch")
        self.sequencer = Sequencer(
            self.store, self.log, self.folder / "lock", KEY, leaf=leaf, mark=mark
        )
        return self

    async def __aexit__(self, *_):
        await self.store.close()

    async def add(self, *, opens=None, closes=None, key=KEY) -> str:
        name = str(uuid.uuid4())
        body = {"id": name, "opens": opens, "closes": closes}
        data = json.dumps({k: v for k, v in body.items() if v}).encode()
        row = OutboxRow(name, data, outbox_mac(key, name, data))
        await self.store.commit(AddRecord(row, opens=opens, closes=closes))
        return name

    def ids(self) -> list[str]:
        entries = [json.loads(e) for e in self.log.read_entries(0, self.log.checkpoint().size)]
        assert [entry["seq"] for entry in entries] == list(range(len(entries)))
        return [entry["id"] for entry in entries]


def run(folder, work):
    async def inside():
        async with Home(folder) as home:
            return await work(home)

    return asyncio.run(inside())


def test_records_get_numbers_in_the_order_of_their_commits(tmp_path):
    async def work(home):
        names = [await home.add() for _ in range(5)]
        assert await home.sequencer.drain() == 5
        names += [await home.add() for _ in range(3)]
        assert await home.sequencer.drain() == 8
        assert home.ids() == names
        assert not await home.store.outbox(1)
        assert (await home.store.tree_state()).size == 8

    run(tmp_path, work)


def test_a_death_between_tree_and_outbox_repeats_nothing(tmp_path):
    class Died(Exception):
        pass

    async def first(home):
        await home.sequencer.drain()
        names = [await home.add() for _ in range(4)]

        async def commit(*changes):
            raise Died

        home.store.commit, kept = commit, home.store.commit
        with pytest.raises(Died):
            await home.sequencer.drain()
        home.store.commit = kept
        assert len(await home.store.outbox(10)) == home.log.size == 4
        return names

    async def second(home):
        name = await home.add()
        assert await home.sequencer.drain() == 5
        assert not await home.store.outbox(1)
        return home.ids(), name

    names = run(tmp_path, first)
    ids, name = run(tmp_path, second)
    assert ids == [*names, name]


def test_an_older_store_skips_what_the_tree_holds_and_learns_what_is_open(tmp_path):
    still, over, since = (str(uuid.uuid4()) for _ in range(3))
    older = tmp_path / "older"

    async def before(home):
        await home.add(opens=over)
        await home.sequencer.drain()
        await home.add()
        await home.add()

    async def after(home):
        await home.sequencer.drain()
        await home.add(closes=over)
        await home.add(opens=still)
        await home.add(opens=since)
        await home.add(closes=since)
        await home.sequencer.drain()
        return home.ids()

    async def put_back(home):
        assert [row.request for row in await home.store.open_exchanges()] == [over]
        assert await home.sequencer.drain() == 7
        assert not await home.store.outbox(1)
        assert set(await home.store.open_exchanges()) == {
            OpenExchange(over, 0),
            OpenExchange(still, 4),
        }
        new = await home.add()
        await home.sequencer.drain()
        return home.ids(), new

    run(tmp_path, before)
    older.write_bytes((tmp_path / "ostiary.db").read_bytes())
    kept = run(tmp_path, after)
    (tmp_path / "ostiary.db").write_bytes(older.read_bytes())
    ids, new = run(tmp_path, put_back)
    assert ids == [*kept, new]


def test_an_exchange_that_ended_in_the_outbox_is_not_opened_again(tmp_path):
    """The tree has the intent, the store does not know of it yet, the end waits in the outbox."""
    request = str(uuid.uuid4())

    async def work(home):
        await home.sequencer.drain()
        await home.add(opens=request)

        async def lost(*changes):
            raise KeyboardInterrupt

        home.store.commit, kept = lost, home.store.commit
        with pytest.raises(KeyboardInterrupt):
            await home.sequencer.drain()
        home.store.commit = kept
        assert home.log.size == 1
        await home.add(closes=request)
        assert await home.sequencer.drain() == 2
        assert not await home.store.open_exchanges()

    run(tmp_path, work)


def test_a_record_that_is_not_authentic_stops_everything(tmp_path):
    async def work(home):
        await home.add()
        await home.add(key=b"x" * 32)
        with pytest.raises(IntegrityError):
            await home.sequencer.drain()
        assert home.log.size == 0
        assert len(await home.store.outbox(10)) == 2

    run(tmp_path, work)


def test_a_shorter_tree_stops_everything(tmp_path):
    async def work(home):
        await home.add()
        await home.sequencer.drain()

    async def shortened(home):
        with pytest.raises(IntegrityError):
            await home.sequencer.drain()

    run(tmp_path, work)
    for path in sorted((tmp_path / "ledger").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    run(tmp_path, shortened)


def test_who_does_not_wait_leaves_it_to_who_is_at_it(tmp_path):
    async def work(home):
        await home.add()
        with home.sequencer.alone(wait=False) as mine:
            assert mine
            with home.sequencer.alone(wait=False) as other:
                assert not other
            assert await home.sequencer.drain() is None
        assert await home.sequencer.drain() == 1

    run(tmp_path, work)


def _add_and_drain(folder, count):
    async def work(home):
        for number in range(count):
            await home.add()
            if number % 3 == 0:
                await home.sequencer.drain(wait=number % 2 == 0)
        await home.sequencer.drain(wait=True)

    run(folder, work)
    os._exit(0)


def test_two_processes_share_the_work_and_lose_nothing(tmp_path):
    run(tmp_path, lambda home: home.sequencer.drain())
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_add_and_drain, args=(tmp_path, 40)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0

    async def look(home):
        assert await home.sequencer.drain(wait=True) == 80
        assert len(set(home.ids())) == 80

    run(tmp_path, look)
