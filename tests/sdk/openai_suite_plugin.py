"""A pytest plugin for the test-suite of openai-python: it gives the suite a key of the gateway.

With OSTIARY_SUITE_AMENDED it also takes out of each request what the gateway refuses on purpose,
so that all the rest of the fullest requests is judged too. It runs in the suite's own Python, where
nothing of Ostiary is installed.
"""

from __future__ import annotations

import os
import sys
from typing import Any

KEY = "OSTIARY_SUITE_KEY"
AMENDED = "OSTIARY_SUITE_AMENDED"

# Each would make the provider keep or look up something, or run after the answer.
_STATEFUL = ("conversation", "previous_response_id", "prompt", "background")


def pytest_collection_finish(session: Any) -> None:
    """The suite's clients are made with `tests.conftest.api_key`: set it before the first one."""
    if KEY in os.environ:
        sys.modules["tests.conftest"].api_key = os.environ[KEY]
    if AMENDED in os.environ:
        _amend_requests()


def _amend_requests() -> None:
    from openai._base_client import BaseClient  # noqa: PLC0415 - the suite's own, not ours

    build = BaseClient._build_request

    def build_amended(self: Any, options: Any, **more: Any) -> Any:
        if isinstance(options.json_data, dict):
            options.json_data = amended(options.url, options.json_data)
        return build(self, options, **more)

    BaseClient._build_request = build_amended


def amended(path: str, body: dict[str, Any]) -> dict[str, Any]:
    """The same request without what is refused: a limit of 0, state, no model at all."""
    body = dict(body)
    for name in ("max_tokens", "max_completion_tokens", "max_tool_calls"):
        if body.get(name) == 0:
            body[name] = 1
    if path == "/responses":
        for name in _STATEFUL:
            body.pop(name, None)
        body.setdefault("model", "gpt-5.1")
        body.setdefault("input", "string")
    return body
