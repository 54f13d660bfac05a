"""What is particular to SQLite: the file, its schema, its disk, other processes, what is erased."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import re
import secrets
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from ostiary.errors import ConfigurationError, UnavailableError
from ostiary.rows import AddKey, AddPerson, DeleteConversation, Sequenced, TreeState
from ostiary.stores import sqlite
from ostiary.stores.sqlite import schema
from ostiary.stores.sqlite.changes import cell_size
from tests.absent import absent
from tests.conformance.rows import key, new_id, person, record, turn

ROOT = Path(__file__).resolve().parents[3]

ENVELOPE = "an envelope; a CHECK lets nothing else in"
ID = "a random id"
PLACE = "a row number"
TIME = "a time"
COUNT = "a number"
WORDS = "words of the configuration or of this program"
KEYED = "keyed or hashed; says nothing without the key"

# Every column, and why no clear personal text can be in it. A new column belongs in here.
COLUMNS = {
    "persons.seq": PLACE,
    "persons.id": ID,
    "persons.blind_index": KEYED,
    "persons.profile": ENVELOPE,
    "persons.roles": WORDS,
    "persons.application": COUNT,
    "persons.active": COUNT,
    "persons.created": TIME,
    "api_keys.seq": PLACE,
    "api_keys.id": ID,
    "api_keys.public_id": ID,
    "api_keys.person": PLACE,
    "api_keys.name": ENVELOPE,
    "api_keys.verifier": KEYED,
    "api_keys.bcrypt": KEYED,
    "api_keys.permissions": WORDS,
    "api_keys.state": WORDS,
    "api_keys.created": TIME,
    "api_keys.expires": TIME,
    "api_keys.mac": KEYED,
    "key_uses.key": PLACE,
    "key_uses.at": TIME,
    "conversations.seq": PLACE,
    "conversations.id": ID,
    "conversations.person": PLACE,
    "conversations.created": TIME,
    "conversations.updated": TIME,
    "conversations.messages": COUNT,
    "cells.seq": PLACE,
    "cells.sealed": ENVELOPE,
    "vacancies.cell": PLACE,
    "vacancies.size": COUNT,
    "messages.conversation": PLACE,
    "messages.position": COUNT,
    "messages.id": ID,
    "messages.role": WORDS,
    "messages.created": TIME,
    "messages.cell": PLACE,
    "messages.length": COUNT,
    "audit_outbox.position": PLACE,
    "audit_outbox.id": ID,
    "audit_outbox.body": "a leaf of the log: pseudonyms and salted commitments alone",
    "audit_outbox.mac": KEYED,
    "open_exchanges.request": ID,
    "open_exchanges.since": COUNT,
    "audit_private.record": ID,
    "audit_private.name": WORDS,
    "audit_private.person": ID,
    "audit_private.envelope": ENVELOPE,
    "tree_state.id": PLACE,
    "tree_state.size": COUNT,
    "tree_state.root": KEYED,
    "changes.id": PLACE,
    "changes.count": COUNT,
}


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "home" / "ostiary.db"


async def opened(path: Path) -> sqlite.SqliteStore:
    store = sqlite.build(sqlite.Options(path=str(path)))
    await store.open()
    return store


def on(path, story):
    async def told():
        store = await opened(path)
        try:
            owner = person()
            await store.commit(AddPerson(owner))
            return await story(store, owner.id)
        finally:
            await store.close()

    return asyncio.run(told())


async def nothing(store, owner) -> None:
    del store, owner


def test_every_column_is_declared_with_the_reason_why_it_is_not_personal(path):
    on(path, nothing)
    connection = sqlite3.connect(path)
    tables = connection.execute(
        "SELECT name, sql FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    ).fetchall()
    found = {}
    for table, sql in tables:
        assert "STRICT" in sql, table
        for row in connection.execute("SELECT name, type FROM pragma_table_info(?)", (table,)):
            found[f"{table}.{row[0]}"] = (row[1], sql)
    connection.close()
    assert set(found) == set(COLUMNS)
    for column, reason in COLUMNS.items():
        kind, sql = found[column]
        name = column.partition(".")[2]
        if reason is ENVELOPE:
            assert kind == "BLOB"
            assert f"CHECK (substr({name}, 1, 2)" in sql, column
        elif kind == "BLOB":
            assert reason is KEYED or column == "audit_outbox.body"
        elif kind == "TEXT":
            assert reason in (ID, WORDS), column


@pytest.mark.parametrize("mask", [0o000, 0o077, 0o777])
def test_the_file_and_its_folder_are_closed_to_others_whatever_the_umask(path, mask):
    modes = {}

    async def look(store, owner):
        await store.commit(turn(owner))
        modes.update({p.name: stat.S_IMODE(p.stat().st_mode) for p in path.parent.iterdir()})
        modes["home"] = stat.S_IMODE(path.parent.stat().st_mode)

    before = os.umask(mask)
    try:
        on(path, look)
    finally:
        os.umask(before)
    assert modes == {
        "home": 0o700,
        "ostiary.db": 0o600,
        "ostiary.db-wal": 0o600,
        "ostiary.db-shm": 0o600,
    }


def test_a_file_that_was_open_to_others_is_closed_to_them(path):
    on(path, nothing)
    path.chmod(0o644)
    on(path, nothing)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_an_orderly_close_leaves_one_file(path):
    async def story(store, owner):
        await store.commit(turn(owner))

    on(path, story)
    assert [p.name for p in path.parent.iterdir()] == ["ostiary.db"]


def test_a_newer_schema_is_refused_with_a_sentence(path):
    on(path, nothing)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(ConfigurationError, match=r"store\.path: .* schema 99"):
        asyncio.run(opened(path))


def test_a_file_that_is_no_database_is_refused_and_left_alone(path):
    path.parent.mkdir()
    path.write_bytes(b"precious notes, not a database" * 100)
    with pytest.raises(ConfigurationError, match="not a database"):
        asyncio.run(opened(path))
    assert path.read_bytes() == b"precious notes, not a database" * 100


def test_an_old_sqlite_is_refused_with_a_sentence(path, monkeypatch):
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 34, 1))
    with pytest.raises(ConfigurationError, match="oldest"):
        asyncio.run(opened(path))


def test_a_folder_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "home").write_text("a file where a folder should be")
    with pytest.raises(UnavailableError, match=r"store\.path"):
        asyncio.run(opened(tmp_path / "home" / "ostiary.db"))


def test_each_script_sets_its_own_number(tmp_path):
    for number, script in enumerate(schema._scripts(), 1):
        assert script.rstrip().endswith(f"PRAGMA user_version = {number};")


def test_every_connection_is_durable_and_wipes_what_it_frees(path):
    async def story(store, _):
        for connection in (store._writing, store._reading, store._glancing):
            settings = {
                name: connection.execute(f"PRAGMA {name}").fetchone()[0]
                for name in ("journal_mode", "synchronous", "secure_delete", "foreign_keys")
            }
            assert settings == {
                "journal_mode": "wal",
                "synchronous": 2,
                "secure_delete": 1,
                "foreign_keys": 1,
            }
        for connection in (store._reading, store._glancing):
            with pytest.raises(sqlite3.OperationalError, match="readonly"):
                connection.execute("DELETE FROM persons")

    on(path, story)


def test_processes_that_start_at_once_make_one_schema(path):
    code = (
        "import asyncio, sys\n"
        "from ostiary.rows import AddPerson\n"
        "from ostiary.stores import sqlite\n"
        "from tests.conformance.rows import person\n"
        "async def main():\n"
        "    store = sqlite.build(sqlite.Options(path=sys.argv[1]))\n"
        "    await store.open()\n"
        "    await store.commit(AddPerson(person()))\n"
        "    await store.close()\n"
        "asyncio.run(main())\n"
    )
    env = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
    running = [
        subprocess.Popen([sys.executable, "-c", code, str(path)], env=env, stderr=subprocess.PIPE)
        for _ in range(4)
    ]
    for process in running:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors.decode()

    async def count(store, _):
        return len(await store.persons())

    assert on(path, count) == 5


def test_missing_and_foreign_side_files_do_not_hinder_the_start(path):
    on(path, nothing)
    for suffix in ("-wal", "-shm"):
        Path(f"{path}{suffix}").write_bytes(secrets.token_bytes(40_000))

    async def count(store, _):
        return len(await store.persons())

    assert on(path, count) == 2


def test_a_commit_waits_for_another_process_and_gives_up_in_the_end(path, monkeypatch):
    monkeypatch.setattr(schema, "PATIENCE", 0.3)

    async def story(store, owner):
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(UnavailableError, match="SQLITE_BUSY"):
            await store.commit(record())
        assert (await store.person(owner)) is not None  # reads do not wait for writers
        waiting = asyncio.create_task(store.commit(record()))
        await asyncio.sleep(0.1)
        other.execute("COMMIT")
        other.close()
        await waiting
        assert len(await store.outbox(5)) == 1

    on(path, story)


def _marked(owner: str, conversation: str | None = None, expected: int = 0):
    """A turn whose contents are nothing but their own mark, again and again."""
    change = turn(owner, conversation, expected)
    messages = tuple(
        dataclasses.replace(
            row,
            content=b"AF\x01\x01\x00\x01"
            + (b"CANARY" + bytes.fromhex(row.id.replace("-", ""))[:10])
            * secrets.choice([7, 12, 19, 56, 94, 190, 560]),
        )
        for row in change.messages
    )
    return dataclasses.replace(change, messages=messages)


def _marks(content: bytes) -> set[bytes]:
    return set(re.findall(rb"CANARY(.{10})", content, re.DOTALL))


def test_after_an_orderly_close_no_file_holds_a_byte_of_what_was_deleted(path):
    gone: set[bytes] = set()
    kept: set[bytes] = set()

    async def story(store, owner):
        live: dict[str, list] = {}
        changes: list = []
        for _ in range(4_000):
            dice = secrets.randbelow(100)
            conversation = secrets.choice(list(live)) if live else None
            if dice < 35 or conversation is None:
                change = _marked(owner)
                live[change.conversation] = list(change.messages)
            elif dice < 85:
                change = _marked(owner, conversation, len(live[conversation]))
                live[conversation] += change.messages
            else:
                change = DeleteConversation(conversation, owner)
                for row in live.pop(conversation):
                    gone.update(_marks(row.content))
            changes.append(change)
            if len(changes) == 20:
                await store.commit(*changes)
                changes.clear()
        for rows in live.values():
            kept.update(*(_marks(row.content) for row in rows))
            assert list(await store.messages(rows[0].conversation)) == rows

    on(path, story)
    on_disk = set().union(*(_marks(file.read_bytes()) for file in path.parent.iterdir()))
    assert len(gone) > 1_000
    assert kept <= on_disk
    assert gone & on_disk == set()


def test_emptied_cells_are_filled_again(path):
    async def story(store, owner):
        for _ in range(200):
            change = turn(owner)
            await store.commit(change)
            await store.commit(DeleteConversation(change.conversation, owner))
        return store._writing.execute("SELECT count(*) FROM cells").fetchone()[0]

    assert on(path, story) == 2


def test_the_sizes_of_cells_are_few_and_waste_little():
    sizes = [cell_size(length) for length in range(1, 70_000)]
    assert all(size >= length for length, size in enumerate(sizes, 1))
    assert all(size <= length * 1.125 for length, size in enumerate(sizes, 1) if length > 128)
    assert len(set(sizes)) < 80


def _run(command: list[str]) -> int:
    return subprocess.run(command, capture_output=True, check=False).returncode


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 2 MB of our own."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)]
    if os.geteuid() != 0 or _run(command) != 0:
        absent("a small disk needs root and the right to mount")
    yield disk
    assert _run(["umount", str(disk)]) == 0


def test_a_full_disk_refuses_loses_nothing_and_heals(small_disk):
    path = small_disk / "home" / "ostiary.db"
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(1_200_000))  # when it is gone a checkpoint fits, too
    acknowledged = []

    async def story(store, owner):
        async def fill():
            while True:
                change, noted = turn(owner, lengths=(9_000, 9_000)), record("name", owner=owner)
                await asyncio.wait_for(store.commit(change, noted), 1.0)
                acknowledged.append((change, noted.row.id))

        refusals = await asyncio.gather(*(fill() for _ in range(8)), return_exceptions=True)
        assert [type(refusal) for refusal in refusals] == [UnavailableError] * 8
        assert "SQLITE_FULL" in str(refusals[0])
        assert (await store.person(owner)) is not None
        with pytest.raises(UnavailableError):
            await store.commit(turn(owner, lengths=(90_000, 90_000)))
        ballast.unlink()
        change, noted = turn(owner), record()
        await asyncio.wait_for(store.commit(change, noted), 2.0)
        acknowledged.append((change, noted.row.id))
        ids = tuple(record for _, record in acknowledged)
        assert [row.id for row in await store.outbox(10_000)] == list(ids)
        await store.commit(Sequenced(ids, TreeState(len(ids), b"r" * 32)))
        assert list(await store.outbox(1)) == []

    on(path, story)

    async def all_there(store, _):
        for change, _record in acknowledged:
            assert list(await store.messages(change.conversation)) == list(change.messages)

    assert acknowledged
    on(path, all_there)
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()


def test_rows_show_nothing_of_what_they_hold():
    secret = b"\x99marker"
    rows = (
        person(index=secret, profile=secret),
        key(new_id(), name=secret, verifier=secret, bcrypt=secret, mac=secret),
    )
    assert "marker" not in repr(rows) + repr(AddKey(rows[1])) + repr(AddPerson(rows[0]))
