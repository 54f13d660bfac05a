"""A gateway before Azure: real HTTP, real tokens of azure-identity, and nothing that leaks."""

from __future__ import annotations

import json
import re
import time
from typing import Any

import pytest
from aiohttp import web

from tests.simulator.client import bearer, chat, check_problem, send
from tests.simulator.gateway import Gateway
from tests.simulator.upstream import Upstream, completion

PATH = "/v1/chat/completions"
PRIVATE = "provider-private-detail"
IDENTITY_SECRET = "identity-header-secret"
GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
OUTBOUND = {
    *("host", "content-type", "content-length", "accept", "accept-encoding"),
    *("user-agent", "traceparent"),
}


class Azure:
    """The resource and the managed identity's endpoint, in one server on loopback."""

    def __init__(self, upstream: Upstream) -> None:
        self.upstream = upstream
        self.root = upstream.url.removesuffix("/v1")
        self.queries: list[str] = []
        self.asked: list[web.Request] = []
        self.issued = 0
        self.lifetime = 86_400
        self.rejected: set[str] = set()
        self.challenge = "Bearer"
        self.forget()

    def forget(self) -> None:
        self.queries.clear()
        self.asked.clear()
        self.upstream.received.clear()
        self.rejected.clear()
        self.upstream.behave(self.serve)

    async def serve(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        if request.path == "/identity":
            return self.issue(request)
        self.queries.append(request.query_string)
        if request.headers.get("Authorization") in self.rejected:
            error = {"error": {"message": PRIVATE, "code": "401"}}
            return web.json_response(error, status=401, headers={"WWW-Authenticate": "Bearer"})
        return web.json_response(completion("Hello from Azure."))

    def issue(self, request: web.Request) -> web.Response:
        self.asked.append(request)
        if "unknown" in request.query["resource"]:
            return web.json_response({"error": "invalid_resource"}, status=400)
        self.issued += 1
        return web.json_response(
            {
                "access_token": f"token-of-entra-{self.issued}",
                "expires_on": str(int(time.time()) + self.lifetime),
                "resource": request.query["resource"],
                "token_type": "Bearer",
            }
        )

    @property
    def models(self) -> list[Any]:
        """What the resource was sent, without the questions for tokens."""
        return [one for one in self.upstream.received if one.path != "/identity"]


@pytest.fixture(scope="module")
def azure():
    with Upstream() as running:
        yield Azure(running)


@pytest.fixture(scope="module")
def gateway(azure, tmp_path_factory):
    variables = {
        "IDENTITY_ENDPOINT": f"{azure.root}/identity",
        "IDENTITY_HEADER": IDENTITY_SECRET,
    }
    kinds: dict[str, dict[str, str]] = {
        "key": {"API_KEY": "azure-secret-key"},
        "dated": {"API_KEY": "azure-secret-key", "API_VERSION": "2024-10-21"},
        "told": {"API_KEY": "azure-secret-key", "USER_SECURITY_CONTEXT": "true"},
        "entra": {"AUTH": "entra"},
        "stranger": {"AUTH": "entra", "SCOPE": "https://unknown.example/.default"},
        "openai": {"KIND": "openai", "AUTH": "entra", "BASE_URL": f"{azure.root}/openai/v1"},
    }
    for name, more in kinds.items():
        for key, value in {"KIND": "azure", "BASE_URL": azure.root, **more}.items():
            variables[f"OSTIARY_PROVIDERS__{name.upper()}__{key}"] = value
        variables[f"OSTIARY_MODELS__{name.upper()}__PROVIDER"] = name
    variables["OSTIARY_MODELS__DATED__UPSTREAM_NAME"] = "my deployment"
    home = tmp_path_factory.mktemp("azure") / "home"
    with Gateway(home, variables) as running:
        yield running


@pytest.fixture(autouse=True)
def forget(azure):
    azure.forget()


def ask(gateway, model: str, headers: Any = (), key: str = "", **more: Any):
    sent = [*bearer(key or gateway.key).items(), *headers]
    return send(gateway.url, "POST", PATH, {**chat(), "model": model, **more}, sent)


def test_the_v1_surface_is_asked_with_the_key(gateway, azure):
    assert ask(gateway, "key").status == 200
    [received] = azure.models
    assert (received.path, azure.queries) == ("/openai/v1/chat/completions", [""])
    assert received.headers["api-key"] == "azure-secret-key"
    assert "Authorization" not in received.headers
    assert received.body["model"] == "key"


def test_the_dated_surface_names_the_deployment(gateway, azure):
    assert ask(gateway, "dated").status == 200
    [received] = azure.models
    assert received.path == "/openai/deployments/my deployment/chat/completions"
    assert azure.queries == ["api-version=2024-10-21"]


@pytest.mark.parametrize("model", ["key", "entra"])
def test_no_header_of_the_caller_passes(gateway, azure, model):
    forged = {
        "x-policy-id": "weak-policy",
        "x-ms-client-request-id": "forged",
        "x-ms-user-agent": "forged",
        "openai-beta": "assistants=v2",
        "OpenAI-Organization": "forged",
        "Foundry-Features": "forged",
        "aoai-evals": "preview",
        "extra-parameters": "pass-through",
        "x-stainless-lang": "forged",
        "x-forwarded-for": "192.0.2.1",
        "x-forwarded-host": "forged",
        "Forwarded": "for=192.0.2.1",
        "Cookie": "session=forged",
        "api-key": gateway.key,
        "x-api-key": gateway.key,
        "Ocp-Apim-Subscription-Key": "forged",
        "Proxy-Authorization": "Basic Zm9yZ2Vk",
        "tracestate": "forged=1",
        "baggage": "forged=1",
    }
    assert ask(gateway, model, forged.items()).status == 200
    [received] = azure.models
    names = {name.lower() for name in received.headers}
    assert names == OUTBOUND | {"api-key" if model == "key" else "authorization"}
    assert gateway.key not in str(received.headers)
    assert "forged" not in str(received.headers)


def test_a_caller_cannot_forge_who_asks(gateway, azure):
    forged = {"end_user_id": "somebody", "source_ip": "192.0.2.9"}
    assert ask(gateway, "key", user_security_context=forged).status == 200
    token = gateway.token("ann")
    assert ask(gateway, "told", key=token, user_security_context=forged).status == 200
    assert ask(gateway, "told", user_security_context=forged).status == 200
    off, by_token, by_key = (received.body for received in azure.models)
    assert "user_security_context" not in off
    told = by_token["user_security_context"]
    assert set(told) == {"end_user_id", "end_user_tenant_id", "source_ip", "application_name"}
    assert GUID.fullmatch(told["end_user_id"])
    assert GUID.fullmatch(told["end_user_tenant_id"])
    assert told["source_ip"] == "127.0.0.1"
    assert by_key["user_security_context"] == {"source_ip": "127.0.0.1"}


@pytest.mark.parametrize("model", ["entra", "openai"])
def test_a_token_of_the_managed_identity_is_sent(gateway, azure, model):
    for _ in range(3):
        assert ask(gateway, model).status == 200
    sent = {received.headers["Authorization"] for received in azure.models}
    assert len(sent) == 1
    assert re.fullmatch(r"Bearer token-of-entra-[0-9]+", sent.pop())
    assert {received.path for received in azure.models} == {"/openai/v1/chat/completions"}
    assert all("api-key" not in received.headers for received in azure.models)
    for request in azure.asked:
        assert request.headers["X-IDENTITY-HEADER"] == IDENTITY_SECRET
        assert request.query["resource"] == "https://cognitiveservices.azure.com"
    assert len(azure.asked) <= 1


def test_a_rejected_token_is_replaced_once(gateway, azure):
    assert ask(gateway, "entra").status == 200
    rejected = azure.models[0].headers["Authorization"]
    azure.forget()
    azure.rejected = {rejected}
    assert ask(gateway, "entra").status == 200
    first, second = (received.headers["Authorization"] for received in azure.models)
    assert first == rejected
    assert second != rejected
    azure.rejected |= {second}
    answered = ask(gateway, "entra")
    assert check_problem(answered, 502)["rule"] == "provider-status"
    assert PRIVATE not in answered.body.decode()


def test_without_a_token_nothing_is_sent(gateway, azure):
    problem = check_problem(ask(gateway, "stranger"), 503)
    assert (problem["layer"], problem["rule"]) == ("forward", "provider-token")
    assert azure.models == []


def test_azures_filter_is_told_apart_from_ours(gateway, azure):
    error = {
        "message": PRIVATE,
        "type": None,
        "param": "prompt",
        "code": "content_filter",
        "status": 400,
        "innererror": {
            "code": "ResponsibleAIPolicyViolation",
            "content_filter_result": {"hate": {"filtered": True, "severity": "high"}},
        },
    }

    async def filtered(request: web.Request, _: dict[str, Any]) -> web.Response:
        return web.json_response({"error": error}, status=400)

    azure.upstream.behave(filtered)
    answered = ask(gateway, "key")
    problem = check_problem(answered, 400)
    assert (problem["layer"], problem["rule"]) == ("forward", "provider-content-filter")
    assert problem["error"]["code"] == "content_filter"
    assert PRIVATE not in answered.body.decode()


def test_a_cut_by_azures_filter_passes_as_it_is(gateway, azure):
    async def cut(request: web.Request, _: dict[str, Any]) -> web.Response:
        answer = completion("Once upon")
        answer["choices"][0]["finish_reason"] = "content_filter"
        return web.json_response(answer)

    azure.upstream.behave(cut)
    answered = ask(gateway, "key")
    assert answered.status == 200
    assert answered.json()["choices"][0]["finish_reason"] == "content_filter"


def test_no_credential_is_in_logs_or_records(gateway):
    told = gateway.log + json.dumps(gateway.records())
    for secret in ("token-of-entra", "azure-secret-key", IDENTITY_SECRET):
        assert secret not in told
