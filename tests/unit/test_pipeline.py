"""Whatever happens to a request: one closing record, tokens given back, the conversation free."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from ostiary.errors import (
    IntegrityError,
    ProviderFailed,
    ProviderSilent,
    Refusal,
    TooManyRequests,
)
from ostiary.exchange import Action, Call, Subject
from ostiary.pipeline import Answer, Done, explain
from ostiary.ports import Stale
from ostiary.rows import AddRecord, AddTurn, DeleteConversation
from tests.unit.doorway import TOKENS, Doorway, doorway, piece, says, whole

SILENT = ProviderSilent("The model was silent.", layer="forward", rule="provider-silence")
FAILED = ProviderFailed("The model failed.", layer="forward", rule="provider-broken")
BUSY = TooManyRequests("At its limit.", layer="forward", rule="provider-429", retry_after=9)


async def silent(_: Call) -> AsyncGenerator[dict[str, Any], None]:
    raise SILENT
    yield


async def busy(_: Call) -> AsyncGenerator[dict[str, Any], None]:
    raise BUSY
    yield


async def buggy(_: Call) -> AsyncGenerator[dict[str, Any], None]:
    raise KeyError("secret text of a bug")
    yield


async def breaks_off(_: Call) -> AsyncGenerator[dict[str, Any], None]:
    yield piece({"role": "assistant", "content": "One two three. " * 60})
    raise FAILED


async def hangs(_: Call) -> AsyncGenerator[dict[str, Any], None]:
    await asyncio.Event().wait()
    yield piece({})


async def hangs_later(_: Call) -> AsyncGenerator[dict[str, Any], None]:
    yield piece({"role": "assistant", "content": "One two three. " * 60})
    await asyncio.Event().wait()


async def speaks_for_ever(_: Call) -> AsyncGenerator[dict[str, Any], None]:
    while True:
        yield piece({"content": "again and again "})
        await asyncio.sleep(0)


async def nothing(_: Call) -> AsyncGenerator[dict[str, Any], None]:
    return
    yield


async def garbage(_: Call) -> AsyncGenerator[dict[str, Any], None]:
    yield {"choices": [{"nonsense": [1, 2, {"x": object}]}]}


async def nests(_: Call) -> AsyncGenerator[dict[str, Any], None]:
    tree: Any = "deep"
    for _step in range(300):
        tree = {"content": tree}
    yield piece({"content": tree}, "stop")


STREAM = says(
    piece({"role": "assistant", "content": "Good "}),
    piece({"content": "morning."}),
    piece({}, "stop"),
    {**piece({}), "choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 5}},
)


def run(test: Any) -> None:
    asyncio.run(test)


async def a_free_conversation(door: Doorway, conversation: str) -> None:
    """The conversation can be taken again, so nothing holds it."""
    thread = await door.keeper.begin(door.person, conversation)
    door.keeper.end(thread)


async def begun(door: Doorway) -> str:
    """A conversation with one turn."""
    script, door.provider.script = door.provider.script, says(whole("Hello."))
    answer = await door.walk(door.chat("Hello"))
    assert isinstance(answer, Answer)
    assert [e async for e in answer.events]
    door.provider.script = script
    assert answer.conversation
    return answer.conversation


def test_a_whole_answer_is_recorded_and_kept_before_it_is_given(tmp_path: Path) -> None:
    async def test() -> None:
        async with doorway(tmp_path) as door:
            arrival = door.chat("Hello")
            answer = await door.walk(arrival)
            record = await door.closing(arrival)
            assert record["event"] == "outcome"
            assert record["tokens"] == {"prompt": 7, "completion": 5}
            assert isinstance(answer, Answer)
            assert len(await door.store.messages(answer.conversation)) == 2
            await answer.events.aclose()
            assert await door.tokens_left() == TOKENS - 12
            await a_free_conversation(door, answer.conversation)
            assert (await door.closing(arrival))["event"] == "outcome"

    run(test())


def test_a_streams_finish_leaves_only_after_its_record(tmp_path: Path) -> None:
    async def test() -> None:
        async with doorway(tmp_path, STREAM) as door:
            arrival = door.completion(stream=True, stream_options={"include_usage": True})
            answer = await door.walk(arrival)
            assert isinstance(answer, Answer)
            events: list[Any] = []
            async for event in answer.events:
                events.append(event)
                finished = any(c.get("finish_reason") for c in event["choices"])
                ends = [r for r in await door.records() if r["event"] == "outcome"]
                assert not finished or ends
            said = "".join(c["delta"].get("content") or "" for e in events for c in e["choices"])
            assert said == "Good morning."
            assert events[-2]["choices"][0]["finish_reason"] == "stop"
            assert events[-1]["usage"]["prompt_tokens"] == 7
            assert (await door.closing(arrival))["success"] is True
            assert await door.tokens_left() == TOKENS - 12

    run(test())


@pytest.mark.parametrize(
    ("script", "status"),
    [(silent, 504), (busy, 429), (buggy, 500), (nothing, 502), (garbage, 500), (nests, 502)],
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_model_that_fails_at_once_is_a_refusal_of_its_own(
    tmp_path: Path, script: Any, status: int, stream: bool
) -> None:
    async def test() -> None:
        async with doorway(tmp_path, script) as door:
            conversation = await begun(door)
            before = await door.tokens_left()
            arrival = door.chat("Hi", conversationId=conversation, stream=stream)
            refusal = await door.refusal(arrival)
            assert refusal.status == status
            assert "secret text" not in refusal.message
            record = await door.closing(arrival)
            assert record["event"] == "refusal"
            assert record["status"] == status
            assert len(await door.store.messages(conversation)) == 2
            assert before - await door.tokens_left() < 100
            await a_free_conversation(door, conversation)

    run(test())


def test_a_stream_that_breaks_off_ends_with_the_refusal_and_is_not_kept(tmp_path: Path) -> None:
    async def test() -> None:
        async with doorway(tmp_path, breaks_off) as door:
            conversation = await begun(door)
            arrival = door.chat("Hi", conversationId=conversation, stream=True)
            *released, last = await door.events(arrival)
            assert released
            assert isinstance(last, Refusal)
            assert last.status == 502
            assert not any(c["finish_reason"] for e in released for c in e["choices"])
            assert (await door.closing(arrival))["event"] == "refusal"
            assert len(await door.store.messages(conversation)) == 2
            await a_free_conversation(door, conversation)

    run(test())


@pytest.mark.parametrize(("script", "stream"), [(hangs, False), (hangs, True), (hangs_later, True)])
def test_a_client_that_leaves_cancels_the_model_and_is_recorded(
    tmp_path: Path, script: Any, stream: bool
) -> None:
    async def test() -> None:
        async with doorway(tmp_path, script) as door:
            conversation = await begun(door)
            arrival = door.chat("Hi", conversationId=conversation, stream=stream)
            task = asyncio.create_task(door.events(arrival))
            while len(door.provider.calls) < 2:
                await asyncio.sleep(0.005)
            await asyncio.sleep(0.02)
            if not task.done():
                task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert door.provider.closed == 2
            record = await door.closing(arrival)
            assert record["event"] == "interrupted"
            assert await door.tokens_left() > TOKENS - 1_000
            await a_free_conversation(door, conversation)

    run(test())


def test_what_was_released_to_somebody_who_left_is_kept(tmp_path: Path) -> None:
    async def test() -> None:
        async with doorway(tmp_path, speaks_for_ever) as door:
            arrival = door.chat("Hi", stream=True)
            answer = await door.walk(arrival)
            assert isinstance(answer, Answer)
            said = ""
            async for event in answer.events:
                said += event["choices"][0]["delta"]["content"]
                if len(said) > 2_000:
                    break
            await answer.events.aclose()
            assert door.provider.closed == 1
            assert (await door.closing(arrival))["event"] == "interrupted"
            rows = await door.store.messages(answer.conversation)
            assert [m.content for m in door.keeper.open(rows)] == ["Hi", said]

    run(test())


def test_an_answer_that_nobody_reads_is_interrupted(tmp_path: Path) -> None:
    async def test() -> None:
        async with doorway(tmp_path, speaks_for_ever) as door:
            arrival = door.completion(stream=True)
            answer = await door.walk(arrival)
            assert isinstance(answer, Answer)
            await answer.events.aclose()
            assert (await door.closing(arrival))["event"] == "interrupted"
            assert door.provider.closed == 1

    run(test())


def is_outcome(changes: Any) -> bool:
    return any(
        isinstance(c, AddRecord) and json.loads(c.row.body)["event"] == "outcome" for c in changes
    )


@pytest.mark.parametrize("stream", [False, True])
def test_leaving_while_the_outcome_is_written_changes_nothing(tmp_path: Path, stream: bool) -> None:
    async def test() -> None:
        script = STREAM if stream else says(whole("Hello."))
        async with doorway(tmp_path, script) as door:
            conversation = await begun(door)
            gate = asyncio.Event()
            reached = asyncio.Event()

            def waits(changes: Any) -> asyncio.Event | None:
                if is_outcome(changes):
                    reached.set()
                    return gate
                return None

            door.store.waits = waits
            arrival = door.chat("Hi", conversationId=conversation, stream=stream)
            task = asyncio.create_task(door.events(arrival))
            await asyncio.wait_for(reached.wait(), 5)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert task.cancelled()
            gate.set()
            assert (await door.closing(arrival))["event"] == "outcome"
            assert len(await door.store.messages(conversation)) == 4
            assert await door.tokens_left() == TOKENS - 24
            await a_free_conversation(door, conversation)

    run(test())


def test_leaving_while_an_outcome_fails_leaves_another_record(tmp_path: Path) -> None:
    async def test() -> None:
        async with doorway(tmp_path) as door:
            conversation = await begun(door)
            gate, reached = asyncio.Event(), asyncio.Event()

            def waits(changes: Any) -> asyncio.Event | None:
                if is_outcome(changes):
                    reached.set()
                    return gate
                return None

            door.store.waits = waits
            arrival = door.chat("Hi", conversationId=conversation)
            task = asyncio.create_task(door.events(arrival))
            await asyncio.wait_for(reached.wait(), 5)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await door.store._store.commit(DeleteConversation(conversation, door.person))
            gate.set()
            record = await door.closing(arrival)
            assert (record["event"], record["status"]) == ("refusal", 409)

    run(test())


@pytest.mark.parametrize("stream", [False, True])
def test_without_an_intent_no_model_is_asked(tmp_path: Path, stream: bool) -> None:
    async def test() -> None:
        async with doorway(tmp_path) as door:
            conversation = await begun(door)
            before = await door.tokens_left()
            door.store.fails = lambda _: True
            arrival = door.chat("Hi", conversationId=conversation, stream=stream)
            assert (await door.refusal(arrival)).status == 503
            door.store.fails = lambda _: False
            assert len(door.provider.calls) == 1
            assert not [r for r in await door.records() if r["requestId"] == arrival.request_id]
            assert await door.tokens_left() == before
            await a_free_conversation(door, conversation)

    run(test())


@pytest.mark.parametrize("stream", [False, True])
def test_without_an_outcome_no_answer_is_finished(tmp_path: Path, stream: bool) -> None:
    async def test() -> None:
        script = STREAM if stream else says(whole("Hello."))
        async with doorway(tmp_path, script) as door:
            conversation = await begun(door)
            door.store.fails = is_outcome
            arrival = door.chat("Hi", conversationId=conversation, stream=stream)
            reply = await door.walk(arrival)
            events = [e async for e in reply.events] if isinstance(reply, Answer) else []
            last = events.pop() if events else reply.refusal
            assert last.status == 503
            assert last.retry_after
            assert not any(c["finish_reason"] for e in events for c in e["choices"])
            record = await door.closing(arrival)
            assert (record["event"], record["status"]) == ("refusal", 503)
            assert len(await door.store.messages(conversation)) == 2
            await a_free_conversation(door, conversation)

    run(test())


def test_a_refusal_that_cannot_be_recorded_is_a_503(tmp_path: Path) -> None:
    async def test() -> None:
        async with doorway(tmp_path) as door:
            door.store.fails = lambda _: True
            refusal = await door.refusal(door.chat("'; DROP TABLE users; --"))
            assert (refusal.status, refusal.layer) == (503, "ledger")

    run(test())


def test_a_key_that_cannot_be_read_ends_in_one_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test() -> None:
        async with doorway(tmp_path) as door:
            conversation = await begun(door)

            def broken(*_: Any) -> None:
                raise IntegrityError("the key of a person")

            monkeypatch.setattr(door.keeper, "turn", broken)
            arrival = door.chat("Hi", conversationId=conversation)
            refusal = await door.refusal(arrival)
            assert refusal.status == 500
            assert "the key of a person" not in refusal.message
            assert (await door.closing(arrival))["event"] == "refusal"
            await a_free_conversation(door, conversation)

    run(test())


def test_a_conversation_that_was_deleted_meanwhile_is_a_conflict(tmp_path: Path) -> None:
    async def test() -> None:
        async with doorway(tmp_path) as door:
            conversation = await begun(door)

            async def deletes(_: Call) -> AsyncGenerator[dict[str, Any], None]:
                await door.store.commit(DeleteConversation(conversation, door.person))
                yield whole("Hello.")

            door.provider.script = deletes
            arrival = door.chat("Hi", conversationId=conversation)
            assert (await door.refusal(arrival)).status == 409
            assert (await door.closing(arrival))["rule"] == "conversation-moved"

    run(test())


def test_somebody_who_leaves_a_deleted_conversation_is_recorded_all_the_same(
    tmp_path: Path,
) -> None:
    async def test() -> None:
        async with doorway(tmp_path, hangs_later) as door:
            conversation = await begun(door)
            arrival = door.chat("Hi", conversationId=conversation, stream=True)
            answer = await door.walk(arrival)
            assert isinstance(answer, Answer)
            await anext(answer.events)
            await door.store.commit(DeleteConversation(conversation, door.person))
            await answer.events.aclose()
            assert (await door.closing(arrival))["event"] == "interrupted"

    run(test())


def test_two_turns_of_one_conversation_at_once_conflict(tmp_path: Path) -> None:
    async def test() -> None:
        async with doorway(tmp_path, hangs) as door:
            conversation = await begun(door)
            first = asyncio.create_task(door.walk(door.chat("first", conversationId=conversation)))
            while len(door.provider.calls) < 2:
                await asyncio.sleep(0.005)
            arrival = door.chat("second", conversationId=conversation)
            assert (await door.refusal(arrival)).status == 409
            assert (await door.closing(arrival))["rule"] == "conversation-busy"
            first.cancel()
            await asyncio.gather(first, return_exceptions=True)

    run(test())


def test_a_foreign_conversation_looks_like_none(tmp_path: Path) -> None:
    async def test() -> None:
        async with doorway(tmp_path) as door:
            conversation = await begun(door)
            bob = await door.persons.named(Subject("tenant", "bob"), roles=("User",))
            key = await door.new_key(bob.id)
            body = {"message": "Hi", "conversationId": conversation}
            arrival = door.arrival("POST", "/api/chat", body, key=key)
            assert (await door.refusal(arrival)).status == 404
            await a_free_conversation(door, conversation)

    run(test())


def test_a_blocked_request_asks_no_model_and_names_what_was_found(tmp_path: Path) -> None:
    async def test() -> None:
        async with doorway(tmp_path) as door:
            arrival = door.chat("'; DROP TABLE users; -- ann@example.com")
            refusal = await door.refusal(arrival)
            assert refusal.status == 400
            assert "malicious content" in refusal.message
            assert not door.provider.calls
            record = await door.closing(arrival)
            assert set(record["findings"]) == {"sql_injection", "email_address"}

    run(test())


def test_the_model_never_sees_what_is_redacted_and_records_hold_no_text(tmp_path: Path) -> None:
    async def test() -> None:
        async with doorway(tmp_path) as door:
            arrival = door.chat("Write to ann@example.com, SSN 123-45-6789, please")
            answer = await door.walk(arrival)
            assert isinstance(answer, Answer)
            assert answer.screened.warned == ("email_address", "us_ssn")
            sent = json.dumps(door.provider.calls[0].body)
            assert "ann@" not in sent
            assert "6789" not in sent
            leaves = json.dumps(await door.records())
            for private in ("ann@", "6789", door.person, "alice", "127.0.0.1", "Write to"):
                assert private not in leaves

    run(test())


def test_nothing_of_a_request_is_shown_by_the_values_that_travel(tmp_path: Path) -> None:
    async def test() -> None:
        async with doorway(tmp_path) as door:
            arrival = door.chat("a secret sentence")
            answer = await door.walk(arrival)
            assert isinstance(answer, Answer)
            shown = repr(arrival) + repr(answer) + repr(answer.screened)
            for private in ("secret sentence", door.key, "127.0.0.1"):
                assert private not in shown

    run(test())


def test_observe_mode_refuses_and_alters_nothing_and_records_it(tmp_path: Path) -> None:
    async def test() -> None:
        said = "I am ann@example.com"
        async with doorway(tmp_path, says(whole(said)), observe=True) as door:
            text = "<b>'; DROP TABLE users; --</b> ann@example.com"
            arrival = door.chat(text)
            answer = await door.walk(arrival)
            assert isinstance(answer, Answer)
            [event] = [e async for e in answer.events]
            assert event["choices"][0]["message"]["content"] == said
            assert door.provider.calls[0].body["messages"][-1]["content"] == text
            assert answer.screened.warned == ()
            intent = next(r for r in await door.records() if r["event"] == "intent")
            assert set(intent["findings"]) >= {"sql_injection", "email_address"}
            assert (await door.closing(arrival))["answerFindings"] == {"email_address": 1}

    run(test())


def test_a_blocked_answer_ends_and_nothing_follows(tmp_path: Path) -> None:
    async def test() -> None:
        script = says(
            piece({"role": "assistant", "content": "Write to "}),
            piece({"content": "ann@example.com "}),
            *[piece({"content": "and then some more words. "}) for _ in range(40)],
            piece({}, "stop"),
        )
        async with doorway(tmp_path, script, kinds={"email_address": Action.BLOCK}) as door:
            arrival = door.completion(stream=True)
            events = await door.events(arrival)
            said = "".join(c["delta"].get("content") or "" for e in events for c in e["choices"])
            assert said == "Write to "
            assert events[-1]["choices"][0]["finish_reason"] == "content_filter"
            assert door.provider.closed == 1
            record = await door.closing(arrival)
            assert (record["event"], record["success"]) == ("outcome", False)
            assert record["answerFindings"] == {"email_address": 1}

    run(test())


def test_tokens_that_cannot_be_reserved_are_a_429_before_the_model(tmp_path: Path) -> None:
    async def test() -> None:
        async with doorway(tmp_path, tokens=1_000) as door:
            conversation_of_none = door.chat("Hi", maxTokens=2_000)
            refusal = await door.refusal(conversation_of_none)
            assert (refusal.status, refusal.rule) == (429, "tph")
            assert not door.provider.calls

    run(test())


def test_a_bug_in_an_operation_is_a_bare_500_with_a_record(tmp_path: Path) -> None:
    async def broken(_: Any) -> Done:
        raise ZeroDivisionError("private cause")

    async def test() -> None:
        async with doorway(tmp_path, operations={"conversations.list": broken}) as door:
            arrival = door.arrival("GET", "/api/conversations")
            refusal = await door.refusal(arrival)
            assert refusal.status == 500
            assert "private cause" not in refusal.message
            assert (await door.closing(arrival))["rule"] == "bug"

    run(test())


def test_nothing_is_kept_where_nothing_is_to_be_kept(tmp_path: Path) -> None:
    async def test() -> None:
        async with doorway(tmp_path, record="none") as door:
            answer = await door.walk(door.chat("Hello"))
            assert isinstance(answer, Answer)
            assert not await door.store.messages(answer.conversation)

    run(test())


def test_every_cause_has_a_refusal_that_tells_nothing_of_it() -> None:
    for cause in (IntegrityError("inner"), Stale("inner"), ValueError("inner"), OSError("inner")):
        refusal = explain(cause)
        assert refusal.status in {500, 503}
        assert "inner" not in refusal.message


def test_a_turn_and_its_outcome_are_one_transaction(tmp_path: Path) -> None:
    async def test() -> None:
        async with doorway(tmp_path) as door:
            together: list[set[type]] = []

            def watch(changes: Any) -> bool:
                together.append({type(change) for change in changes})
                return False

            door.store.fails = watch
            await door.events(door.chat("Hello"))
            assert {AddTurn, AddRecord} in together

    run(test())
