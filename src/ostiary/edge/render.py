"""Replies as bytes: the native and the OpenAI shapes of answers, whole and streamed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

import msgspec

from ostiary.edge import problem
from ostiary.errors import Refusal
from ostiary.exchange import Face, Limit, Screened
from ostiary.pipeline import Answer, Event, text_of

_encode = msgspec.json.Encoder().encode
_DONE = b"data: [DONE]\n\n"

WARNING = "Personal information was detected and removed from your message."


def warning(screened: Screened) -> dict[str, Any] | None:
    """The founding page's warning, where something was taken out of the message."""
    if not screened.warned:
        return None
    return {"detected": True, "types": list(screened.warned), "message": WARNING}


def whole(answer: Answer, event: Event) -> bytes:
    """A whole answer in its face's shape; one that failed never gets this far."""
    if isinstance(event, Refusal):
        raise event
    if answer.screened.checked.funded.admitted.route.face is Face.OPENAI:
        return _encode(event)
    choices = event.get("choices") or [{}]
    body = _native_end(answer)
    body["response"] = text_of(choices[0].get("message") or {})
    return _encode(body)


async def stream(answer: Answer) -> AsyncIterator[bytes]:
    """A streamed answer as server-sent events; a refusal on the way ends it without [DONE]."""
    admitted = answer.screened.checked.funded.admitted
    native = admitted.route.face is Face.NATIVE
    async for event in answer.events:
        if isinstance(event, Refusal):
            yield _frame(problem.body(event, admitted.request_id, admitted.route.face))
            return
        if not native:
            yield _frame(event)
        elif text := _delta(event):
            yield _frame({"delta": text})
    if native:
        yield _frame(_native_end(answer))
    yield _DONE


def _frame(event: Mapping[str, Any]) -> bytes:
    return b"data: " + _encode(event) + b"\n\n"


def _delta(event: Mapping[str, Any]) -> str:
    return "".join(text_of(c.get("delta") or {}) for c in event["choices"] if c["index"] == 0)


def _native_end(answer: Answer) -> dict[str, Any]:
    checked = answer.screened.checked
    usage = answer.usage()
    body: dict[str, Any] = {
        "id": checked.funded.admitted.request_id,
        "conversationId": answer.conversation,
        "model": checked.model,
        "usage": {
            "promptTokens": usage.prompt,
            "completionTokens": usage.completion,
            "totalTokens": usage.total,
        },
    }
    caution = warning(answer.screened)
    if caution:
        body["warning"] = caution
    return body


_SDK_NAMES = {"rpm": "requests", "tph": "tokens"}


def limit_headers(limits: tuple[Limit, ...]) -> dict[str, str]:
    """Limits as the IETF draft (draft-ietf-httpapi-ratelimit-headers) and as SDKs know them."""
    if not limits:
        return {}
    headers = {
        "RateLimit-Policy": ", ".join(f'"{m.name}";q={m.quota};w={m.window}' for m in limits),
        "RateLimit": ", ".join(
            f'"{m.name}";r={m.remaining};t={max(0, round(m.reset))}' for m in limits
        ),
    }
    for limit in limits:
        name = _SDK_NAMES.get(limit.name, limit.name)
        headers[f"x-ratelimit-limit-{name}"] = str(limit.quota)
        headers[f"x-ratelimit-remaining-{name}"] = str(limit.remaining)
        headers[f"x-ratelimit-reset-{name}"] = f"{max(0, round(limit.reset))}s"
    return headers
