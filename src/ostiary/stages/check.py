"""Validation: the field rules of each dialect. A valid `/api/chat` becomes an OpenAI chat request.

On `/api/chat` an unknown field is refused. On `/v1` unknown fields go through untouched, and
every string in them is inspected like any other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ostiary.errors import MalformedRequest, NotFound
from ostiary.exchange import Checked, Face, Funded
from ostiary.wire import native
from ostiary.wire.dialects import PARSERS
from ostiary.wire.model_request import RequestRuleError

LAYER = "check"
_DEFAULT_MODEL = "gpt-4o"


@dataclass(frozen=True, slots=True)
class Rules:
    """What requests are checked against: the configured models, and what is opaque."""

    models: Sequence[str]
    opaque: str

    @property
    def default_model(self) -> str:
        """The model of a chat that names none: the founding page's, else the first configured."""
        return _DEFAULT_MODEL if _DEFAULT_MODEL in self.models else self.models[0]


@dataclass(frozen=True, slots=True)
class Turn:
    """One message of a conversation as the model is given it."""

    role: str
    content: str

    def __repr__(self) -> str:
        """Hide the text."""
        return f"Turn({self.role})"


def check(funded: Funded, rules: Rules) -> Checked:
    """Check the body of a conversation route, or refuse with 400 (404 for an unknown model)."""
    if funded.admitted.route.face is Face.NATIVE:
        return _native(funded, rules)
    return _openai(funded, rules)


def with_history(checked: Checked, history: Sequence[Turn]) -> Checked:
    """The same request with the turns before it in front of its message."""
    turns: list[Mapping[str, Any]] = [
        {"role": turn.role, "content": turn.content} for turn in history
    ]
    body = {**checked.body, "messages": [*turns, *checked.body["messages"]]}
    return Checked(
        funded=checked.funded,
        model=checked.model,
        body=body,
        stream=checked.stream,
        include_usage=checked.include_usage,
        choices=checked.choices,
        max_tokens=checked.max_tokens,
        opaque=checked.opaque,
        conversation=checked.conversation,
        message=checked.message,
    )


def _native(funded: Funded, rules: Rules) -> Checked:
    try:
        chat = native.parse(funded.admitted.body, models=rules.models)
    except native.NativeChatError as cause:
        raise MalformedRequest(
            "Validation failed", layer=LAYER, rule="fields", details=cause.details
        ) from cause
    model = chat.model or rules.default_model
    body: dict[str, Any] = {
        "model": model,
        "messages": [{"role": "user", "content": chat.message}],
    }
    if chat.temperature is not None:
        body["temperature"] = chat.temperature
    if chat.max_tokens is not None:
        body["max_tokens"] = chat.max_tokens
    return Checked(
        funded=funded,
        model=model,
        body=body,
        stream=chat.stream,
        include_usage=False,
        max_tokens=chat.max_tokens,
        conversation=chat.conversation_id,
        message=chat.message,
    )


def _openai(funded: Funded, rules: Rules) -> Checked:
    route = funded.admitted.route
    try:
        asked = PARSERS[route.dialect](funded.admitted.body, path_model=_path_model(funded, rules))
    except RequestRuleError as cause:
        raise MalformedRequest(
            str(cause), layer=LAYER, rule=cause.code or "fields", code=cause.code, param=cause.field
        ) from cause
    if asked.model not in rules.models:
        raise unknown_model()
    if asked.opaque and rules.opaque != "record":
        raise _unreadable(asked.opaque[0])
    return Checked(
        funded=funded,
        model=asked.model,
        body=asked.body,
        stream=asked.stream,
        include_usage=asked.include_usage,
        choices=asked.n,
        max_tokens=asked.max_tokens,
        opaque=asked.opaque,
    )


def _path_model(funded: Funded, rules: Rules) -> str | None:
    """The deployment of the path; on Foundry's `/models` a body without a model gets the default.

    Where a path names the deployment it decides, whatever the body says, as it does at Azure: it
    is what was authorised.
    """
    admitted = funded.admitted
    if "deployment" in admitted.params:
        return admitted.params["deployment"]
    body = admitted.body
    if admitted.route.default_model and isinstance(body, dict) and body.get("model") is None:
        return rules.default_model
    return None


def unknown_model() -> NotFound:
    """404 for a model or deployment that is not configured."""
    return NotFound(
        "There is no such model; GET /v1/models lists those that there are.",
        layer=LAYER,
        rule="model",
        code="model_not_found",
        param="model",
    )


def _unreadable(what: str) -> MalformedRequest:
    place, _, kind = what.rpartition(":")
    return MalformedRequest(
        f"This gateway cannot inspect parts of the type {what} and refuses them "
        '(policy.opaque = "refuse").',
        layer=LAYER,
        rule="opaque",
        code="opaque_content",
        param=place.partition("[")[0] or kind,
    )
