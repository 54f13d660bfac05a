"""The built-in model: it answers with what it was told, so that a first run needs no account.

Deterministic: the same request gives the same text. It says clearly that it is an echo.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Any

from ostiary.exchange import Call
from ostiary.wire.tokens import estimate

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
        """Yield one completion, or its words as chunks; `max_tokens` cuts the answer."""
        words = _PIECES.findall(f"Echo: {_last_user_text(call.body)}")
        limit = call.body.get("max_completion_tokens") or call.body.get("max_tokens")
        whole = limit is None or len(words) <= limit
        words = words if whole else words[:limit]
        usage = {
            "prompt_tokens": estimate(call.body["messages"]),
            "completion_tokens": len(words),
            "total_tokens": estimate(call.body["messages"]) + len(words),
        }
        frame = {
            "id": f"chatcmpl-{call.request_id}",
            "created": 0,
            "model": call.model,
        }
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

    async def close(self) -> None:
        """Nothing to release."""


def _chunk(
    frame: Mapping[str, Any], index: int, delta: Mapping[str, Any], reason: str | None = None
) -> dict[str, Any]:
    return {**frame, "choices": [{"index": index, "delta": delta, "finish_reason": reason}]}


def _last_user_text(body: Mapping[str, Any]) -> str:
    for message in reversed(body["messages"]):
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
