"""A start closes what a crash left open, once, and names who had asked what."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import uuid
from contextlib import closing
from dataclasses import replace

import pytest

from ostiary.assemble import lay, recover
from ostiary.config import load
from ostiary.errors import IntegrityError
from ostiary.operations.recovery import close_interrupted
from ostiary.stages.ledger import Ledger, mark_of


@pytest.fixture
def run(tmp_path):
    home = tmp_path / "home"

    def start(work):
        async def inside():
            settings = load(
                flags={},
                environ={"OSTIARY_HOME": str(home)},
                cwd=tmp_path,
                config_path=None,
                known_kinds=frozenset(),
            )
            foundation = await lay(settings)
            try:
                return await work(foundation)
            finally:
                await foundation.close()

        return asyncio.run(inside())

    return start


def intent(foundation, request, **fields):
    """An intent as the ledger makes one, without an exchange behind it."""
    named = {"action": "chat", "kind": "ai_operation", "actor": "p", "method": "key", **fields}
    record = foundation.ledger._record("intent", request, named)
    return replace(record, opens=request)


def leaves(foundation):
    size = foundation.log.checkpoint().size
    return [json.loads(leaf) for leaf in foundation.log.read_entries(0, size)]


def test_each_open_exchange_is_closed_once(run):
    requests = [str(uuid.uuid4()) for _ in range(3)]

    async def crash(foundation):
        for request in requests:
            await foundation.store.commit(intent(foundation, request, model="gpt-4o", stream=True))

    async def start(foundation):
        await recover(foundation)
        await recover(foundation)
        assert not await foundation.store.open_exchanges()
        await foundation.sequencer.drain()
        return leaves(foundation)

    run(crash)
    records = run(start)
    closed = [record for record in records if record["event"] == "interrupted"]
    assert sorted(record["requestId"] for record in closed) == sorted(requests)
    for record in closed:
        assert (record["actor"], record["model"], record["method"]) == ("p", "gpt-4o", "key")
        assert record["success"] is False
        assert "private" not in record


def test_an_exchange_that_was_closed_gets_no_second_record(run):
    """The row is an older copy's; the tree knows better."""
    request = str(uuid.uuid4())

    async def work(foundation):
        opened = intent(foundation, request)
        await foundation.store.commit(opened)
        await foundation.sequencer.drain()
        await foundation.store.commit(foundation.ledger.recovered(opened.row.body))
        await foundation.sequencer.drain()
        assert not await foundation.store.open_exchanges()

    async def start(foundation):
        await recover(foundation)
        await foundation.sequencer.drain()
        assert not await foundation.store.open_exchanges()
        return [mark_of(json.dumps(leaf).encode()) for leaf in leaves(foundation)]

    run(work)
    home = run(_home)
    with closing(sqlite3.connect(home / "ostiary.db")) as database, database:
        rows = [(request, 0), (str(uuid.uuid4()), 0)]
        database.executemany("INSERT INTO open_exchanges VALUES (?, ?)", rows)
    assert [mark.closes for mark in run(start)].count(request) == 1


async def _home(foundation):
    return foundation.settings.home


def test_a_first_start_that_was_cut_off_before_its_first_record_is_made_good(run, monkeypatch):
    async def work(foundation):
        await recover(foundation)
        return [leaf["event"] for leaf in leaves(foundation)], foundation.new

    with monkeypatch.context() as cut:
        cut.setattr(Ledger, "genesis", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            run(work)
    assert run(work) == (["genesis"], True)
    assert run(work) == (["genesis"], False)


def test_nothing_open_reads_nothing(run):
    async def work(foundation):
        await foundation.sequencer.drain()
        foundation.log.read_entries = None
        return await close_interrupted(foundation.store, foundation.log, foundation.ledger)

    assert run(work) == 0


def test_a_log_without_its_beginning_is_refused(run):
    async def work(foundation):
        await recover(foundation)
        foundation.keyring._manifest_hash = "another"
        with pytest.raises(IntegrityError, match="keystore"):
            await recover(foundation)

    run(work)
