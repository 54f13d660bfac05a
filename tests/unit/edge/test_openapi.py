"""The document says what the route table does."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from ostiary.edge.openapi import document
from ostiary.edge.routes import ROUTES

DOCUMENT = document(ROUTES, ["gpt-4o"], "1.2.3")
PROTECTED = [route for route in ROUTES if not route.public]


def described(route: Any) -> dict[str, Any]:
    return DOCUMENT["paths"][route.path][route.method.lower()]


def references(tree: Any) -> Iterator[str]:
    if isinstance(tree, dict):
        if isinstance(tree.get("$ref"), str):
            yield tree["$ref"]
        for value in tree.values():
            yield from references(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from references(value)


def test_it_is_openapi_3_1_of_exactly_these_routes() -> None:
    assert DOCUMENT["openapi"].startswith("3.1")
    rows = {(m.upper(), p) for p, item in DOCUMENT["paths"].items() for m in item}
    assert rows == {(route.method, route.path) for route in ROUTES}


def test_every_operation_has_a_name_of_its_own() -> None:
    names = [described(route)["operationId"] for route in ROUTES]
    assert len(set(names)) == len(names)


def test_every_reference_leads_somewhere() -> None:
    for reference in set(references(DOCUMENT)):
        node: Any = DOCUMENT
        for step in reference.removeprefix("#/").split("/"):
            node = node[step]
        assert node


@pytest.mark.parametrize("route", PROTECTED, ids=lambda r: f"{r.method} {r.path}")
def test_every_protected_route_says_how_it_refuses(route: Any) -> None:
    responses = described(route)["responses"]
    for status in ("401", "403", "429", "503"):
        assert "application/problem+json" in responses[status]["content"]
    assert len(described(route)["security"]) == 3
    assert described(route).get("x-permission") == (route.permission and route.permission.value)


def test_there_are_three_ways_to_send_a_credential() -> None:
    assert len(DOCUMENT["components"]["securitySchemes"]) == 3


def test_every_parameter_of_a_path_is_described() -> None:
    for route in ROUTES:
        named = {p["name"] for p in described(route)["parameters"] if p["in"] == "path"}
        assert named == set(re.findall(r"\{(\w+)\}", route.path))
