"""The JSON Schemas of requests and answers, for `/openapi.json`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

REF = "#/components/schemas/"
STRING = {"type": "string"}
_UUID = {"type": "string", "format": "uuid"}
_TIME = {"type": ["string", "null"], "format": "date-time"}
_COUNT = {"type": "integer", "minimum": 0}


def _object(properties: dict[str, Any], *required: str, closed: bool = False) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "object", "properties": properties}
    if required:
        schema["required"] = list(required)
    if closed:
        schema["additionalProperties"] = False
    return schema


def _list_of(name: str) -> dict[str, Any]:
    return {"type": "array", "items": {"$ref": REF + name}}


def _problem(error: dict[str, Any]) -> dict[str, Any]:
    return _object(
        {
            "error": error,
            "type": STRING,
            "title": STRING,
            "status": {"type": "integer"},
            "detail": STRING,
            "requestId": _UUID,
            "layer": STRING,
            "rule": STRING,
            "details": {"type": "array", "items": {"type": "object"}},
        },
        *("error", "type", "title", "status", "detail", "requestId", "layer", "rule"),
    )


_USAGE = _object(dict.fromkeys(("promptTokens", "completionTokens", "totalTokens"), _COUNT))
_WARNING = _object(
    {
        "detected": {"const": True},
        "types": {"type": "array", "items": STRING},
        "message": STRING,
    }
)
_MESSAGE = _object(
    {
        "role": {
            "enum": ["system", "developer", "user", "assistant", "tool", "function"],
        },
        "content": {
            "oneOf": [STRING, {"type": "array", "items": {"type": "object"}, "minItems": 1}]
        },
    },
    "role",
)
_TEXTS = {"oneOf": [STRING, {"type": "array", "items": STRING, "minItems": 1}]}
_INPUT = {"oneOf": [STRING, {"type": "array", "items": {"type": "object"}, "minItems": 1}]}
_KEY = {
    "keyId": _UUID,
    "name": STRING,
    "permissions": {"type": "array", "items": STRING},
    "state": {"enum": ["active", "expired", "revoked"]},
    "createdAt": _TIME,
    "expiresAt": _TIME,
    "lastUsed": _TIME,
}
_CONVERSATION = {
    "id": _UUID,
    "createdAt": _TIME,
    "updatedAt": _TIME,
    "messageCount": _COUNT,
}
_SAID = _object({"id": _UUID, "role": STRING, "content": STRING})


_FIXED: dict[str, Any] = {
    "ChatAnswer": _object(
        {
            "id": STRING,
            "conversationId": _UUID,
            "model": STRING,
            "response": STRING,
            "usage": _USAGE,
            "warning": _WARNING,
        },
        "id",
        "conversationId",
        "model",
        "response",
        "usage",
    ),
    "Conversation": _object({**_CONVERSATION, "messages": {"type": "array", "items": _SAID}}),
    "ConversationPage": _object(
        {
            "data": {"type": "array", "items": _object(_CONVERSATION)},
            "nextCursor": {"type": ["string", "null"]},
        },
        "data",
        "nextCursor",
    ),
    "NewKey": _object(
        {
            "name": {"type": "string", "minLength": 1, "maxLength": 200},
            "permissions": {"type": "array", "items": STRING},
            "expiresIn": {"type": ["integer", "null"], "minimum": 1},
        },
        "name",
        closed=True,
    ),
    "CreatedKey": _object(
        {"apiKey": STRING, "keyId": _UUID, "permissions": {"type": "array", "items": STRING}},
        "apiKey",
        "keyId",
        "permissions",
    ),
    "Key": _object(_KEY),
    "KeyList": _object({"data": _list_of("Key")}, "data"),
    "Completion": {"type": "object", "description": "OpenAI's chat.completion."},
    "Response": {"type": "object", "description": "OpenAI's response; its store is false."},
    "EmbeddingList": {"type": "object", "description": "OpenAI's list of embeddings."},
    "ModelInfo": _object(
        dict.fromkeys(("model_name", "model_type", "model_provider_name"), STRING),
        "model_name",
        "model_type",
        "model_provider_name",
    ),
    "Model": _object({"id": STRING, "object": {"const": "model"}, "owned_by": STRING}),
    "ModelList": _object({"object": {"const": "list"}, "data": _list_of("Model")}, "data"),
    "State": _object({"status": STRING}),
    "Document": {"type": "object"},
    "NativeProblem": _problem(STRING),
    "Problem": _problem(
        _object(
            {
                "message": STRING,
                "type": STRING,
                "code": {"type": ["string", "null"]},
                "param": {"type": ["string", "null"]},
            }
        )
    ),
}


def schemas(models: Sequence[str]) -> dict[str, Any]:
    """Every schema; those that name models hold the configured ones."""
    return {**_FIXED, **_named(models)}


def _named(models: Sequence[str]) -> dict[str, Any]:
    return {
        "ChatRequest": _object(
            {
                "message": {"type": "string", "minLength": 1, "maxLength": 8000},
                "conversationId": {"type": ["string", "null"], "format": "uuid"},
                "model": {"enum": [*models, None]},
                "temperature": {"type": ["number", "null"], "minimum": 0, "maximum": 2},
                "maxTokens": {"type": ["integer", "null"], "minimum": 1, "maximum": 4000},
                "stream": {"type": ["boolean", "null"]},
            },
            "message",
            closed=True,
        ),
        "CompletionRequest": _object(
            {
                "model": {"enum": list(models)},
                "messages": {"type": "array", "items": _MESSAGE, "minItems": 1},
            },
            "model",
            "messages",
        ),
        "DeploymentCompletionRequest": _object(
            {"messages": {"type": "array", "items": _MESSAGE, "minItems": 1}}, "messages"
        ),
        "ResponseRequest": _object(
            {"model": {"enum": list(models)}, "input": _INPUT}, "model", "input"
        ),
        "EmbeddingRequest": _object(
            {"model": {"enum": list(models)}, "input": _TEXTS}, "model", "input"
        ),
        "DeploymentEmbeddingRequest": _object({"input": _TEXTS}, "input"),
    }
