"""The guard of embeddings: numbers pass, whatever else is said beside them is judged as text."""

from __future__ import annotations

import base64
import binascii
import math
import sys
from array import array
from typing import Any

from ostiary.answers.inspector import Inspector, shapeless

_NUMBERS = frozenset({int, float})
_FLOAT_BYTES = 4
_LARGEST = 1e9
"""No embedding comes near it; sixteen digits, read as base64 of floats, are far beyond."""


class EmbeddingsGuard(Inspector):
    """Judges one answer; there is no stream of embeddings."""

    known_keys = frozenset({"object", "data", "model", "usage", "index", "embedding", "id"})

    def release(self, event: dict[str, Any]) -> list[dict[str, Any]]:
        """Nothing: a stream was never asked for."""
        del event
        return []

    def finish(self) -> list[dict[str, Any]]:
        """Nothing: see `release`."""
        return []

    def whole(self, event: dict[str, Any]) -> dict[str, Any]:
        """The answer, its vectors untouched, every text judged."""
        self._whole = True
        self._count_usage(event.get("usage"), "prompt_tokens", None)
        vectors = [_vector(item.get("embedding")) for item in event["data"]]
        rest = [{k: v for k, v in item.items() if k != "embedding"} for item in event["data"]]
        released: dict[str, Any] = self._judge(
            {**event, "data": rest, "usage": None}, ("embeddings",)
        )
        for item, vector in zip(released["data"], vectors, strict=True):
            item["embedding"] = vector
        if self._usage is None:
            usage = self.usage
            self._usage = {"prompt_tokens": usage.prompt, "total_tokens": usage.total}
        released["usage"] = self._usage
        return released


def _vector(embedding: Any) -> list[Any] | str:
    """A vector that is one: a list of numbers, or base64 of 32-bit floats, and no text."""
    if isinstance(embedding, list) and set(map(type, embedding)) <= _NUMBERS:
        return embedding
    if isinstance(embedding, str) and _is_floats(embedding):
        return embedding
    raise shapeless("holds an embedding that is not made of numbers")


def _is_floats(text: str) -> bool:
    """Whether this is base64 of little-endian floats of a vector's size, and not a text."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return False
    if len(data) % _FLOAT_BYTES or base64.b64encode(data).decode() != text:
        return False
    floats = array("f", data)
    if sys.byteorder == "big":
        floats.byteswap()
    # What is no number makes no sum.
    return not floats or (
        math.isfinite(sum(floats)) and min(floats) > -_LARGEST and max(floats) < _LARGEST
    )
