"""Validation: the field rules of each face. A valid request becomes one OpenAI chat request.

On `/api/chat` an unknown field is refused. On `/v1` unknown fields go through untouched, and
every string in them is inspected like any other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ostiary.errors import MalformedRequest, NotFound
from ostiary.exchange import Checked, Face, Funded
from ostiary.wire import native, openai_chat

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
    try:
        chat = openai_chat.parse(funded.admitted.body)
    except openai_chat.RequestRuleError as cause:
        raise MalformedRequest(str(cause), layer=LAYER, rule="fields", param=cause.field) from cause
    if chat.model not in rules.models:
        raise NotFound(
            "There is no such model; GET /v1/models lists those that there are.",
            layer=LAYER,
            rule="model",
            code="model_not_found",
            param="model",
        )
    if chat.opaque and rules.opaque != "record":
        raise MalformedRequest(
            f"This gateway cannot inspect parts of the type {chat.opaque[0]} and refuses them "
            '(policy.opaque = "refuse").',
            layer=LAYER,
            rule="opaque",
            code="opaque_content",
            param="messages",
        )
    return Checked(
        funded=funded,
        model=chat.model,
        body=chat.body,
        stream=chat.stream,
        include_usage=chat.include_usage,
        choices=chat.n,
        max_tokens=chat.max_tokens,
        opaque=chat.opaque,
    )
