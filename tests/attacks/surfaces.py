"""The surfaces that ask a model, by dialect, and a request that each of them takes."""

from __future__ import annotations

from typing import Any

from tests.simulator.client import bearer, send
from tests.simulator.gateway import Gateway

EMAIL = "canary.jones@example.com"
MODELS = ("gpt-4o", "gpt-4o-mini", "text-embedding-3-small")
CHAT = (
    "/v1/chat/completions",
    "/openai/v1/chat/completions",
    "/openai/chat/completions?api-version=2024-10-21",
    "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21",
    "/models/chat/completions?api-version=2024-05-01-preview",
    "/api/projects/p/openai/v1/chat/completions",
)
RESPONSES = (
    "/v1/responses",
    "/openai/v1/responses",
    "/openai/responses?api-version=2025-03-01-preview",
    "/api/projects/p/openai/v1/responses",
)
EMBEDDINGS = (
    "/v1/embeddings",
    "/openai/v1/embeddings",
    "/openai/embeddings",
    "/openai/deployments/text-embedding-3-small/embeddings?api-version=2024-10-21",
    "/models/embeddings",
)
SURFACES = (*CHAT, *RESPONSES, *EMBEDDINGS)


def asking(path: str, text: str = "hi", **more: Any) -> dict[str, Any]:
    """A request of the surface's dialect."""
    if path in EMBEDDINGS:
        return {"model": "text-embedding-3-small", "input": text, **more}
    if path in RESPONSES:
        return {"model": "gpt-4o", "input": text, **more}
    return {"model": "gpt-4o", "messages": [{"role": "user", "content": text}], **more}


def ask(gateway: Gateway, path: str, body: Any = None, **headers: str):
    body = asking(path) if body is None else body
    return send(gateway.url, "POST", path, body, {**bearer(gateway.key), **headers})


def is_azure(path: str) -> bool:
    return not path.startswith("/v1/")
