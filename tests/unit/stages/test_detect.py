"""Every string and every field name is judged; one place decides."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import pytest

from ostiary import policy
from ostiary.assemble import detectors
from ostiary.errors import MalformedRequest, PolicyViolation, Refusal, TooLarge
from ostiary.exchange import (
    Action,
    Admitted,
    Checked,
    Face,
    Funded,
    Identified,
    Permitted,
    Principal,
    Route,
    Screened,
    Trace,
)
from ostiary.policy import Policy
from ostiary.stages.check import Rules, Turn, check, with_history
from ostiary.stages.detect import detect, without_markup

ATTACK = "'; DROP TABLE users; --"
EMAIL = "ann@example.com"


@cache
def policed(*kinds: tuple[str, Action], observe: bool = False) -> Policy:
    return policy.build(detectors(), dict(kinds), observe_only=observe)


def checked(face: Face, body: Any, opaque: str = "refuse") -> Checked:
    route = Route("POST", "/x", "chat", face, converses=True)
    admitted = Admitted("r", 0.0, route, Trace("1" * 32), {}, {}, {}, "", body)
    principal = Principal("ann", "key", False, ("User",), None, None)
    funded = Funded(Permitted(Identified(admitted, principal), frozenset()), ())
    return check(funded, Rules(("gpt-4o",), opaque))


def judged(request: Checked, by: Policy | None = None) -> Screened:
    with ThreadPoolExecutor(1) as threads:
        return asyncio.run(detect(request, by or policed(), threads))


def native(message: str, by: Policy | None = None) -> Screened:
    return judged(checked(Face.NATIVE, {"message": message}), by)


def openai(by: Policy | None = None, **more: Any) -> Screened:
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}], **more}
    return judged(checked(Face.OPENAI, body), by)


def refusal_of(message: str, by: Policy | None = None) -> Refusal:
    with pytest.raises(Refusal) as caught:
        native(message, by)
    return caught.value


@pytest.mark.parametrize(
    "message",
    [ATTACK, "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "../../etc/passwd"],
)
def test_active_content_is_refused_on_chat_without_being_quoted(message: str) -> None:
    refusal = refusal_of(message)
    assert isinstance(refusal, PolicyViolation)
    assert "malicious content" in refusal.message
    assert message not in refusal.message


def test_a_refusal_names_what_blocked_and_its_record_all_that_was_found() -> None:
    refusal = refusal_of(f"{ATTACK} {EMAIL}")
    assert "email_address" not in refusal.message
    assert refusal.findings == ("email_address", "sql_injection")


def test_blocked_personal_data_is_not_called_malicious() -> None:
    refusal = refusal_of(EMAIL, policed(("email_address", Action.BLOCK)))
    assert "personal data" in refusal.message


@pytest.mark.parametrize("message", ["<b>bold</b>", "a < b && c > d", "5 &lt; 6 &amp; 7", "1 <2"])
def test_markup_is_taken_out_and_the_rest_left_as_it_is(message: str) -> None:
    kept = native(message).message
    assert kept == message.replace("<b>", "").replace("</b>", "")


def test_a_tag_cannot_split_a_value_or_hide_a_script() -> None:
    assert EMAIL not in native("ann@<b></b>example.com").message
    assert "[REDACTED]" in native("ann@<b></b>example.com").message
    assert refusal_of("<b><scr<b></b>ipt>alert(1)</script></b>").status == 400
    assert without_markup("x<!-- hidden -->y<style>z</style>") == "xy"


def test_quoting_an_attack_is_no_attack_for_developers() -> None:
    screened = openai(messages=[{"role": "user", "content": ATTACK}])
    assert screened.body["messages"][0]["content"] == ATTACK
    assert screened.findings == {"sql_injection": 1}
    assert screened.warned == ()


TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "f",
            "description": f"mail {EMAIL}",
            "parameters": {
                "type": "object",
                "properties": {
                    f"to {EMAIL}": {"enum": [EMAIL], "default": {"deep": [[EMAIL]]}},
                },
            },
        },
    }
]


@pytest.mark.parametrize(
    "more",
    [
        {"tools": TOOLS},
        {"messages": [{"role": "system", "content": EMAIL}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": EMAIL}]}]},
        {"messages": [{"role": "user", "content": "x", "name": EMAIL}]},
        {
            "messages": [
                {
                    "role": "assistant",
                    "tool_calls": [
                        {
                            "id": "1",
                            "type": "function",
                            "function": {"name": "f", "arguments": EMAIL},
                        }
                    ],
                }
            ]
        },
        {"messages": [{"role": "tool", "content": EMAIL, "tool_call_id": "1"}]},
        {"metadata": {"a": {"b": [{"c": EMAIL}]}}},
        {"metadata": {EMAIL: 1}},
        {EMAIL: True},
        {"user": EMAIL},
        {"stop": [EMAIL]},
        {"stream_options": {"x": EMAIL}},
        {"future": [[[[EMAIL]]]]},
    ],
)
def test_no_string_reaches_the_model_uninspected(more: Mapping[str, Any]) -> None:
    screened = openai(**more)
    assert EMAIL not in json.dumps(screened.body)
    assert screened.findings["email_address"] >= 1
    assert screened.warned == ("email_address",)


def test_names_that_would_become_one_are_refused() -> None:
    with pytest.raises(MalformedRequest) as caught:
        openai(metadata={EMAIL: 1, "bob@example.org": 2})
    assert caught.value.rule == "field-names"


def test_the_request_itself_is_never_altered() -> None:
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": EMAIL}]}
    judged(checked(Face.OPENAI, body))
    assert body["messages"][0]["content"] == EMAIL


@pytest.mark.parametrize(
    ("action", "sees", "warned"),
    [
        (Action.REDACT, "[REDACTED]", True),
        (Action.MASK, "a**@*******.***", True),
        (Action.OBSERVE, EMAIL, False),
    ],
)
def test_a_configured_action_is_what_happens(action: Action, sees: str, warned: bool) -> None:
    screened = native(f"Write {EMAIL} now", policed(("email_address", action)))
    assert screened.message == f"Write {sees} now"
    assert screened.body["messages"][-1]["content"] == screened.message
    assert bool(screened.warned) is warned
    assert screened.findings == {"email_address": 1}


def test_what_is_off_is_not_found() -> None:
    assert native(EMAIL, policed(("email_address", Action.OFF))).findings == {}


def test_observing_alters_nothing_not_even_markup() -> None:
    message = f"<script>alert(1)</script> {ATTACK} {EMAIL}"
    screened = native(message, policed(observe=True))
    assert screened.message == message
    assert set(screened.findings) == {"cross_site_scripting", "sql_injection", "email_address"}
    assert screened.warned == ()


def test_earlier_turns_are_redacted_and_never_lock_a_conversation() -> None:
    request = checked(Face.NATIVE, {"message": "And now?"})
    grown = with_history(request, [Turn("user", f"{ATTACK} {EMAIL}"), Turn("assistant", ATTACK)])
    screened = judged(grown)
    first, second, last = (m["content"] for m in screened.body["messages"])
    assert first == f"{ATTACK} [REDACTED]"
    assert (second, last) == (ATTACK, "And now?")
    assert screened.findings == {}


def test_long_texts_are_judged_too_and_too_long_ones_refused() -> None:
    long = "word " * 10_000 + EMAIL
    body = openai(messages=[{"role": "user", "content": long}]).body
    assert EMAIL not in body["messages"][0]["content"]
    with pytest.raises(TooLarge):
        openai(messages=[{"role": "user", "content": "x" * (2 * 1024 * 1024 + 1)}])
