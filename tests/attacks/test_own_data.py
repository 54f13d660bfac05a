"""Conversations and keys over HTTP: one's own, all of them, and nobody else's."""

from __future__ import annotations

import uuid

import pytest

from tests.simulator.client import bearer, chat, check_problem, send
from tests.simulator.gateway import Gateway

CONVERSATIONS, KEYS, CHAT = "/api/conversations", "/api/keys", "/api/chat"
MALFORMED = ["7", "not-a-uuid", "%27%20OR%201=1", "{00000000-0000-4000-8000-000000000000}"]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    with Gateway(tmp_path_factory.mktemp("own") / "home") as running:
        yield running


@pytest.fixture(scope="module")
def ada(gateway):
    return gateway.token("ada", "User")


@pytest.fixture(scope="module")
def bob(gateway):
    return gateway.token("bob", "Developer")


def call(gateway, method: str, path: str, credential: str, body=None):
    return send(gateway.url, method, path, body, bearer(credential))


def say(gateway, credential: str, message: str, conversation: str | None = None) -> dict:
    body = {"message": message, "conversationId": conversation}
    answered = call(gateway, "POST", CHAT, credential, body)
    assert answered.status == 200
    return answered.json()


def pages(gateway, credential: str, limit: int) -> list[list[str]]:
    """The ids of all conversations, page by page."""
    found, cursor = [], ""
    while True:
        path = f"{CONVERSATIONS}?limit={limit}{cursor}"
        body = call(gateway, "GET", path, credential).json()
        assert set(body) == {"data", "nextCursor"}
        found.append([row["id"] for row in body["data"]])
        if body["nextCursor"] is None:
            return found
        cursor = f"&cursor={body['nextCursor']}"


def test_conversations_are_listed_newest_first_page_by_page(gateway, ada):
    made = [say(gateway, ada, f"message {number}")["conversationId"] for number in range(7)]
    newest = made[::-1]
    assert pages(gateway, ada, 3) == [newest[0:3], newest[3:6], newest[6:7]]
    assert pages(gateway, ada, 7) == [newest]
    assert pages(gateway, ada, 999_999) == [newest]

    say(gateway, ada, "one more thing", made[0])
    assert pages(gateway, ada, 7) == [[made[0], *newest[:-1]]]
    first = call(gateway, "GET", f"{CONVERSATIONS}?limit=1", ada).json()["data"][0]
    assert first["messageCount"] == 4


def test_a_conversation_is_read_in_order_as_it_was_said(gateway, ada):
    begun = say(gateway, ada, "Zażółć <b>gęślą</b> jaźń 👩‍👩‍👧")
    say(gateway, ada, "My SSN is 536-90-4399.\nAnd?", begun["conversationId"])
    answered = call(gateway, "GET", f"{CONVERSATIONS}/{begun['conversationId']}", ada)
    read = answered.json()
    assert read["id"] == begun["conversationId"]
    told = [(message["role"], message["content"]) for message in read["messages"]]
    assert told[0] == ("user", "Zażółć gęślą jaźń 👩‍👩‍👧")
    assert told[1] == ("assistant", begun["response"])
    assert [role for role, _ in told] == ["user", "assistant"] * 2
    assert "536-90-4399" not in answered.body.decode()
    assert len({uuid.UUID(message["id"]) for message in read["messages"]}) == 4


def test_a_key_and_a_token_of_one_person_see_the_same(gateway, ada):
    key = call(gateway, "POST", KEYS, ada, {"name": "mine"}).json()["apiKey"]
    made = say(gateway, key, "by key")["conversationId"]
    assert pages(gateway, ada, 100) == pages(gateway, key, 100)
    assert say(gateway, ada, "by token", made)["conversationId"] == made


def test_somebody_elses_looks_like_one_that_is_not_there(gateway, ada, bob):
    hers = say(gateway, ada, "private")["conversationId"]
    for identifier in (hers, str(uuid.uuid4())):
        path = f"{CONVERSATIONS}/{identifier}"
        bodies = []
        for method in ("GET", "DELETE"):
            bodies.append(check_problem(call(gateway, method, path, bob), 404, native=True))
        body = {"message": "and then?", "conversationId": identifier}
        bodies.append(check_problem(call(gateway, "POST", CHAT, bob, body), 404, native=True))
        assert len({(body["error"], body["rule"]) for body in bodies}) == 1
    assert hers not in [one for page in pages(gateway, bob, 100) for one in page]
    assert call(gateway, "GET", f"{CONVERSATIONS}/{hers}", ada).status == 200


def test_deleted_is_gone(gateway, ada):
    made = say(gateway, ada, "soon forgotten")["conversationId"]
    path = f"{CONVERSATIONS}/{made}"
    answered = call(gateway, "DELETE", path, ada)
    assert (answered.status, answered.body) == (204, b"")
    assert answered.headers["x-request-id"]
    for method in ("GET", "DELETE"):
        check_problem(call(gateway, method, path, ada), 404, native=True)
    body = {"message": "still there?", "conversationId": made}
    check_problem(call(gateway, "POST", CHAT, ada, body), 404, native=True)
    assert made not in [one for page in pages(gateway, ada, 100) for one in page]


@pytest.mark.parametrize("identifier", MALFORMED)
def test_a_malformed_id_is_400(gateway, ada, identifier):
    for path in (CONVERSATIONS, KEYS):
        answered = call(gateway, "DELETE", f"{path}/{identifier}", ada)
        check_problem(answered, 400, native=True)
    check_problem(call(gateway, "GET", f"{CONVERSATIONS}/{identifier}", ada), 400, native=True)
    body = {"message": "hi", "conversationId": identifier}
    check_problem(call(gateway, "POST", CHAT, ada, body), 400, native=True)


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=-1", "limit=x", "limit=1.5", "limit=", "limit=%D9%A3", "cursor=x",
     "cursor=", "cursor=%00", "cursor=" + "A" * 28, "cursor=%C3%BC", "limit=1&limit=2",
     "limit=%ff"],
)  # fmt: skip
def test_a_wrong_page_is_400(gateway, ada, query):
    answered = call(gateway, "GET", f"{CONVERSATIONS}?{query}", ada)
    check_problem(answered, 400, native=True)


def test_what_the_policy_refuses_is_in_no_conversation(gateway, bob):
    before = pages(gateway, bob, 100)
    made = say(gateway, bob, "fine")["conversationId"]
    body = {"message": "'; DROP TABLE users; --"}
    check_problem(call(gateway, "POST", CHAT, bob, body), 400, native=True)
    again = {**body, "conversationId": made}
    check_problem(call(gateway, "POST", CHAT, bob, again), 400, native=True)
    assert sum(map(len, pages(gateway, bob, 100))) == sum(map(len, before)) + 1
    read = call(gateway, "GET", f"{CONVERSATIONS}/{made}", bob).json()
    assert len(read["messages"]) == 2


def rows(gateway, credential: str) -> dict[str, dict]:
    listed = call(gateway, "GET", KEYS, credential).json()["data"]
    return {row["keyId"]: row for row in listed}


def test_a_key_is_made_used_listed_and_revoked(gateway, bob):
    body = {"name": "ci – büild", "permissions": ["ai.chat.use"], "expiresIn": 3_600}
    answered = call(gateway, "POST", KEYS, bob, body)
    assert answered.status == 201
    made = answered.json()
    assert set(made) == {"apiKey", "keyId", "permissions"}
    assert made["permissions"] == ["ai.chat.use"]
    row = rows(gateway, bob)[made["keyId"]]
    assert (row["name"], row["permissions"]) == ("ci – büild", ["ai.chat.use"])
    assert (row["state"], row["lastUsed"]) == ("active", None)
    assert made["apiKey"][16:] not in call(gateway, "GET", KEYS, bob).body.decode()

    assert call(gateway, "GET", "/v1/models", made["apiKey"]).status == 200
    path = f"{KEYS}/{made['keyId']}"
    assert call(gateway, "DELETE", path, bob).status == 204
    check_problem(call(gateway, "GET", "/v1/models", made["apiKey"]), 401)
    assert rows(gateway, bob)[made["keyId"]]["state"] == "revoked"
    assert call(gateway, "DELETE", path, bob).status == 204


def test_a_key_never_exceeds_its_maker(gateway, ada, bob):
    for wanted in (["ai.models.deploy"], ["ai.chat.use", "users.manage"]):
        body = {"name": "more", "permissions": wanted}
        check_problem(call(gateway, "POST", KEYS, ada, body), 403, native=True)
    narrow = call(gateway, "POST", KEYS, bob, {"name": "n", "permissions": ["ai.chat.use"]}).json()
    body = {"name": "wider", "permissions": ["ai.models.deploy"]}
    check_problem(call(gateway, "POST", KEYS, narrow["apiKey"], body), 403, native=True)
    assert "wider" not in [row["name"] for row in rows(gateway, bob).values()]


def test_a_key_without_a_permission_for_the_route_is_403(gateway, bob):
    body = {"name": "d", "permissions": ["ai.models.deploy"]}
    deploy = call(gateway, "POST", KEYS, bob, body).json()["apiKey"]
    check_problem(call(gateway, "GET", "/v1/models", deploy), 403)
    check_problem(call(gateway, "POST", CHAT, deploy, {"message": "hi"}), 403, native=True)
    check_problem(call(gateway, "POST", "/v1/chat/completions", deploy, chat()), 403)
    check_problem(call(gateway, "GET", CONVERSATIONS, deploy), 403, native=True)
    assert call(gateway, "GET", KEYS, deploy).status == 200


def test_nobody_sees_or_revokes_somebody_elses_key(gateway, ada, bob):
    made = call(gateway, "POST", KEYS, bob, {"name": "bobs"}).json()
    assert made["keyId"] not in rows(gateway, ada)
    for identifier in (made["keyId"], str(uuid.uuid4())):
        check_problem(call(gateway, "DELETE", f"{KEYS}/{identifier}", ada), 404, native=True)
    assert call(gateway, "GET", "/v1/models", made["apiKey"]).status == 200


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "name"),
        ({"name": ""}, "name"),
        ({"name": " "}, "name"),
        ({"name": "x" * 201}, "name"),
        ({"name": 1}, "name"),
        ({"name": "x", "permissions": ["everything"]}, "permissions"),
        ({"name": "x", "permissions": "ai.chat.use"}, "permissions"),
        ({"name": "x", "expiresIn": 0}, "expiresIn"),
        ({"name": "x", "expiresIn": -5}, "expiresIn"),
        ({"name": "x", "expiresIn": 1.5}, "expiresIn"),
        ({"name": "x", "expiresIn": 10**30}, "expiresIn"),
        ({"name": "x", "owner": "somebody"}, "body"),
        ([], "body"),
    ],
)
def test_a_wrong_wish_for_a_key_is_400_and_names_the_field(gateway, bob, body, field):
    before = len(rows(gateway, bob))
    problem = check_problem(call(gateway, "POST", KEYS, bob, body), 400, native=True)
    assert [detail["field"] for detail in problem["details"]] == [field]
    assert len(rows(gateway, bob)) == before


def test_a_key_that_was_used_says_when(gateway, tmp_path):
    """Last use is written in batches and at an orderly stop."""
    with Gateway(tmp_path / "home") as one:
        key = one.key
        assert call(one, "GET", "/v1/models", key).status == 200
        one.stop()
        one.start()
        used = [row["lastUsed"] for row in rows(one, key).values()]
    assert len(used) == 1
    assert used[0].endswith("Z")
