"""One row for each method and path; nothing else matches."""

from __future__ import annotations

import re
import time

import pytest

from ostiary.edge.routes import AZURE, OPENAI, ROUTES, Table, face_of, names_stored_objects
from ostiary.exchange import Face, Permission

TABLE = Table()


def test_every_row_is_found_by_its_own_path() -> None:
    for route in ROUTES:
        names = re.findall(r"\{(\w+)\}", route.path)
        match = TABLE.match(route.method, re.sub(r"\{\w+\}", "some-id", route.path))
        assert match.route is route
        assert match.params == dict.fromkeys(names, "some-id")


@pytest.mark.parametrize(
    "path",
    ["", "/", "/nowhere", "/api/chat/", "//api/chat", "/API/chat", "/api/chat\n", "/api/chat;x",
     "/v1/models/a/b", "/v1/models/", "/v1/models/" + "x" * 257, "/api/../api/chat"],
)  # fmt: skip
def test_other_paths_match_nothing(path: str) -> None:
    match = TABLE.match("GET", path)
    assert match.route is None
    assert match.allowed == ()


@pytest.mark.parametrize("method", ["PUT", "TRACE", "QUERY", "HEAD", "OPTIONS", "get", "CONNECT"])
def test_an_undeclared_method_names_those_that_there_are(method: str) -> None:
    match = TABLE.match(method, "/api/keys")
    assert match.route is None
    assert match.allowed == ("GET", "POST")
    assert TABLE.match(method, "/api/conversations/x").allowed == ("DELETE", "GET")


def test_only_probes_and_the_document_are_public() -> None:
    assert {r.path for r in ROUTES if r.public} == {
        "/livez",
        "/healthz",
        "/readyz",
        "/startupz",
        "/openapi.json",
    }


def test_conversation_and_model_routes_need_the_chat_permission() -> None:
    for route in ROUTES:
        if route in (*OPENAI, *AZURE) or route.path.startswith(("/api/chat", "/api/conv")):
            assert route.permission is Permission.CHAT_USE
        assert route.face is face_of(route.path)
        if route.path.startswith("/api/"):
            native = not route.path.startswith("/api/projects/")
            assert route.face is (Face.NATIVE if native else Face.OPENAI)


def test_every_route_that_posts_bounds_its_body() -> None:
    for route in ROUTES:
        assert bool(route.body_limit) is (route.method == "POST")


def test_two_rows_of_one_path_are_a_mistake() -> None:
    with pytest.raises(ValueError, match="two rows"):
        Table([*ROUTES, ROUTES[0]])


@pytest.mark.parametrize(
    "path",
    ["/v1/responses/r_1", "/v1/responses/r_1/input_items", "/openai/v1/files", "/openai/batches/b",
     "/v1/chat/completions/c", "/api/projects/mine/openai/v1/vector_stores", "/v1/realtime"],
)  # fmt: skip
def test_paths_of_stored_objects_are_known(path: str) -> None:
    assert names_stored_objects(path)


@pytest.mark.parametrize(
    "path",
    ["/v1/responses", "/v1/responses/", "/v1/filesystem", "/api/files", "/v2/files", "/files"],
)
def test_other_paths_are_not_taken_for_stored_objects(path: str) -> None:
    assert not names_stored_objects(path)


@pytest.mark.parametrize("tail", ["/" * 60_000 + "\n", "\n" * 60_000, "/x" * 30_000 + "\r"])
@pytest.mark.parametrize("begin", ["/v1/responses/", "/v1/files", "/api/projects/", "/openai/v1/"])
def test_the_longest_path_costs_nothing(begin: str, tail: str) -> None:
    started = time.process_time()
    TABLE.match("GET", begin + tail)
    names_stored_objects(begin + tail)
    assert time.process_time() - started < 0.05
