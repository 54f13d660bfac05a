"""A refusal as every client reads it."""

from __future__ import annotations

import asyncio

import pytest

from ostiary.edge import problem
from ostiary.errors import MalformedRequest, TooManyRequests, Unauthenticated
from ostiary.exchange import Face
from ostiary.pipeline import Refused

REFUSAL = MalformedRequest(
    "Validation failed",
    layer="check",
    rule="fields",
    param="message",
    details=[{"field": "message", "message": "must not be blank"}],
)


def test_openai_clients_find_their_error_object_first() -> None:
    body = problem.body(REFUSAL, "r-1", Face.OPENAI)
    assert next(iter(body)) == "error"
    assert body["error"] == {
        "message": "Validation failed",
        "type": "invalid_request_error",
        "code": "invalid_request",
        "param": "message",
    }
    assert "details" not in body


@pytest.mark.parametrize("face", list(Face))
def test_the_members_of_rfc_9457_stand_beside_it(face: Face) -> None:
    body = problem.body(REFUSAL, "r-1", face)
    assert {k: body[k] for k in ("title", "status", "detail", "requestId", "layer", "rule")} == {
        "title": "Bad request",
        "status": 400,
        "detail": "Validation failed",
        "requestId": "r-1",
        "layer": "check",
        "rule": "fields",
    }
    assert body["type"].endswith("check:fields")


def test_the_native_error_is_a_sentence_with_its_details() -> None:
    body = problem.body(REFUSAL, "r-1", Face.NATIVE)
    assert body["error"] == "Validation failed"
    assert body["details"] == [{"field": "message", "message": "must not be blank"}]


def test_a_401_always_carries_a_challenge() -> None:
    bare = Unauthenticated("No.", layer="authn", rule="x")
    assert problem.headers(bare)["WWW-Authenticate"].startswith("Bearer")
    own = Unauthenticated("No.", layer="authn", rule="x", headers={"WWW-Authenticate": "Bearer a"})
    assert problem.headers(own)["WWW-Authenticate"] == "Bearer a"


@pytest.mark.parametrize(("seconds", "header"), [(0.01, "1"), (1.2, "2"), (60, "60")])
def test_retry_after_is_whole_seconds_and_never_too_early(seconds: float, header: str) -> None:
    refusal = TooManyRequests("Later.", layer="budget", rule="rpm", retry_after=seconds)
    assert problem.headers(refusal)["Retry-After"] == header


def test_a_fault_while_answering_becomes_a_bare_500() -> None:
    refused: list[Refused] = []

    async def faulty() -> None:
        raise ZeroDivisionError("a private cause")

    async def refuse(one: Refused) -> None:
        refused.append(one)

    asyncio.run(problem.guarded(faulty(), refuse))
    body = problem.body(refused[0].refusal, "r", Face.OPENAI)
    assert body["status"] == 500
    assert "private" not in str(body)
