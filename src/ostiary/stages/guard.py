"""Output checks: no text leaves before its window has been judged; by the answer's dialect.

The inspection itself is in `answers/`: what the windows are, which texts are one channel, and
what a blocked answer looks like in its own wire shape.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from ostiary.answers.chat import ChatGuard
from ostiary.answers.embeddings import EmbeddingsGuard
from ostiary.answers.responses import ResponsesGuard
from ostiary.exchange import Dialect, Screened, Usage
from ostiary.policy import Policy
from ostiary.wire.tokens import estimate


class AnswerGuard(Protocol):
    """Judges one answer. Feed it the provider's events; it says what may leave."""

    @property
    def usage(self) -> Usage:
        """Tokens so far."""
        ...

    @property
    def findings(self) -> Mapping[str, int]:
        """How many findings of each kind the answer had."""
        ...

    @property
    def blocked(self) -> bool:
        """Whether the policy ended the answer."""
        ...

    @property
    def filter_results(self) -> dict[str, dict[str, bool]]:
        """What was found and done, as Azure's `content_filter_results` say it."""
        ...

    def release(self, event: dict[str, Any]) -> list[dict[str, Any]]:
        """What may leave of one event of a stream, now."""
        ...

    def finish(self) -> list[dict[str, Any]]:
        """The rest of a stream that ended whole or was blocked; empty where there was nothing."""
        ...

    def whole(self, event: dict[str, Any]) -> dict[str, Any]:
        """A whole answer, judged."""
        ...


def guard_answer(screened: Screened, policy: Policy) -> AnswerGuard:
    """The guard of an exchange's answer."""
    checked = screened.checked
    prompt = estimate(screened.body)
    dialect = checked.route.dialect
    if dialect is Dialect.RESPONSES:
        return ResponsesGuard(policy, prompt)
    if dialect is Dialect.EMBEDDINGS:
        return EmbeddingsGuard(policy, prompt)
    return ChatGuard(policy, prompt, include_usage=checked.include_usage)
