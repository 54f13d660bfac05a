"""The route table.

It drives dispatch, the test that walks every route with every role, and the OpenAPI document.
Authorisation is decided on the matched row, never on a rebuilt URL.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ostiary.exchange import Dialect, Face, Permission, Route

KIB, MIB = 1024, 1024 * 1024
_CHAT = Permission.CHAT_USE

_OPERATIONS = {
    Dialect.CHAT: "chat.completions",
    Dialect.RESPONSES: "responses",
    Dialect.EMBEDDINGS: "embeddings",
}


def _model_route(path: str, dialect: Dialect, *, default_model: bool = False) -> Route:
    """A row that asks a model in a dialect; those beside `/v1` speak Azure's shapes too."""
    return Route(
        "POST",
        path,
        _OPERATIONS[dialect],
        Face.OPENAI,
        _CHAT,
        converses=True,
        body_limit=10 * MIB,
        dialect=dialect,
        azure=not path.startswith("/v1/"),
        default_model=default_model,
    )


def _read_route(path: str, operation: str) -> Route:
    """A row that tells Azure's clients which models there are."""
    return Route("GET", path, operation, Face.OPENAI, _CHAT, azure=True)


OWN = (
    Route("GET", "/livez", "livez", Face.OPENAI, public=True),
    Route("GET", "/healthz", "livez", Face.OPENAI, public=True),
    Route("GET", "/readyz", "readyz", Face.OPENAI, public=True),
    Route("GET", "/startupz", "startupz", Face.OPENAI, public=True),
    Route("GET", "/openapi.json", "openapi", Face.OPENAI, public=True),
    Route("POST", "/api/chat", "chat", Face.NATIVE, _CHAT, converses=True, body_limit=256 * KIB),
    Route("GET", "/api/conversations", "conversations.list", Face.NATIVE, _CHAT),
    Route("GET", "/api/conversations/{id}", "conversations.read", Face.NATIVE, _CHAT),
    Route("DELETE", "/api/conversations/{id}", "conversations.delete", Face.NATIVE, _CHAT),
    Route("POST", "/api/keys", "keys.create", Face.NATIVE, body_limit=64 * KIB),
    Route("GET", "/api/keys", "keys.list", Face.NATIVE),
    Route("DELETE", "/api/keys/{id}", "keys.revoke", Face.NATIVE),
)

OPENAI = (
    _model_route("/v1/chat/completions", Dialect.CHAT),
    _model_route("/v1/responses", Dialect.RESPONSES),
    _model_route("/v1/embeddings", Dialect.EMBEDDINGS),
    Route("GET", "/v1/models", "models.list", Face.OPENAI, _CHAT),
    Route("GET", "/v1/models/{id}", "models.read", Face.OPENAI, _CHAT),
)

AZURE = (
    _model_route("/openai/deployments/{deployment}/chat/completions", Dialect.CHAT),
    _model_route("/openai/deployments/{deployment}/embeddings", Dialect.EMBEDDINGS),
    Route(
        "GET",
        "/openai/deployments/{deployment}/info",
        "models.info",
        Face.OPENAI,
        _CHAT,
        azure=True,
    ),
    _model_route("/openai/v1/chat/completions", Dialect.CHAT),
    _model_route("/openai/v1/responses", Dialect.RESPONSES),
    _model_route("/openai/v1/embeddings", Dialect.EMBEDDINGS),
    _read_route("/openai/v1/models", "models.list"),
    _read_route("/openai/v1/models/{id}", "models.read"),
    _model_route("/openai/chat/completions", Dialect.CHAT),
    _model_route("/openai/responses", Dialect.RESPONSES),
    _model_route("/openai/embeddings", Dialect.EMBEDDINGS),
    _read_route("/openai/models", "models.list"),
    _read_route("/openai/models/{id}", "models.read"),
    _model_route("/models/chat/completions", Dialect.CHAT, default_model=True),
    _model_route("/models/embeddings", Dialect.EMBEDDINGS, default_model=True),
    _read_route("/models/info", "models.info"),
    _model_route("/api/projects/{project}/openai/v1/chat/completions", Dialect.CHAT),
    _model_route("/api/projects/{project}/openai/v1/responses", Dialect.RESPONSES),
)
"""As Azure's SDKs call it: by deployment, by the v1 interface, by Foundry's model endpoint and
through a project. The project's name decides nothing: rights and models are this gateway's."""

ROUTES: tuple[Route, ...] = (*OWN, *OPENAI, *AZURE)

_STATEFUL = re.compile(
    r"(?:/v1|/openai(?:/v1)?|/api/projects/[^/]+/openai/v1)/"
    r"(?:(?:responses|chat/completions)/.|(?:assistants|batches|containers|conversations|evals|"
    r"files|fine_tuning|realtime|threads|uploads|vector_stores|videos)(?:/|\Z))"
)
"""How such a path begins: the rest is not looked at, however long somebody without a credential
makes it."""


def face_of(path: str) -> Face:
    """Whose shapes a refusal on a path takes; a project's models speak OpenAI's."""
    native = path.startswith("/api/") and not path.startswith("/api/projects/")
    return Face.NATIVE if native else Face.OPENAI


def names_stored_objects(path: str) -> bool:
    """Whether a path asks for what the provider keeps, which this gateway does not serve."""
    return _STATEFUL.match(path) is not None


_PARAMETER = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True, slots=True)
class Match:
    """What a path matched: a row, or the methods that the path has instead."""

    route: Route | None
    params: Mapping[str, str]
    allowed: tuple[str, ...] = ()


class Table:
    """Finds the row of a request; fixed paths by one look-up, the others one by one."""

    def __init__(self, routes: Iterable[Route] = ROUTES) -> None:
        """Take the rows; two rows of one method and path are a mistake."""
        self._fixed: dict[str, dict[str, Route]] = {}
        patterns: dict[str, dict[str, Route]] = {}
        for route in routes:
            rows = patterns if "{" in route.path else self._fixed
            methods = rows.setdefault(route.path, {})
            if route.method in methods:
                raise ValueError(f"two rows for {route.method} {route.path}")
            methods[route.method] = route
        self._patterns = [(_compile(path), methods) for path, methods in patterns.items()]

    def match(self, method: str, path: str) -> Match:
        """The row for a method and a decoded path; a parameter never holds a slash."""
        methods = self._fixed.get(path)
        params: Mapping[str, str] = {}
        if methods is None:
            for pattern, candidates in self._patterns:
                found = pattern.fullmatch(path)
                if found:
                    methods, params = candidates, found.groupdict()
                    break
        if methods is None:
            return Match(None, {})
        route = methods.get(method)
        return Match(route, params, () if route else tuple(sorted(methods)))


def _compile(path: str) -> re.Pattern[str]:
    return re.compile(_PARAMETER.sub(r"(?P<\1>[^/]{1,256})", path))
