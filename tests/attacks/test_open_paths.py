"""What needs no credential: the probes, and the description of everything else."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest

from ostiary.edge.routes import ROUTES
from ostiary.exchange import Face
from tests.simulator.client import bearer, chat, check_problem, send
from tests.simulator.gateway import Gateway


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    with Gateway(tmp_path_factory.mktemp("open") / "home") as running:
        yield running


@pytest.fixture(scope="module")
def document(gateway):
    answered = send(gateway.url, "GET", "/openapi.json")
    assert answered.status == 200
    return answered.json()


PROBES = ["/livez", "/healthz", "/readyz", "/startupz"]


@pytest.mark.parametrize("path", [*PROBES, "/openapi.json"])
def test_it_answers_without_a_credential_and_a_probe_whatever_the_host(gateway, path):
    for host in ("", "10.0.0.7:9000", "kubernetes.probe") if path in PROBES else ("",):
        answered = send(gateway.url, "GET", path, host=host)
        assert answered.status == 200
        assert answered.headers["content-type"] == "application/json"
        assert answered.headers["cache-control"] == "no-store"
        assert answered.headers["x-request-id"]
    assert send(gateway.url, "GET", path, headers=bearer("garbled")).status == 200


def test_readiness_names_the_configuration_by_its_hash(gateway):
    ready = send(gateway.url, "GET", "/readyz").json()
    assert re.fullmatch(r"[0-9a-f]{64}", ready["config"])
    assert {record["config"] for record in gateway.records()} == {ready["config"]}


def test_probes_leave_no_record(gateway):
    before = len(gateway.records())
    for path in ("/livez", "/readyz", "/startupz", "/openapi.json"):
        send(gateway.url, "GET", path)
    assert len(gateway.records()) == before


def references(tree: Any) -> Iterator[str]:
    if isinstance(tree, dict):
        if "$ref" in tree:
            yield tree["$ref"]
        for value in tree.values():
            yield from references(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from references(value)


def test_the_description_is_openapi_31_and_every_reference_leads_somewhere(document):
    assert re.fullmatch(r"3\.1\.\d+", document["openapi"])
    assert document["info"]["title"]
    assert document["info"]["version"]
    found = set(references(document))
    assert found
    for reference in found:
        node = document
        for step in reference.removeprefix("#/").split("/"):
            node = node[step]
    assert len(document["components"]["securitySchemes"]) == 3


def test_the_description_has_every_route_and_no_other(document):
    described = {
        (method.upper(), path) for path, item in document["paths"].items() for method in item
    }
    assert described == {(route.method, route.path) for route in ROUTES}


def test_every_operation_describes_its_answers_and_refusals(document):
    public = {(route.method.lower(), route.path) for route in ROUTES if route.public}
    for path, item in document["paths"].items():
        for method, operation in item.items():
            responses = operation["responses"]
            assert all(re.fullmatch(r"[1-5]\d\d", status) for status in responses)
            assert all(response["description"] for response in responses.values())
            assert any(status.startswith("2") for status in responses)
            named = {p["name"] for p in operation.get("parameters", ()) if p["in"] == "path"}
            assert named == set(re.findall(r"\{(\w+)\}", path))
            if (method, path) in public:
                continue
            for status in ("401", "403", "429", "503"):
                assert "application/problem+json" in responses[status]["content"]


def test_every_schema_is_json_schema(document):
    for schema in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)


def test_live_answers_are_what_the_description_says(gateway, document):
    key = bearer(gateway.key)
    said = send(gateway.url, "POST", "/api/chat", {"message": "a@example.org"}, key)
    identifier = said.json()["conversationId"]
    asked = [
        ("post", "/api/chat", "/api/chat", {"message": "hi"}, key),
        ("post", "/api/chat", "/api/chat", {"message": "write to a@example.org"}, key),
        ("post", "/api/chat", "/api/chat", {"message": ""}, key),
        ("post", "/api/chat", "/api/chat", {"message": "hi"}, {}),
        ("get", "/api/conversations", "/api/conversations", None, key),
        ("get", "/api/conversations/{id}", f"/api/conversations/{identifier}", None, key),
        ("get", "/api/conversations/{id}", "/api/conversations/x", None, key),
        ("post", "/api/keys", "/api/keys", {"name": "k"}, key),
        ("get", "/api/keys", "/api/keys", None, key),
        ("post", "/v1/chat/completions", "/v1/chat/completions", chat(), key),
        ("post", "/v1/chat/completions", "/v1/chat/completions", {}, key),
        ("get", "/v1/models", "/v1/models", None, key),
        ("get", "/v1/models/{id}", "/v1/models/gpt-4o", None, key),
        ("get", "/readyz", "/readyz", None, {}),
    ]
    for method, path, target, body, headers in asked:
        answered = send(gateway.url, method.upper(), target, body, headers)
        described = document["paths"][path][method]["responses"][str(answered.status)]
        kind = answered.headers["content-type"]
        schema = {**described["content"][kind]["schema"], "components": document["components"]}
        jsonschema.validate(answered.json(), schema, cls=jsonschema.Draft202012Validator)


def test_everything_else_needs_a_credential(gateway):
    for route in ROUTES:
        if route.public:
            continue
        path = route.path.replace("{id}", "00000000-0000-4000-8000-000000000000")
        body = json.loads("{}") if route.body_limit else None
        answered = send(gateway.url, route.method, path, body)
        check_problem(answered, 401, native=route.face is Face.NATIVE)
