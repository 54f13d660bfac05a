"""Errors as bodies: OpenAI's `error` object first, RFC 9457 members beside it.

On `/api/*` `error` is the founding page's plain string, and `details` lists field errors. This is
the one place that turns a refusal into text; what it does not know becomes a bare 500.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import Any

import structlog

from ostiary.edge.azure import inner_error
from ostiary.errors import Refusal
from ostiary.exchange import Face
from ostiary.pipeline import Refused, explain
from ostiary.stages.authn import CHALLENGE

log = structlog.get_logger("ostiary")
CONTENT_TYPE = "application/problem+json"


def body(refusal: Refusal, request_id: str, face: Face, *, azure: bool = False) -> dict[str, Any]:
    """The body of a refusal in the shape of a face; on Azure's paths with Azure's `innererror`."""
    error: Any = refusal.message
    if face is Face.OPENAI:
        error = {
            "message": refusal.message,
            "type": refusal.kind,
            "code": refusal.public_code,
            "param": refusal.param,
        }
        inner = inner_error(refusal) if azure else None
        if inner is not None:
            error |= {"status": refusal.status, "innererror": inner}
    problem = {
        "error": error,
        "type": f"urn:ostiary:problem:{refusal.layer}:{refusal.rule}",
        "title": refusal.title,
        "status": refusal.status,
        "detail": refusal.message,
        "requestId": request_id,
        "layer": refusal.layer,
        "rule": refusal.rule,
    }
    if face is Face.NATIVE:
        problem["code"] = refusal.public_code
    if face is Face.NATIVE and refusal.details:
        problem["details"] = [dict(detail) for detail in refusal.details]
    return problem


async def guarded(serving: Awaitable[None], refuse: Callable[[Refused], Awaitable[None]]) -> None:
    """The last resort: a fault while an answer is written becomes a 500 if none has begun."""
    try:
        await serving
    except Exception as cause:
        log.error("answer_failed", cause=type(cause).__name__)
        await refuse(Refused(explain(cause)))


def headers(refusal: Refusal) -> dict[str, str]:
    """The headers that a refusal needs beside those of every answer."""
    extra = dict(refusal.headers)
    if refusal.status == 401:
        extra.setdefault("WWW-Authenticate", CHALLENGE)
    if refusal.retry_after is not None:
        extra["Retry-After"] = str(max(1, math.ceil(refusal.retry_after)))
    return extra
