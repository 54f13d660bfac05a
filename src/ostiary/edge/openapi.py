"""`/openapi.json`: OpenAPI 3.1, written from the route table, so that it cannot fall behind."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from ostiary.exchange import Face, Route
from ostiary.operations.conversations import MOST

_PROBLEM = "application/problem+json"
_REF = "#/components/schemas/"
_PARAMETER = re.compile(r"\{(\w+)\}")

_SUMMARIES = {
    "livez": "Whether the process lives.",
    "readyz": "Whether requests can be served.",
    "startupz": "Whether the start is over.",
    "openapi": "This document.",
    "chat": "Say something in a conversation; whole, or streamed as server-sent events.",
    "conversations.list": "The caller's conversations, newest first.",
    "conversations.read": "One conversation with its messages.",
    "conversations.delete": "Delete a conversation and its messages.",
    "keys.create": "Make an API key; it is shown once.",
    "keys.list": "The caller's API keys.",
    "keys.revoke": "Revoke an API key; it is dead at its next request.",
    "chat.completions": "OpenAI chat completions; whole, or streamed as server-sent events.",
    "models.list": "The models that may be named.",
    "models.read": "One model.",
}

_STRING = {"type": "string"}
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
    return {"type": "array", "items": {"$ref": _REF + name}}


def _schemas(models: Iterable[str]) -> dict[str, Any]:
    usage = _object({n: _COUNT for n in ("promptTokens", "completionTokens", "totalTokens")})
    warning = _object(
        {
            "detected": {"const": True},
            "types": {"type": "array", "items": _STRING},
            "message": _STRING,
        }
    )
    message = _object(
        {
            "role": {
                "enum": ["system", "developer", "user", "assistant", "tool", "function"],
            },
            "content": {
                "oneOf": [_STRING, {"type": "array", "items": {"type": "object"}, "minItems": 1}]
            },
        },
        "role",
    )
    key = {
        "keyId": _UUID,
        "name": _STRING,
        "permissions": {"type": "array", "items": _STRING},
        "state": {"enum": ["active", "expired", "revoked"]},
        "createdAt": _TIME,
        "expiresAt": _TIME,
        "lastUsed": _TIME,
    }
    conversation = {
        "id": _UUID,
        "createdAt": _TIME,
        "updatedAt": _TIME,
        "messageCount": _COUNT,
    }
    said = _object({"id": _UUID, "role": _STRING, "content": _STRING})
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
        "ChatAnswer": _object(
            {
                "id": _STRING,
                "conversationId": _UUID,
                "model": _STRING,
                "response": _STRING,
                "usage": usage,
                "warning": warning,
            },
            "id",
            "conversationId",
            "model",
            "response",
            "usage",
        ),
        "Conversation": _object({**conversation, "messages": {"type": "array", "items": said}}),
        "ConversationPage": _object(
            {
                "data": {"type": "array", "items": _object(conversation)},
                "nextCursor": {"type": ["string", "null"]},
            },
            "data",
            "nextCursor",
        ),
        "NewKey": _object(
            {
                "name": {"type": "string", "minLength": 1, "maxLength": 200},
                "permissions": {"type": "array", "items": _STRING},
                "expiresIn": {"type": ["integer", "null"], "minimum": 1},
            },
            "name",
            closed=True,
        ),
        "CreatedKey": _object(
            {"apiKey": _STRING, "keyId": _UUID, "permissions": {"type": "array", "items": _STRING}},
            "apiKey",
            "keyId",
            "permissions",
        ),
        "Key": _object(key),
        "KeyList": _object({"data": _list_of("Key")}, "data"),
        "Completion": {"type": "object", "description": "OpenAI's chat.completion."},
        "CompletionRequest": _object(
            {
                "model": {"enum": list(models)},
                "messages": {"type": "array", "items": message, "minItems": 1},
            },
            "model",
            "messages",
        ),
        "Model": _object({"id": _STRING, "object": {"const": "model"}, "owned_by": _STRING}),
        "ModelList": _object({"object": {"const": "list"}, "data": _list_of("Model")}, "data"),
        "State": _object({"status": _STRING}),
        "Document": {"type": "object"},
        "NativeProblem": _problem(_STRING),
        "Problem": _problem(
            _object(
                {
                    "message": _STRING,
                    "type": _STRING,
                    "code": {"type": ["string", "null"]},
                    "param": {"type": ["string", "null"]},
                }
            )
        ),
    }


def _problem(error: dict[str, Any]) -> dict[str, Any]:
    return _object(
        {
            "error": error,
            "type": _STRING,
            "title": _STRING,
            "status": {"type": "integer"},
            "detail": _STRING,
            "requestId": _UUID,
            "layer": _STRING,
            "rule": _STRING,
            "details": {"type": "array", "items": {"type": "object"}},
        },
        *("error", "type", "title", "status", "detail", "requestId", "layer", "rule"),
    )


_BODIES = {"chat": "ChatRequest", "keys.create": "NewKey", "chat.completions": "CompletionRequest"}
_ANSWERS = {
    "livez": "State",
    "readyz": "State",
    "startupz": "State",
    "openapi": "Document",
    "chat": "ChatAnswer",
    "conversations.list": "ConversationPage",
    "conversations.read": "Conversation",
    "keys.create": "CreatedKey",
    "keys.list": "KeyList",
    "chat.completions": "Completion",
    "models.list": "ModelList",
    "models.read": "Model",
}
_EMPTY = frozenset({"conversations.delete", "keys.revoke"})


def document(routes: Iterable[Route], models: Iterable[str], version: str) -> dict[str, Any]:
    """The OpenAPI document of these routes."""
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Ostiary", "version": version, "license": {"name": "Apache-2.0"}},
        "paths": paths,
        "components": {
            "schemas": _schemas(list(models)),
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "x-api-key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
                "api-key": {"type": "apiKey", "in": "header", "name": "api-key"},
            },
        },
    }


def _operation(route: Route) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": f"{route.operation}:{route.path.strip('/')}",
        "summary": _SUMMARIES[route.operation],
        "parameters": _parameters(route),
        "responses": _responses(route),
        "security": [] if route.public else [{"bearer": []}, {"x-api-key": []}, {"api-key": []}],
    }
    if route.permission is not None:
        described["x-permission"] = route.permission.value
    if route.operation in _BODIES:
        described["requestBody"] = {"required": True, "content": _json(_BODIES[route.operation])}
    return described


def _parameters(route: Route) -> list[dict[str, Any]]:
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": _STRING}
        for name in _PARAMETER.findall(route.path)
    ]
    if route.operation == "conversations.list":
        limit = {"type": "integer", "minimum": 1, "description": f"Capped at {MOST}."}
        parameters.append({"name": "limit", "in": "query", "schema": limit})
        parameters.append({"name": "cursor", "in": "query", "schema": _STRING})
    return parameters


def _responses(route: Route) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    if route.operation in _EMPTY:
        responses["204"] = {"description": "Done."}
    else:
        status = "201" if route.operation == "keys.create" else "200"
        content = _json(_ANSWERS[route.operation])
        if route.converses:
            content["text/event-stream"] = {"schema": _STRING}
        responses[status] = {"description": "Done.", "content": content}
    statuses = [] if route.public else ["400", "401", "403", "404", "421", "429", "503"]
    if route.operation == "readyz":
        responses["503"] = {"description": "Not ready.", "content": _json("State")}
    if route.body_limit:
        statuses += ["413", "415"]
    if route.converses:
        statuses += ["409", "502", "504"]
    name = "NativeProblem" if route.face is Face.NATIVE else "Problem"
    for status in sorted(statuses):
        responses[status] = {
            "description": "Refused; the body says why.",
            "content": {_PROBLEM: {"schema": {"$ref": _REF + name}}},
        }
    return responses


def _json(schema: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": _REF + schema}}}
