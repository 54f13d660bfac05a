"""The built-in model: it answers with what it was told, so that a first run needs no account.

Deterministic: the same request gives the same text. It says clearly that it is an echo. Its
embeddings tell equal texts from others, and nothing of what they mean.
"""

from __future__ import annotations

import base64
import hashlib
import re
import struct
from collections.abc import AsyncGenerator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ostiary.exchange import Call, Dialect
from ostiary.wire.tokens import estimate

DIMENSIONS, MOST_DIMENSIONS = 8, 4_096
_PIECES = re.compile(r"\s*\S+\s*")


@dataclass(frozen=True, slots=True)
class Options:
    """The echo has no settings."""


class Echo:
    """A provider that repeats the last user message after `Echo: `."""

    def __init__(self, name: str) -> None:
        """Take the name that configuration gave it."""
        self.name = name

    async def answer(self, call: Call) -> AsyncGenerator[dict[str, Any], None]:
        """Yield the answer in the call's dialect, or its words as events of a stream.

        The request's own maximum cuts the answer.
        """
        makers = {
            Dialect.CHAT: _chat,
            Dialect.RESPONSES: _response,
            Dialect.EMBEDDINGS: _embeddings,
        }
        for event in makers[call.dialect](call):
            yield event

    async def close(self) -> None:
        """Nothing to release."""


def _words(said: str, limit: int | None) -> tuple[list[str], bool]:
    """The answer's words, and whether these are all."""
    words = _PIECES.findall(f"Echo: {said}")
    return words[:limit], limit is None or len(words) <= limit


def _chat(call: Call) -> Iterator[dict[str, Any]]:
    limit = call.body.get("max_completion_tokens") or call.body.get("max_tokens")
    words, whole = _words(_last_user_text(call.body["messages"]), limit)
    prompt = estimate(call.body["messages"])
    usage = {
        "prompt_tokens": prompt,
        "completion_tokens": len(words),
        "total_tokens": prompt + len(words),
    }
    frame = {"id": f"chatcmpl-{call.request_id}", "created": 0, "model": call.model}
    reason = "stop" if whole else "length"
    choices = range(call.body.get("n") or 1)
    if not call.stream:
        message = {"role": "assistant", "content": "".join(words), "refusal": None}
        yield {
            **frame,
            "object": "chat.completion",
            "choices": [
                {"index": i, "message": message, "logprobs": None, "finish_reason": reason}
                for i in choices
            ],
            "usage": usage,
        }
        return
    frame["object"] = "chat.completion.chunk"
    for index in choices:
        yield _chunk(frame, index, {"role": "assistant", "content": ""})
        for word in words:
            yield _chunk(frame, index, {"content": word})
        yield _chunk(frame, index, {}, reason)
    yield {**frame, "choices": [], "usage": usage}


def _chunk(
    frame: Mapping[str, Any], index: int, delta: Mapping[str, Any], reason: str | None = None
) -> dict[str, Any]:
    return {**frame, "choices": [{"index": index, "delta": delta, "finish_reason": reason}]}


def _response(call: Call) -> Iterator[dict[str, Any]]:
    asked = call.body["input"]
    said = asked if isinstance(asked, str) else _last_user_text(asked)
    words, whole = _words(said, call.body.get("max_output_tokens"))
    status = "completed" if whole else "incomplete"
    part = {"type": "output_text", "text": "".join(words), "annotations": []}
    item: dict[str, Any] = {
        "id": f"msg-{call.request_id}",
        "type": "message",
        "role": "assistant",
        "status": status,
        "content": [part],
    }
    begun: dict[str, Any] = {
        "id": f"resp-{call.request_id}",
        "object": "response",
        "created_at": 0,
        "model": call.model,
        "status": "in_progress",
        "output": [],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
    }
    prompt = estimate(asked)
    ended = {
        **begun,
        "status": status,
        "incomplete_details": None if whole else {"reason": "max_output_tokens"},
        "output": [item],
        "usage": {
            "input_tokens": prompt,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": len(words),
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": prompt + len(words),
        },
    }
    if not call.stream:
        yield ended
        return
    place = {"output_index": 0, "item_id": item["id"]}
    within = {**place, "content_index": 0}
    opened = {**item, "status": "in_progress", "content": []}
    yield {"type": "response.created", "response": begun}
    yield {"type": "response.output_item.added", "output_index": 0, "item": opened}
    yield {"type": "response.content_part.added", **within, "part": {**part, "text": ""}}
    for word in words:
        yield {"type": "response.output_text.delta", **within, "delta": word, "logprobs": []}
    yield {"type": "response.output_text.done", **within, "text": part["text"], "logprobs": []}
    yield {"type": "response.content_part.done", **within, "part": part}
    yield {"type": "response.output_item.done", "output_index": 0, "item": item}
    yield {"type": f"response.{status}", "response": ended}


def _embeddings(call: Call) -> Iterator[dict[str, Any]]:
    asked = call.body["input"]
    texts = asked if isinstance(asked, list) and not _is_tokens(asked) else [asked]
    size = min(call.body.get("dimensions") or DIMENSIONS, MOST_DIMENSIONS)
    vectors: list[Any] = [_vector(str(text), size) for text in texts]
    if call.body.get("encoding_format") == "base64":
        vectors = [base64.b64encode(struct.pack(f"<{size}f", *v)).decode() for v in vectors]
    prompt = estimate(asked)
    yield {
        "object": "list",
        "model": call.model,
        "data": [
            {"object": "embedding", "index": index, "embedding": vector}
            for index, vector in enumerate(vectors)
        ],
        "usage": {"prompt_tokens": prompt, "total_tokens": prompt},
    }


def _is_tokens(asked: list[Any]) -> bool:
    """Whether one text is given as the ids of its tokens."""
    return all(isinstance(token, int) for token in asked)


def _vector(text: str, size: int) -> list[float]:
    """Numbers from -1 to 1 that depend on the text alone."""
    digest = hashlib.shake_256(text.encode()).digest(size)
    return [byte / 127.5 - 1 for byte in digest]


def _last_user_text(messages: list[Any]) -> str:
    """The last thing that the user said, its parts joined."""
    for message in reversed(messages):
        if message.get("role") == "user":
            content = message.get("content")
            if isinstance(content, str):
                return content
            parts = content if isinstance(content, list) else []
            texts = (part.get("text") for part in parts)
            return "".join(text for text in texts if isinstance(text, str))
    return ""


def build(name: str, _options: Options) -> Echo:
    """The echo under its configured name."""
    return Echo(name)
