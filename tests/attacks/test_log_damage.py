"""Whatever is done to the log's files, `ostiary audit verify` says so and names the record."""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
from contextlib import closing

import pytest

from ostiary.assemble import lay
from ostiary.config import load
from ostiary.tlog.verifier import main
from tests.simulator.command import ostiary
from tests.simulator.gateway import Gateway

SMALL, LARGE = 6, 300


def written(home, records: int):
    """A home whose log holds so many records, and nothing waits."""

    async def write():
        settings = load(
            flags={},
            environ={"OSTIARY_HOME": str(home)},
            cwd=home.parent,
            config_path=None,
            known_kinds=frozenset(),
        )
        foundation = await lay(settings)
        await foundation.store.commit(
            *(foundation.ledger.command("keys.list") for _ in range(records - 1))
        )
        assert await foundation.sequencer.drain() == records
        await foundation.close()

    asyncio.run(write())
    return home


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return written(tmp_path_factory.mktemp("small") / "home", SMALL)


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    return written(tmp_path_factory.mktemp("large") / "home", LARGE)


@pytest.fixture
def home(large, tmp_path):
    return shutil.copytree(large, tmp_path / "home")


def verdict(home):
    """The report; its exit code must be 0 or 1, and a good one must be the only 0."""
    done = ostiary(home, "audit", "verify", "--json")
    assert done.code == (0 if done.json["ok"] else 1)
    assert done.err == ""
    assert set(done.json) == {"ok", "records", "firstBad", "reason"}
    return done.json


def damaged(home, first_bad) -> None:
    report = verdict(home)
    assert not report["ok"]
    assert report["firstBad"] == first_bad
    assert report["reason"]
    told = ostiary(home, "audit", "verify")
    assert told.code == 1
    assert told.out == ""
    assert "damaged" in told.err


def flip(path, offset: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)


def record_at(bundle: bytes, offset: int, first: int = 0) -> int:
    """Which record of a bundle a byte belongs to; its length belongs to it too."""
    start = 0
    while start < len(bundle):
        start += 2 + int.from_bytes(bundle[start : start + 2], "big")
        if offset < start:
            return first
        first += 1
    raise AssertionError("beyond the bundle")


def test_a_sound_log_is_proved(home):
    report = verdict(home)
    assert report == {"ok": True, "records": LARGE, "firstBad": None, "reason": ""}
    assert ostiary(home, "audit", "verify").out == f"{LARGE} records proved.\n"


@pytest.mark.parametrize("offset", [2, 40_000, -1])
def test_a_byte_of_a_full_bundle(home, offset):
    path = home / "ledger/tile/entries/000"
    whole = path.read_bytes()
    flip(path, offset)
    damaged(home, record_at(whole, offset % len(whole)))


def test_a_byte_of_the_last_bundle(home):
    path = home / f"ledger/tile/entries/001.p/{LARGE - 256}"
    flip(path, 1_000)
    damaged(home, record_at((path.read_bytes()), 1_000, 256))


@pytest.mark.parametrize("offset", [0, 32 * 100 + 5, 32 * 256 - 1])
def test_a_byte_of_a_full_tile(home, offset):
    flip(home / "ledger/tile/0/000", offset)
    damaged(home, offset // 32)


def test_a_byte_of_the_last_tile(home):
    flip(home / f"ledger/tile/0/001.p/{LARGE - 256}", 32 * 10)
    damaged(home, 256 + 10)


def test_a_byte_of_a_higher_tile(home):
    flip(home / "ledger/tile/1/000.p/1", 3)
    damaged(home, 0)


@pytest.mark.parametrize("line", range(5))
def test_a_byte_of_each_line_of_the_checkpoint(home, line):
    path = home / "ledger/checkpoint"
    lines = path.read_bytes().splitlines(keepends=True)
    flip(path, sum(map(len, lines[:line])))
    damaged(home, 0)


@pytest.mark.parametrize(
    ("name", "first_bad"),
    [
        ("tile/entries/000", 0),
        ("tile/entries/001.p/44", 256),
        ("tile/0/000", 0),
        ("tile/0/001.p/44", 256),
        ("tile/1/000.p/1", 0),
        ("checkpoint", 0),
    ],
)
def test_a_lost_a_cut_and_an_empty_file(home, name, first_bad):
    path = home / "ledger" / name
    whole = path.read_bytes()
    for rest in (whole[:-1], b"", None):
        path.unlink() if rest is None else path.write_bytes(rest)
        report = verdict(home)
        assert not report["ok"]
        assert report["firstBad"] >= first_bad
    assert report["firstBad"] == first_bad


@pytest.mark.parametrize("name", ["notes.txt", "tile/0/002", "tile/entries/000.bak", "tile/2/000"])
def test_an_added_file(home, name):
    path = home / "ledger" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"added")
    assert not verdict(home)["ok"]


def test_a_lost_folder(home):
    shutil.rmtree(home / "ledger")
    damaged(home, 0)
    damaged(home, 0)


def test_an_older_log_put_back(home, small, tmp_path):
    older = shutil.copytree(home / "ledger", tmp_path / "older")
    assert ostiary(home, "keys", "list").code == 0
    assert verdict(home)["records"] == LARGE + 1
    shutil.rmtree(home / "ledger")
    shutil.copytree(older, home / "ledger")
    damaged(home, LARGE)
    shutil.rmtree(home / "ledger")
    shutil.copytree(small / "ledger", home / "ledger")
    damaged(home, 0)


@pytest.mark.parametrize("column", ["body", "mac"])
def test_a_changed_record_on_its_way_into_the_log(home, column):
    assert ostiary(home, "keys", "list").code == 0
    with closing(sqlite3.connect(home / "ostiary.db")) as database, database:
        ((value,),) = database.execute(f"SELECT {column} FROM audit_outbox")
        changed = value.replace(b"keys.list", b"keys.lost") if column == "body" else bytes(32)
        assert changed != value
        database.execute(f"UPDATE audit_outbox SET {column} = ?", (changed,))
    damaged(home, LARGE)
    assert ostiary(home, "audit", "export").code == 1
    done = Gateway(home).command("serve", "--port", "0", check=False)
    assert (done.returncode, "Traceback" in done.stderr) == (3, False)
    assert "outbox" in done.stderr


def test_the_key_alone_proves_the_log_elsewhere(home):
    key = ostiary(home, "audit", "key").out.strip()
    assert ostiary(home, "audit", "key", "--json").json == {"key": key}
    assert main([str(home / "ledger"), key]) == 0
    flip(home / "ledger/tile/0/000", 0)
    assert main([str(home / "ledger"), key]) == 1


def test_an_export_of_a_log_with_a_lost_file_says_so(home):
    (home / "ledger/tile/entries/000").unlink()
    done = ostiary(home, "audit", "export")
    assert done.code == 1
    assert "damaged" in done.err


@pytest.mark.slow
def test_every_byte_of_every_file(small, tmp_path):
    home = shutil.copytree(small, tmp_path / "home")
    flips = 0
    for path in sorted(p for p in (home / "ledger").rglob("*") if p.is_file()):
        whole = path.read_bytes()
        for offset in range(len(whole)):
            flip(path, offset)
            done = ostiary(home, "audit", "verify", "--json")
            assert (done.code, done.json["ok"]) == (1, False), (path, offset)
            if path.parent.parent.name == "entries":
                assert done.json["firstBad"] == record_at(whole, offset)
            path.write_bytes(whole)
            flips += 1
    assert flips > 2_000
    assert json.loads(ostiary(home, "audit", "verify", "--json").out)["ok"]
