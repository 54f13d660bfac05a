"""The model: its provider, under the name that the provider knows it by, and who stands by."""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any

from ostiary.errors import Refusal
from ostiary.exchange import Call, Caller, Course, Dialect, Screened
from ostiary.ports import Provider
from ostiary.upstream.faults import goes_elsewhere

LAYER = "forward"


@dataclass(frozen=True, slots=True)
class Model:
    """A model that callers may name: who serves it, under which name there, and who stands by."""

    name: str
    provider: Provider
    upstream_name: str
    spares: tuple[Provider, ...] = ()


def forward(
    screened: Screened, models: Mapping[str, Model], course: Course
) -> AsyncGenerator[dict[str, Any], None]:
    """Ask the model; the events are untrusted until `guard` has judged them.

    `course` says at any time which provider was asked last.
    """
    model = models[screened.checked.model]
    call = _call(screened, model, course)
    if not model.spares:
        course.provider = model.provider.name
        return model.provider.answer(call)
    return _first_that_takes_it((model.provider, *model.spares), call)


async def _first_that_takes_it(
    providers: tuple[Provider, ...], call: Call
) -> AsyncGenerator[dict[str, Any], None]:
    """The answer of the first provider that can be reached and is not at its limit.

    The next one is asked only where the former surely did not begin: nothing is done twice.
    """
    course = call.course
    for number, provider in enumerate(providers, 1):
        course.provider = provider.name
        spare = number < len(providers)
        begun = False
        try:
            async with aclosing(provider.answer(replace(call, spare=spare))) as answer:
                async for event in answer:
                    begun = True
                    yield event
        except Refusal as refusal:
            if begun or not spare or not course.calls or not goes_elsewhere(refusal):
                raise
        else:
            return


def _call(screened: Screened, model: Model, course: Course) -> Call:
    checked = screened.checked
    admitted = checked.funded.admitted
    principal = checked.funded.principal
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
    return Call(
        request_id=admitted.request_id,
        model=model.upstream_name,
        body=body,
        stream=checked.stream,
        traceparent=f"00-{admitted.trace.trace_id}-{span}-{admitted.trace.flags}",
        dialect=dialect,
        caller=Caller(
            person=None if principal.application else principal.subject,
            client=principal.client,
            address=admitted.address,
        ),
        course=course,
    )
