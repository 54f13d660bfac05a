"""The model: its provider, under the name that the provider knows it by."""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Any

from ostiary.exchange import Call, Dialect, Screened
from ostiary.ports import Provider

LAYER = "forward"


@dataclass(frozen=True, slots=True)
class Model:
    """A model that callers may name: who serves it, and under which name there."""

    name: str
    provider: Provider
    upstream_name: str


def forward(
    screened: Screened, models: Mapping[str, Model]
) -> AsyncGenerator[dict[str, Any], None]:
    """Ask the model; the events are untrusted until `guard` has judged them."""
    checked = screened.checked
    admitted = checked.funded.admitted
    model = models[checked.model]
    dialect = checked.route.dialect
    body = {**screened.body, "model": model.upstream_name, "stream": checked.stream}
    if dialect is Dialect.CHAT:
        options = body.pop("stream_options", None) or {}
        if checked.stream:
            body["stream_options"] = {**options, "include_usage": True}
    elif dialect is Dialect.EMBEDDINGS:
        del body["stream"]
    if dialect is Dialect.RESPONSES or body.get("store"):
        body["store"] = False
    span = secrets.token_hex(8)
    return model.provider.answer(
        Call(
            request_id=admitted.request_id,
            model=model.upstream_name,
            body=body,
            stream=checked.stream,
            traceparent=f"00-{admitted.trace.trace_id}-{span}-{admitted.trace.flags}",
            dialect=dialect,
        )
    )
