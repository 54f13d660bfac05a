"""Prompt and answer are kept together, under her own key, and opened only where authentic."""

from __future__ import annotations

import asyncio
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ostiary.errors import Conflict, NotFound, RecordDamaged
from ostiary.exchange import Subject
from ostiary.pipeline import Answer
from ostiary.stages.keep import Said, newest_turns
from tests.unit.doorway import Doorway, doorway, says, whole


def run(test: Any) -> None:
    asyncio.run(test)


async def say(door: Doorway, message: str, conversation: str | None = None) -> str:
    answer = await door.walk(door.chat(message, conversationId=conversation))
    assert isinstance(answer, Answer), answer
    assert [e async for e in answer.events]
    assert answer.conversation
    return answer.conversation


def test_a_conversation_goes_on_where_it_was(tmp_path: Path) -> None:
    async def test() -> None:
        async with doorway(tmp_path, says(whole("Aye."))) as door:
            conversation = await say(door, "one")
            await say(door, "two", conversation.upper())
            sent = [m["content"] for m in door.provider.calls[-1].body["messages"]]
            assert sent == ["one", "Aye.", "two"]
            said = door.keeper.open(await door.store.messages(conversation))
            assert [(s.role, s.content) for s in said] == [
                ("user", "one"),
                ("assistant", "Aye."),
                ("user", "two"),
                ("assistant", "Aye."),
            ]

    run(test())


def test_what_is_kept_is_the_text_after_policy_and_unreadable(tmp_path: Path) -> None:
    async def test() -> None:
        async with doorway(tmp_path, says(whole("I am bob@example.org, a cobbler"))) as door:
            conversation = await say(door, "I am ann@example.com, a milliner")
            said = door.keeper.open(await door.store.messages(conversation))
            assert [s.content for s in said] == [
                "I am [REDACTED], a milliner",
                "I am [REDACTED], a cobbler",
            ]
        stored = b"".join(f.read_bytes() for f in tmp_path.rglob("*") if f.is_file())
        for text in (b"milliner", b"cobbler", b"ann@", b"bob@"):
            assert text not in stored

    run(test())


def test_a_conversation_belongs_to_one_person_and_one_exchange(tmp_path: Path) -> None:
    async def test() -> None:
        async with doorway(tmp_path) as door:
            conversation = await say(door, "one")
            thread = await door.keeper.begin(door.person, conversation)
            with pytest.raises(Conflict):
                await door.keeper.begin(door.person, conversation)
            door.keeper.end(thread)
            bob = await door.persons.named(Subject("tenant", "bob"), roles=("User",))
            for person, name in ((bob.id, conversation), (door.person, bob.id)):
                with pytest.raises(NotFound):
                    await door.keeper.begin(person, name)
            door.keeper.end(await door.keeper.begin(door.person, conversation))

    run(test())


def test_a_message_that_was_moved_or_changed_is_an_error(tmp_path: Path) -> None:
    async def test() -> None:
        async with doorway(tmp_path) as door:
            conversation = await say(door, "one")
            connection = sqlite3.connect(tmp_path / "ostiary.db", isolation_level=None)
            [(first, a), (second, b)] = connection.execute(
                "SELECT seq, sealed FROM cells WHERE seq IN (SELECT cell FROM messages)"
            ).fetchall()
            connection.execute("UPDATE cells SET sealed = ? WHERE seq = ?", (b, first))
            connection.execute("UPDATE cells SET sealed = ? WHERE seq = ?", (a, second))
            connection.close()
            with pytest.raises(RecordDamaged):
                door.keeper.open(await door.store.messages(conversation))
            refusal = await door.refusal(door.chat("two", conversationId=conversation))
            assert (refusal.status, refusal.public_code) == (500, "record_not_authentic")

    run(test())


def test_a_message_that_was_relabelled_is_an_error(tmp_path: Path) -> None:
    async def test() -> None:
        async with doorway(tmp_path) as door:
            conversation = await say(door, "one")
            rows = await door.store.messages(conversation)
            assert [said.role for said in door.keeper.open(rows)] == ["user", "assistant"]
            for forged in (
                replace(rows[0], role="assistant"),
                replace(rows[0], position=1),
                replace(rows[0], conversation=rows[0].id),
            ):
                with pytest.raises(RecordDamaged):
                    door.keeper.open([forged])

    run(test())


def turns(*lengths: int) -> list[Said]:
    return [
        Said(str(n), ("user", "assistant")[n % 2], "x" * 4 * length)
        for n, length in enumerate(lengths)
    ]


@pytest.mark.parametrize(
    ("lengths", "tokens", "kept"),
    [
        ((), 10, 0),
        ((5, 5), 10, 2),
        ((5, 6), 10, 0),
        ((1, 1, 5, 5), 11, 2),
        ((1, 1, 5, 5), 12, 4),
        ((9, 9, 9, 9, 1, 1), 19, 2),
    ],
)
def test_the_newest_whole_turns_that_fit_go_to_the_model(
    lengths: tuple[int, ...], tokens: int, kept: int
) -> None:
    said = turns(*lengths)
    assert newest_turns(said, tokens) == tuple(said[len(said) - kept :])


def test_no_text_is_shown() -> None:
    assert "secret" not in repr(Said("1", "user", "secret"))
