"""Where each of the model's interfaces lies below a base URL, in OpenAI's own words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ostiary.exchange import Dialect

PATHS: Final[Mapping[Dialect, str]] = {
    Dialect.CHAT: "/chat/completions",
    Dialect.RESPONSES: "/responses",
    Dialect.EMBEDDINGS: "/embeddings",
}
