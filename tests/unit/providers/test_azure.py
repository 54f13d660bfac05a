"""What is Azure's own: where it is asked, where the credential goes, who it is told asks."""

from __future__ import annotations

from typing import Any

import pytest

from ostiary.exchange import Call, Caller, Dialect, Subject
from ostiary.providers import azure
from ostiary.upstream.credentials import Key

RESOURCE = "https://name.openai.azure.com"


def service(**more: Any) -> Any:
    base = more.pop("base_url", RESOURCE)
    return azure.build("main", azure.Options(base, Key(lambda: "k"), **more))._service


def call(dialect: Dialect = Dialect.CHAT, **more: Any) -> Call:
    return Call("r", "my gpt/4", {"model": "my gpt/4", **more}, dialect=dialect, caller=ANN)


ANN = Caller(Subject("tenant", "object", "Ann"), "client", "192.0.2.7")


@pytest.mark.parametrize(
    "base",
    [
        RESOURCE,
        f"{RESOURCE}/",
        f"{RESOURCE}/openai/v1",
        f"{RESOURCE}/openai/v1/",
        f"{RESOURCE}/openai",
    ],
)
@pytest.mark.parametrize(
    ("dialect", "v1", "dated"),
    [
        (Dialect.CHAT, "/chat/completions", "/deployments/my%20gpt%2F4/chat/completions"),
        (Dialect.EMBEDDINGS, "/embeddings", "/deployments/my%20gpt%2F4/embeddings"),
        (Dialect.RESPONSES, "/responses", "/responses"),
    ],
)
def test_a_resource_is_asked_by_either_surface(
    base: str, dialect: Dialect, v1: str, dated: str
) -> None:
    assert service(base_url=base).url(call(dialect)) == f"{RESOURCE}/openai/v1{v1}"
    found = service(base_url=base, api_version="2024-10-21").url(call(dialect))
    assert found == f"{RESOURCE}/openai{dated}?api-version=2024-10-21"


def test_a_project_of_foundry_is_a_resource_too() -> None:
    base = "https://name.services.ai.azure.com/api/projects/p"
    assert service(base_url=base).url(call()) == f"{base}/openai/v1/chat/completions"


def test_a_key_goes_in_its_own_header_and_a_token_as_bearer() -> None:
    assert service().authorise("k") == ("api-key", "k")
    assert service(entra=True).authorise("t") == ("Authorization", "Bearer t")


FORGED = {"user_security_context": {"end_user_id": "somebody else"}}


@pytest.mark.parametrize("dialect", list(Dialect))
def test_by_default_nobody_is_named_and_nobody_can_be_forged(dialect: Dialect) -> None:
    assert service().body(call(dialect, **FORGED)) == {"model": "my gpt/4"}


def test_where_it_is_set_the_verified_caller_is_named() -> None:
    found = service(user_security_context=True)
    assert found.body(call(**FORGED))["user_security_context"] == {
        "end_user_id": "object",
        "end_user_tenant_id": "tenant",
        "source_ip": "192.0.2.7",
        "application_name": "client",
    }
    assert "user_security_context" not in found.body(call(Dialect.RESPONSES, **FORGED))
    assert azure.context_of(Caller(address="192.0.2.7")) == {"source_ip": "192.0.2.7"}
    assert "Ann" not in repr(ANN) + repr(call())
