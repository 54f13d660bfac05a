"""What the policy did, in the shapes in which Azure tells it: annotations beside an answer.

The upstream's own annotations stay (sanitised by the guard); ours stand beside them. A client
that knows Azure's filters so sees ours without a line of new code.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ostiary.errors import PolicyViolation, ProviderFiltered, Refusal
from ostiary.exchange import Dialect
from ostiary.pipeline import Answer
from ostiary.wire import content_filter
from ostiary.wire.readings import TERMINAL

_PROMPTS, _RESULTS = "prompt_filter_results", "content_filter_results"


def inner_error(refusal: Refusal) -> dict[str, Any] | None:
    """`innererror` of a refusal by a content filter: the upstream's verdict, or ours."""
    if isinstance(refusal, ProviderFiltered):
        return content_filter.refusal_detail(refusal.filter_result)
    if isinstance(refusal, PolicyViolation):
        return content_filter.refusal_detail(content_filter.blocked_by(refusal.blocked))
    return None


def annotated(answer: Answer, event: dict[str, Any]) -> dict[str, Any]:
    """A whole answer with what the policy found in prompt and answer."""
    dialect = answer.screened.checked.route.dialect
    if dialect is Dialect.RESPONSES:
        return _response(answer, event)
    if dialect is Dialect.EMBEDDINGS:
        return event
    choices = [{**c, _RESULTS: _answer_results(answer, c)} for c in event["choices"]]
    return {**event, "choices": choices, _PROMPTS: _prompts(answer, event)}


def annotated_events(
    answer: Answer, event: dict[str, Any], *, first: bool
) -> tuple[dict[str, Any], ...]:
    """An event of a stream with its annotations; the prompt's come first, as Azure sends them."""
    if answer.screened.checked.route.dialect is Dialect.RESPONSES:
        if event.get("type") in TERMINAL:
            return ({**event, "response": _response(answer, event["response"])},)
        return (event,)
    if any(choice.get("finish_reason") for choice in event["choices"]):
        choices = [{**c, _RESULTS: _answer_results(answer, c)} for c in event["choices"]]
        event = {**event, "choices": choices}
    if not first:
        return (event,)
    if _PROMPTS in event:
        return ({**event, _PROMPTS: _prompts(answer, event)},)
    frame: dict[str, Any] = {
        k: event[k] for k in ("id", "object", "created", "model") if k in event
    }
    return ({**frame, "choices": [], _PROMPTS: _prompts(answer, {})}, event)


def _response(answer: Answer, response: dict[str, Any]) -> dict[str, Any]:
    ours = [
        {"blocked": False, "source_type": "prompt", _RESULTS: _of_prompt(answer)},
        {"blocked": answer.blocked(), "source_type": "completion", _RESULTS: answer.filters()},
    ]
    return {**response, "content_filters": [*response.get("content_filters", ()), *ours]}


def _prompts(answer: Answer, event: Mapping[str, Any]) -> list[dict[str, Any]]:
    theirs = event.get(_PROMPTS) or [{"prompt_index": 0, _RESULTS: {}}]
    first = {**theirs[0], _RESULTS: {**theirs[0][_RESULTS], **_of_prompt(answer)}}
    return [first, *theirs[1:]]


def _of_prompt(answer: Answer) -> dict[str, Any]:
    screened = answer.screened
    return content_filter.personal_data(
        detected=screened.personal, redacted=bool(screened.warned), filtered=False
    )


def _answer_results(answer: Answer, choice: Mapping[str, Any]) -> dict[str, Any]:
    return {**(choice.get(_RESULTS) or {}), **answer.filters()}
