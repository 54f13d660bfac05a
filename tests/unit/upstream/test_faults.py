"""Of what a provider says in an error, only what is on a list reaches the caller."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ostiary.errors import MalformedRequest, ProviderFailed, ProviderFiltered, Refusal
from ostiary.upstream.faults import of_rejection, of_status

PRIVATE = "text of the provider"
REQUEST = {"model": "m", "messages": [], "temperature": 1}


def rejection(body: Any, status: int = 400) -> Refusal:
    raw = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    refusal = of_rejection(status, raw, REQUEST)
    shown = [refusal.message, refusal.public_code, refusal.param, refusal.rule]
    assert PRIVATE not in str(shown)
    return refusal


def error(**members: Any) -> dict[str, Any]:
    return {"error": {"message": PRIVATE, "type": PRIVATE, **members}}


@pytest.mark.parametrize(
    ("members", "code", "param"),
    [
        ({}, "provider_rejected", None),
        ({"code": PRIVATE, "param": PRIVATE}, "provider_rejected", None),
        ({"code": 400, "param": 7}, "provider_rejected", None),
        ({"code": ["invalid_value"]}, "provider_rejected", None),
        ({"code": "unsupported_value", "param": "temperature"}, "unsupported_value", "temperature"),
        ({"code": "invalid_type", "param": "messages[0].content"}, "invalid_type", "messages"),
        ({"code": "invalid_type", "param": "messages.[0]"}, "invalid_type", "messages"),
        ({"code": "invalid_value", "param": f"messages {PRIVATE}"}, "invalid_value", None),
        ({"code": "unknown_parameter", "param": "top_q"}, "unknown_parameter", None),
    ],
)
def test_a_rejection_says_which_member_by_our_own_words(
    members: dict[str, Any], code: str, param: str | None
) -> None:
    refusal = rejection(error(**members))
    assert isinstance(refusal, MalformedRequest)
    assert (refusal.layer, refusal.rule) == ("forward", "provider-rejected")
    assert (refusal.public_code, refusal.param) == (code, param)


def test_an_input_that_is_too_long_is_said_to_be() -> None:
    refusal = rejection(error(code="context_length_exceeded", param="messages"))
    assert refusal.message == "The input is longer than the model takes."
    assert (refusal.public_code, refusal.param) == ("context_length_exceeded", "messages")


@pytest.mark.parametrize("status", [400, 422])
@pytest.mark.parametrize("body", [None, b"", b"<html>", b"[" * 100_000, b"\xff", [PRIVATE], "x"])
def test_what_is_no_error_object_does_not_come_from_a_model(status: int, body: Any) -> None:
    assert isinstance(rejection(body, status), ProviderFailed)


def test_413_says_all_by_itself_and_our_own_faults_stay_ours() -> None:
    assert isinstance(rejection(b"<html>", 413), MalformedRequest)
    assert isinstance(rejection(error(code="model_not_found")), ProviderFailed)
    assert isinstance(of_status(404, None), ProviderFailed)


def test_an_error_beside_which_nothing_stands_is_read_too() -> None:
    found = rejection({"object": "error", "message": PRIVATE, "code": "invalid_value"})
    assert found.public_code == "invalid_value"
    assert rejection({"detail": [{"msg": PRIVATE}]}, 422).public_code == "provider_rejected"


SAID = {
    "hate": {"filtered": True, "severity": "high", "note": PRIVATE},
    "self_harm": {"filtered": False, "severity": PRIVATE},
    "jailbreak": {"filtered": False, "detected": True},
    "violence": PRIVATE,
    "custom_blocklists": {"filtered": True, "details": [{"id": PRIVATE}]},
    "protected_material_code": {"citation": {"URL": PRIVATE}},
    PRIVATE: {"filtered": True},
}
KEPT = {
    "hate": {"filtered": True, "severity": "high"},
    "self_harm": {"filtered": False},
    "jailbreak": {"filtered": False, "detected": True},
    "custom_blocklists": {"filtered": True},
}


@pytest.mark.parametrize("key", ["content_filter_result", "content_filter_results"])
@pytest.mark.parametrize(
    "members",
    [
        {"code": "content_filter", "innererror": {"code": "ResponsibleAIPolicyViolation"}},
        {"code": "content_filter", "innererror": {}},
        {"code": None, "innererror": {"code": "ResponsibleAIPolicyViolation"}},
    ],
)
def test_the_providers_own_filter_is_told_apart(key: str, members: dict[str, Any]) -> None:
    inner = {**members["innererror"], key: SAID}
    refusal = rejection(error(**{**members, "param": "prompt", "innererror": inner}))
    assert isinstance(refusal, ProviderFiltered)
    assert (refusal.status, refusal.kind) == (400, "invalid_request_error")
    assert (refusal.public_code, refusal.rule) == ("content_filter", "provider-content-filter")
    assert refusal.filter_result == KEPT


@pytest.mark.parametrize("inner", [None, PRIVATE, [], {"content_filter_result": PRIVATE}])
def test_a_filter_without_readable_verdicts_is_one_all_the_same(inner: Any) -> None:
    refusal = rejection(error(code="content_filter", innererror=inner))
    assert isinstance(refusal, ProviderFiltered)
    assert refusal.filter_result == {}
