"""The gateway is killed at random moments; whatever it acknowledged is there, and nothing twice."""

from __future__ import annotations

import http.client
import json
import secrets
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from contextlib import closing
from pathlib import Path
from statistics import median

import pytest
from aiohttp import web

from tests.attacks.load import Client
from tests.simulator.command import ostiary
from tests.simulator.gateway import Gateway, upstream_settings
from tests.simulator.upstream import Upstream, chunks, completion, stream

CLOSING = {"outcome", "refusal", "interrupted"}
ANSWER = "This answer takes its time, as answers of models do."


@pytest.fixture
def upstream():
    async def behave(request, body):
        if body.get("stream"):
            return await stream(request, chunks(ANSWER), 0.004)
        return web.json_response(completion(ANSWER))

    with Upstream() as running:
        running.behave(behave)
        yield running


@pytest.fixture
def gateway(tmp_path, upstream):
    gateway = Gateway(tmp_path / "home", upstream_settings(upstream.url))
    yield gateway
    gateway.stop()


def closings(records) -> Counter[str]:
    """How many closing records each request has that an intent announced."""
    intents = [record["requestId"] for record in records if record["event"] == "intent"]
    assert len(intents) == len(set(intents))
    closed = Counter(r["requestId"] for r in records if r["event"] in CLOSING)
    return Counter({request: closed[request] for request in intents})


def export(gateway) -> list[dict]:
    done = ostiary(gateway.home, "audit", "export", settings=gateway.environment)
    assert (done.code, done.err) == (0, "")
    records = done.records
    assert [record["seq"] for record in records] == list(range(len(records)))
    assert len({record["id"] for record in records}) == len(records)
    return records


def verified(gateway) -> bool:
    done = ostiary(gateway.home, "audit", "verify", "--json", settings=gateway.environment)
    return done.code == 0 and done.json["ok"]


def get(gateway, path, token):
    headers = {"Authorization": f"Bearer {token}"}
    with urllib.request.urlopen(urllib.request.Request(gateway.url + path, headers=headers)) as r:
        return json.load(r)


def begin_stream(gateway, path="/v1/chat/completions"):
    """A stream of which a part has come; its connection and its request id."""
    connection = http.client.HTTPConnection(gateway.url.removeprefix("http://"), timeout=20)
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}], "stream": True}
    if path == "/api/chat":
        body = {"message": "hi", "stream": True}
    headers = {"Authorization": f"Bearer {gateway.key}", "Content-Type": "application/json"}
    connection.request("POST", path, json.dumps(body), headers)
    response = connection.getresponse()
    assert response.status == 200
    response.read(20)
    return connection, response.headers["x-request-id"]


@pytest.fixture
def endless(upstream):
    async def behave(request, body):
        return await stream(request, chunks("word " * 2_000), 0.01)

    upstream.behave(behave)


def test_a_stream_that_a_kill_cuts_off_is_recorded_as_interrupted(gateway, endless):
    gateway.start()
    open_streams = [begin_stream(gateway), begin_stream(gateway, "/api/chat")]
    gateway.kill()
    gateway.start()
    records = export(gateway)
    for connection, request in open_streams:
        connection.close()
        intent, closing = (r for r in records if r["requestId"] == request)
        assert (intent["event"], closing["event"]) == ("intent", "interrupted")
        assert closing["success"] is False
        for name in ("action", "actor", "method", "model", "key", "identity", "kind"):
            assert closing[name] == intent[name]
    assert verified(gateway)


def test_what_ends_in_order_leaves_nothing_open(gateway, upstream):
    gateway.start()
    for path in ("/v1/chat/completions", "/api/chat"):
        connection, _ = begin_stream(gateway, path)
        connection.close()
    upstream.behave(None)
    client = Client(gateway.key, "/api/chat", streamed=False, answer=upstream.text)
    stop = threading.Event()
    thread = threading.Thread(target=client.run, args=(gateway.url, stop))
    thread.start()
    time.sleep(0.3)
    stop.set()
    thread.join(20)
    assert gateway.stop() == 0
    assert not client.faults
    check_rows(gateway.home)
    assert set(closings(export(gateway)).values()) == {1}


@pytest.mark.slow
def test_a_start_after_a_start_records_nothing_twice(gateway, endless):
    gateway.start()
    connection, request = begin_stream(gateway)
    for _ in range(2):
        gateway.kill()
        gateway.start()
    connection.close()
    records = export(gateway)
    assert closings(records) == {request: 1}


@pytest.mark.slow
def test_an_orderly_stop_closes_what_is_under_way_by_itself(gateway, endless):
    gateway.start()
    connection, request = begin_stream(gateway)
    assert gateway.stop() == 0
    connection.close()
    before = export(gateway)
    assert closings(before) == {request: 1}
    gateway.start()
    assert [r["event"] for r in export(gateway)] == [r["event"] for r in before]
    assert not any("recovered" in record for record in before)


def test_an_older_database_closes_no_exchange_twice_and_leaves_none_open(gateway, endless):
    """Open in the copy and closed since; opened since and closed nowhere."""
    gateway.start()
    connection, closed_since = begin_stream(gateway)
    time.sleep(0.8)
    copy = gateway.home.parent / "older.db"
    with (
        closing(sqlite3.connect(gateway.home / "ostiary.db")) as live,
        closing(sqlite3.connect(copy)) as older,
    ):
        live.backup(older)
    connection.close()
    other, opened_since = begin_stream(gateway)
    time.sleep(1.2)
    gateway.kill()
    other.close()
    put_back(copy, gateway.home)
    before = len(list((gateway.home / "ledger").rglob("*")))
    assert before
    gateway.start()
    records = export(gateway)
    assert closings(records) == {closed_since: 1, opened_since: 1}
    assert [r.get("recovered", False) for r in records if r["event"] == "interrupted"] == [
        False,
        True,
    ]
    assert verified(gateway)


def put_back(copy, home):
    """The database alone, as an operator would: an older one knows nothing of a newer log."""
    for name in ("ostiary.db-wal", "ostiary.db-shm"):
        (home / name).unlink(missing_ok=True)
    shutil.copyfile(copy, home / "ostiary.db")


@pytest.mark.parametrize("kills", [1, pytest.param(10, marks=pytest.mark.slow)])
def test_a_first_start_may_be_killed_at_any_moment(tmp_path, kills):
    for kill in range(kills):
        gateway = Gateway(tmp_path / f"home{kill}")
        process = subprocess.Popen(
            [sys.executable, "-m", "ostiary", "serve", "--port", "0"],
            env=gateway.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 10
        while not gateway.home.exists() and time.monotonic() < deadline:
            time.sleep(0.002)
        time.sleep(secrets.randbelow(400) / 1000)
        process.kill()
        process.wait(10)
        with gateway:
            assert export(gateway)[0]["event"] == "genesis"
            assert verified(gateway)


@pytest.mark.parametrize("kills", [3, pytest.param(20, marks=pytest.mark.slow)])
def test_nothing_acknowledged_is_lost(gateway, kills):
    gateway.start()
    users = ["ada", "bea", "cleo", "dora"]
    faces = [("/api/chat", False), ("/api/chat", True), ("/v1/chat/completions", False)]
    faces.append(("/v1/chat/completions", True))
    tokens = [
        ostiary(gateway.home, "token", "--user", user, settings=gateway.environment).out.strip()
        for user in users
    ]
    clients = [
        Client(token, path, streamed, ANSWER)
        for token, (path, streamed) in zip(tokens, faces, strict=True)
    ]
    starts = []
    for kill in range(kills):
        converse(gateway, clients, new=kill % 2 == 0)
        begun = time.monotonic()
        gateway.start()
        starts.append(time.monotonic() - begun - queued(gateway.pid))
        check_log(gateway, clients)
    for token, client in zip(tokens, clients, strict=True):
        check_conversations(gateway, client, token)
    check_rows(gateway.home)
    assert not [fault for client in clients for fault in client.faults]
    assert all(sum(bool(turn.request) for turn in c.turns) >= kills for c in clients)
    assert any(not client.turns[-1].request for client in clients)
    assert median(starts) <= 4, starts


def queued(pid: int) -> float:
    """Seconds that a process was ready but others had the processors; 0 where nobody counts."""
    counted = Path(f"/proc/{pid}/schedstat")
    return int(counted.read_text().split()[1]) / 1e9 if counted.exists() else 0.0


def converse(gateway, clients, *, new: bool) -> None:
    """Let all clients ask, and kill the gateway somewhere between."""
    if new:
        for client in clients:
            client.conversation = None
    stop = threading.Event()
    threads = [threading.Thread(target=client.run, args=(gateway.url, stop)) for client in clients]
    for thread in threads:
        thread.start()
    time.sleep(0.6 + secrets.randbelow(900) / 1000)
    gateway.kill()
    stop.set()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()


def check_log(gateway, clients) -> None:
    records = export(gateway)
    assert verified(gateway)
    assert set(closings(records).values()) == {1}
    outcomes = {r["requestId"] for r in records if r["event"] == "outcome"}
    acknowledged = {turn.request for client in clients for turn in client.turns if turn.request}
    assert acknowledged <= outcomes


def check_conversations(gateway, client, token) -> None:
    """Hers hold whole turns alone, in the order asked, and each that was acknowledged."""
    listed, cursor = [], ""
    while cursor is not None:
        page = get(gateway, f"/api/conversations?limit=100{cursor}", token)
        listed += page["data"]
        cursor = f"&cursor={page['nextCursor']}" if page["nextCursor"] else None
    assert set(client.told) <= {row["id"] for row in listed}
    asked = {turn.text for turn in client.turns}
    for row in listed:
        messages = get(gateway, f"/api/conversations/{row['id']}", token)["messages"]
        assert len(messages) == row["messageCount"]
        assert [m["role"] for m in messages] == ["user", "assistant"] * (len(messages) // 2)
        assert {m["content"] for m in messages[1::2]} == {ANSWER}
        questions = [m["content"] for m in messages[::2]]
        assert set(questions) <= asked
        told = client.told.get(row["id"])
        if told is not None:
            kept = set(questions)
            assert questions == [turn.text for turn in told if turn.text in kept]
            assert {turn.text for turn in told if turn.request} <= kept


def check_rows(home) -> None:
    """No row without its conversation, no count that its rows belie, nothing left open."""
    with closing(sqlite3.connect(home / "ostiary.db")) as database:
        odd = database.execute(
            "SELECT count(*) FROM conversations c WHERE messages % 2 OR messages !="
            " (SELECT count(*) FROM messages m WHERE m.conversation = c.seq)"
        ).fetchone()[0]
        lost = database.execute(
            "SELECT count(*) FROM messages m"
            " WHERE NOT EXISTS (SELECT 1 FROM conversations c WHERE c.seq = m.conversation)"
        ).fetchone()[0]
        left = database.execute("SELECT count(*) FROM open_exchanges").fetchone()[0]
    assert (odd, lost, left) == (0, 0, 0)
