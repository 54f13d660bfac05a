"""The route table.

It drives dispatch, the test that walks every route with every role, and the OpenAPI document.
Authorisation is decided on the matched row, never on a rebuilt URL.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ostiary.exchange import Face, Permission, Route

KIB, MIB = 1024, 1024 * 1024
_CHAT = Permission.CHAT_USE

ROUTES: tuple[Route, ...] = (
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
    Route(
        "POST",
        "/v1/chat/completions",
        "chat.completions",
        Face.OPENAI,
        _CHAT,
        converses=True,
        body_limit=10 * MIB,
    ),
    Route("GET", "/v1/models", "models.list", Face.OPENAI, _CHAT),
    Route("GET", "/v1/models/{id}", "models.read", Face.OPENAI, _CHAT),
)

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
