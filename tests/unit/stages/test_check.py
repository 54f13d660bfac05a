"""A valid request becomes one OpenAI chat request; an invalid one is told why, not quoted."""

from __future__ import annotations

from typing import Any

import pytest

from ostiary.errors import MalformedRequest, NotFound, Refusal
from ostiary.exchange import (
    Admitted,
    Checked,
    Face,
    Funded,
    Identified,
    Permitted,
    Principal,
    Route,
    Trace,
)
from ostiary.stages.check import Rules, Turn, check, with_history

RULES = Rules(("gpt-4o", "gpt-4o-mini"), "refuse")
IMAGE = {"type": "image_url", "image_url": {"url": "https://example.com/x.png"}}


def checked(face: Face, body: Any, rules: Rules = RULES) -> Checked:
    route = Route("POST", "/x", "chat", face, converses=True)
    admitted = Admitted("r", 0.0, route, Trace("1" * 32), {}, {}, {}, "", body)
    principal = Principal("ann", "key", False, ("User",), None, None)
    return check(Funded(Permitted(Identified(admitted, principal), frozenset()), ()), rules)


def refused(face: Face, body: Any, rules: Rules = RULES) -> Refusal:
    with pytest.raises(Refusal) as caught:
        checked(face, body, rules)
    return caught.value


def asking(**more: Any) -> dict[str, Any]:
    return {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}], **more}


def test_a_native_request_becomes_a_chat_request() -> None:
    body = {"message": "Hi", "temperature": 1, "maxTokens": 9, "stream": True}
    result = checked(Face.NATIVE, body)
    assert result.body == {
        "model": "gpt-4o",
        "messages": [{"role": "user", "content": "Hi"}],
        "temperature": 1,
        "max_tokens": 9,
    }
    assert (result.stream, result.max_tokens, result.message) == (True, 9, "Hi")


def test_a_chat_that_names_no_model_gets_the_seeds_or_the_first() -> None:
    assert checked(Face.NATIVE, {"message": "Hi"}).model == "gpt-4o"
    assert checked(Face.NATIVE, {"message": "Hi"}, Rules(("own", "b"), "refuse")).model == "own"


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, {"message"}),
        ({"message": ""}, {"message"}),
        ({"message": " \u200b\n"}, {"message"}),
        ({"message": "x" * 8_001}, {"message"}),
        ({"message": "Hi", "temperature": 2.1, "maxTokens": 0}, {"temperature", "maxTokens"}),
        ({"message": "Hi", "model": "secret-model"}, {"model"}),
        ({"message": "Hi", "conversationId": "secret"}, {"conversationId"}),
        ({"message": "Hi", "secret": 1}, {"body"}),
        ([], {"body"}),
        (None, {"body"}),
    ],
)
def test_every_wrong_field_is_named_and_none_quoted(body: Any, fields: set[str]) -> None:
    refusal = refused(Face.NATIVE, body)
    assert isinstance(refusal, MalformedRequest)
    assert {detail["field"] for detail in refusal.details} == fields
    assert "secret" not in refusal.message + str(refusal.details)


def test_a_completion_is_passed_on_as_it_is() -> None:
    body = asking(n=3, max_completion_tokens=7, future_field={"a": ["b"]}, stream=True)
    result = checked(Face.OPENAI, body)
    assert result.body == body
    assert (result.choices, result.max_tokens, result.stream) == (3, 7, True)
    assert result.include_usage is False


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (asking(messages=[]), "messages"),
        (asking(messages="secret"), "messages"),
        (asking(temperature="secret"), "temperature"),
        (asking(messages=[{"role": "secret", "content": "x"}]), "messages[0].role"),
        ("secret", "body"),
    ],
)
def test_a_completion_that_breaks_a_rule_names_the_field(body: Any, param: str) -> None:
    refusal = refused(Face.OPENAI, body)
    assert (refusal.status, refusal.param) == (400, param)
    assert "secret" not in refusal.message


def test_an_unknown_model_is_not_found_and_not_quoted() -> None:
    refusal = refused(Face.OPENAI, asking(model="secret-model"))
    assert isinstance(refusal, NotFound)
    assert refusal.public_code == "model_not_found"
    assert "secret" not in refusal.message


def test_what_cannot_be_inspected_is_refused_or_named() -> None:
    body = asking(messages=[{"role": "user", "content": [IMAGE]}])
    assert refused(Face.OPENAI, body).rule == "opaque"
    result = checked(Face.OPENAI, body, Rules(("gpt-4o",), "record"))
    assert result.opaque == ("messages[0].content[0]:image_url",)


def test_history_stands_before_the_message() -> None:
    result = checked(Face.NATIVE, {"message": "And now?"})
    grown = with_history(result, [Turn("user", "Hi"), Turn("assistant", "Hello")])
    assert [m["content"] for m in grown.body["messages"]] == ["Hi", "Hello", "And now?"]
    assert len(result.body["messages"]) == 1
    assert grown.message == "And now?"


def test_no_text_is_shown() -> None:
    assert "Hi" not in repr(checked(Face.NATIVE, {"message": "Hi"}))
    assert "Hi" not in repr(Turn("user", "Hi"))
