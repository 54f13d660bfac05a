"""Replies as bytes: the native and the OpenAI shapes of answers, whole and streamed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

import msgspec

from ostiary.edge import azure, problem
from ostiary.errors import Refusal
from ostiary.exchange import Dialect, Face, Limit, Screened
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
    route = answer.screened.checked.route
    if route.face is Face.OPENAI:
        return _encode(azure.annotated(answer, event) if route.azure else event)
    choices = event.get("choices") or [{}]
    body = _native_end(answer)
    body["response"] = text_of(choices[0].get("message") or {})
    return _encode(body)


def stream(answer: Answer) -> AsyncIterator[bytes]:
    """A streamed answer as server-sent events; a refusal on the way ends it without an end."""
    route = answer.screened.checked.route
    if route.face is Face.NATIVE:
        return _native(answer)
    return _responses(answer) if route.dialect is Dialect.RESPONSES else _chunks(answer)


async def _native(answer: Answer) -> AsyncIterator[bytes]:
    async for event in answer.events:
        if isinstance(event, Refusal):
            yield _frame(_problem(answer, event))
            return
        if text := _delta(event):
            yield _frame({"delta": text})
    yield _frame(_native_end(answer))
    yield _DONE


async def _chunks(answer: Answer) -> AsyncIterator[bytes]:
    first = True
    annotate = answer.screened.checked.route.azure
    async for event in answer.events:
        if isinstance(event, Refusal):
            yield _frame(_problem(answer, event))
            return
        if not annotate:
            yield _frame(event)
            continue
        for one in azure.annotated_events(answer, event, first=first):
            yield _frame(one)
        first = False
    yield _DONE


async def _responses(answer: Answer) -> AsyncIterator[bytes]:
    """Typed events; what ends them early is the protocol's `error` event with our body in it."""
    annotate = answer.screened.checked.route.azure
    sequence = 0
    async for event in answer.events:
        if isinstance(event, Refusal):
            body = _problem(answer, event)
            told = {k: body["error"][k] for k in ("code", "message", "param")}
            failed = {**body, **told, "type": "error", "sequence_number": sequence}
            yield b"event: error\n" + _frame(failed)
            return
        sequence = event["sequence_number"] + 1
        if annotate:
            (event,) = azure.annotated_events(answer, event, first=False)  # noqa: PLW2901
        yield b"event: " + event["type"].encode() + b"\n" + _frame(event)


def _problem(answer: Answer, refusal: Refusal) -> dict[str, Any]:
    admitted = answer.screened.checked.funded.admitted
    route = admitted.route
    return problem.body(refusal, admitted.request_id, route.face, azure=route.azure)


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
