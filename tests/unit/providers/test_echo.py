"""The built-in model: the same request, the same answer."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from ostiary.exchange import Call
from ostiary.providers import echo

PROVIDER = echo.build("echo", echo.Options())


def answer(*, stream: bool = False, **body: Any) -> list[dict[str, Any]]:
    asked = {"messages": [{"role": "user", "content": "one two three"}], **body}
    call = Call("r", "gpt-4o", asked, stream)

    async def collect() -> list[dict[str, Any]]:
        return [event async for event in PROVIDER.answer(call)]

    return asyncio.run(collect())


def test_it_says_what_it_was_told_and_that_it_is_an_echo() -> None:
    [event] = answer()
    assert event["choices"][0]["message"]["content"] == "Echo: one two three"
    assert event["choices"][0]["finish_reason"] == "stop"
    assert answer() == answer()


def test_a_stream_says_the_same_in_pieces_and_ends_with_its_usage() -> None:
    *events, usage = answer(stream=True)
    said = "".join(e["choices"][0]["delta"].get("content") or "" for e in events)
    assert said == "Echo: one two three"
    assert events[-1]["choices"][0]["finish_reason"] == "stop"
    assert usage["choices"] == []
    assert usage["usage"]["completion_tokens"] == 4


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_a_limit_cuts_the_answer(name: str) -> None:
    [event] = answer(**{name: 2})
    assert event["choices"][0]["message"]["content"] == "Echo: one "
    assert event["choices"][0]["finish_reason"] == "length"


def test_each_choice_is_answered() -> None:
    assert [c["index"] for c in answer(n=3)[0]["choices"]] == [0, 1, 2]
    ends = [
        c["index"] for e in answer(n=3, stream=True) for c in e["choices"] if c["finish_reason"]
    ]
    assert ends == [0, 1, 2]


@pytest.mark.parametrize(
    ("messages", "said"),
    [
        ([{"role": "user", "content": [{"text": "a"}, {"text": 5}, {"x": 1}]}], "Echo: a"),
        ([{"role": "user", "content": "a"}, {"role": "tool", "content": "b"}], "Echo: a"),
        ([{"role": "system", "content": "b"}], "Echo: "),
        ([{"role": "user", "content": None}], "Echo: "),
    ],
)
def test_the_last_user_message_is_repeated(messages: list[Any], said: str) -> None:
    assert answer(messages=messages)[0]["choices"][0]["message"]["content"] == said


@pytest.mark.parametrize("text", [" " * 200_000, "x" * 200_000, " x" * 100_000 + " " * 100_000])
def test_long_texts_cost_linear_time(text: str) -> None:
    started = time.perf_counter()
    answer(messages=[{"role": "user", "content": text}])
    assert time.perf_counter() - started < 1.0
