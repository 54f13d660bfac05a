"""`/openapi.json`: OpenAPI 3.1, written from the route table, so that it cannot fall behind."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from ostiary.edge.schemas import REF, STRING, schemas
from ostiary.exchange import Dialect, Face, Route
from ostiary.operations.conversations import MOST

_PROBLEM = "application/problem+json"
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
    "responses": "OpenAI responses; whole, or streamed as server-sent events. Nothing is stored.",
    "embeddings": "Embeddings of texts.",
    "models.read": "One model.",
    "models.info": "What kind of model answers.",
}

_BODIES = {
    "chat": "ChatRequest",
    "keys.create": "NewKey",
    "chat.completions": "CompletionRequest",
    "responses": "ResponseRequest",
    "embeddings": "EmbeddingRequest",
}
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
    "models.info": "ModelInfo",
    "responses": "Response",
    "embeddings": "EmbeddingList",
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
            "schemas": schemas(list(models)),
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
        name = _BODIES[route.operation]
        if "deployment" in _PARAMETER.findall(route.path) or route.default_model:
            name = f"Deployment{name}"
        described["requestBody"] = {"required": True, "content": _json(name)}
    return described


def _parameters(route: Route) -> list[dict[str, Any]]:
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": STRING}
        for name in _PARAMETER.findall(route.path)
    ]
    if route.operation == "conversations.list":
        limit = {"type": "integer", "minimum": 1, "description": f"Capped at {MOST}."}
        parameters.append({"name": "limit", "in": "query", "schema": limit})
        parameters.append({"name": "cursor", "in": "query", "schema": STRING})
    return parameters


def _responses(route: Route) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    if route.operation in _EMPTY:
        responses["204"] = {"description": "Done."}
    else:
        status = "201" if route.operation == "keys.create" else "200"
        content = _json(_ANSWERS[route.operation])
        if route.converses and route.dialect is not Dialect.EMBEDDINGS:
            content["text/event-stream"] = {"schema": STRING}
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
            "content": {_PROBLEM: {"schema": {"$ref": REF + name}}},
        }
    return responses


def _json(schema: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": REF + schema}}}
