"""The requests of each dialect: who reads them, and which names their protocols give."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from ostiary.exchange import Dialect
from ostiary.wire import embeddings, openai_chat, responses
from ostiary.wire.model_request import ModelRequest

PARSERS: Final[Mapping[Dialect, Callable[..., ModelRequest]]] = {
    Dialect.CHAT: openai_chat.parse,
    Dialect.RESPONSES: responses.parse,
    Dialect.EMBEDDINGS: embeddings.parse,
}
FIELD_NAMES: Final[Mapping[Dialect, frozenset[str]]] = {
    Dialect.CHAT: openai_chat.FIELD_NAMES,
    Dialect.RESPONSES: responses.FIELD_NAMES,
    Dialect.EMBEDDINGS: embeddings.FIELD_NAMES,
}
"""Names that each dialect's protocol gives: as names they carry no text of a person."""
