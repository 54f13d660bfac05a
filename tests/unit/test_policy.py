"""One action for each profile and kind."""

from __future__ import annotations

import pytest

from ostiary import policy
from ostiary.assemble import detectors
from ostiary.exchange import Action, Face

BUILT = detectors()
PERSONAL = [d.kind for d in BUILT if d.personal]
ACTIVE = [d.kind for d in BUILT if not d.personal]


def test_there_is_something_to_decide_about() -> None:
    assert PERSONAL
    assert ACTIVE


def test_by_default_personal_data_is_redacted_and_active_content_blocked_on_chat_alone() -> None:
    built = policy.build(BUILT, {}, observe_only=False)
    native, openai = built.requests[Face.NATIVE], built.requests[Face.OPENAI]
    for kind in PERSONAL:
        assert native[kind] is openai[kind] is built.answers[kind] is Action.REDACT
    for kind in ACTIVE:
        assert native[kind] is Action.BLOCK
        assert openai[kind] is built.answers[kind] is Action.OBSERVE


@pytest.mark.parametrize("kind", PERSONAL + ACTIVE)
@pytest.mark.parametrize("action", [Action.OBSERVE, Action.MASK, Action.REDACT, Action.BLOCK])
def test_a_configured_action_counts_everywhere(kind: str, action: Action) -> None:
    built = policy.build(BUILT, {kind: action}, observe_only=False)
    assert built.answers[kind] is action
    assert all(table[kind] is action for table in built.requests.values())


def test_what_is_off_is_not_asked() -> None:
    built = policy.build(BUILT, {"email_address": Action.OFF}, observe_only=False)
    assert "email_address" not in {d.kind for d in built.detectors}
    assert "email_address" not in built.answers


def test_observing_blocks_and_alters_nothing_and_keeps_off_what_is_off() -> None:
    chosen = {"us_ssn": Action.BLOCK, "email_address": Action.OFF}
    built = policy.build(BUILT, chosen, observe_only=True)
    assert built.observes
    for table in (*built.requests.values(), built.answers):
        assert set(table.values()) == {Action.OBSERVE}
        assert "email_address" not in table
