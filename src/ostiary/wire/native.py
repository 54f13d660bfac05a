"""`POST /api/chat`: the founding page's chat request, each field with its rule."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from ostiary.errors import OstiaryError
from ostiary.wire.strict_json import JSON
from ostiary.wire.value_rules import is_integer, is_number

MAX_MESSAGE: Final = 8000
MAX_TOKENS: Final = 4000
MAX_TEMPERATURE: Final = 2
FIELDS: Final = ("message", "conversationId", "model", "temperature", "maxTokens", "stream")

_UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE | re.ASCII)

# White space (Unicode White_Space), and the zero-width characters that show as nothing.
_BLANK_RANGES: Final = (
    *(range(0x09, 0x0E), range(0x1C, 0x21), range(0x85, 0x86), range(0xA0, 0xA1)),
    *(range(0x1680, 0x1681), range(0x2000, 0x200E), range(0x2028, 0x202A), range(0x202F, 0x2030)),
    *(range(0x205F, 0x2061), range(0x3000, 0x3001), range(0xFEFF, 0xFF00)),
)
_BLANK: Final = "".join(chr(point) for points in _BLANK_RANGES for point in points)


class NativeChatError(OstiaryError, ValueError):
    """One or more fields break their rule; `details` holds `{"field", "message"}` for each."""

    def __init__(self, details: Sequence[dict[str, str]]) -> None:
        """Take every fault that was found; none quotes a value or a name from the request."""
        super().__init__("the request has wrong fields: " + ", ".join(d["field"] for d in details))
        self.details = list(details)


@dataclass(frozen=True, slots=True)
class NativeChat:
    """A chat request whose form is right; what was absent or null is None (`stream`: False)."""

    message: str = field(repr=False)
    conversation_id: str | None
    """In lower case, 8-4-4-4-12."""
    model: str | None
    temperature: float | None
    max_tokens: int | None
    stream: bool


def parse(body: JSON, *, models: Collection[str]) -> NativeChat:
    """The request in `body`; raises NativeChatError with all faults at once.

    `models` are the names that may be asked for. Lengths are in code points. A name that the
    route does not know is a fault of `body`, which does not repeat it.
    """
    if not isinstance(body, dict):
        raise NativeChatError([_fault("body", "must be a JSON object")])
    details = list(_faults(body, models))
    if details:
        raise NativeChatError(details)

    conversation_id = body.get("conversationId")
    return NativeChat(
        message=body["message"],
        conversation_id=None if conversation_id is None else conversation_id.lower(),
        model=body.get("model"),
        temperature=body.get("temperature"),
        max_tokens=body.get("maxTokens"),
        stream=body.get("stream") is True,
    )


def _faults(body: dict[str, Any], models: Collection[str]) -> list[dict[str, str]]:
    """Every fault, in the order of FIELDS; unknown names last."""
    message, conversation_id, model, temperature, max_tokens, stream = map(body.get, FIELDS)
    faults: list[dict[str, str]] = []

    if not isinstance(message, str) or not 1 <= len(message) <= MAX_MESSAGE:
        faults.append(_fault("message", f"must be a text of 1 to {MAX_MESSAGE} characters"))
    elif not message.strip(_BLANK):
        faults.append(_fault("message", "must not be blank"))

    if conversation_id is not None and not (
        isinstance(conversation_id, str) and _UUID.fullmatch(conversation_id)
    ):
        faults.append(_fault("conversationId", "must be a UUID"))
    if model is not None and not (isinstance(model, str) and model in models):
        faults.append(_fault("model", "must be one of " + ", ".join(sorted(models))))
    if temperature is not None and not is_number(temperature, 0, MAX_TEMPERATURE):
        faults.append(_fault("temperature", f"must be a number from 0 to {MAX_TEMPERATURE}"))
    if max_tokens is not None and not is_integer(max_tokens, 1, MAX_TOKENS):
        faults.append(_fault("maxTokens", f"must be an integer from 1 to {MAX_TOKENS}"))
    if stream is not None and not isinstance(stream, bool):
        faults.append(_fault("stream", "must be true or false"))

    if not body.keys() <= set(FIELDS):
        faults.append(_fault("body", "has an unknown field; known are " + ", ".join(FIELDS)))
    return faults


def _fault(name: str, message: str) -> dict[str, str]:
    return {"field": name, "message": message}
