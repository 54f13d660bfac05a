"""What every request to a model has, in whatever dialect, and the error of one that breaks a rule.

The rules are those of OpenAI's API reference where a wrong value could deceive a check or cost
more than was reserved. Whatever has no rule is left in the body untouched: new fields of new
clients survive, and are inspected as texts like all others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from ostiary.errors import OstiaryError
from ostiary.wire.strict_json import JSON
from ostiary.wire.value_rules import is_integer, is_number

MAX_MODEL: Final = 256
MAX_PARTS: Final = 2048
MAX_TOKENS: Final = 2**31 - 1
MAX_FIELD_NAME: Final = 256

STATEFUL: Final = "stateful_not_supported"
"""The code of a request that names what a provider keeps."""

SAMPLING: Final[Mapping[str, tuple[float, float]]] = {
    "temperature": (0.0, 2.0),
    "top_p": (0.0, 1.0),
    "presence_penalty": (-2.0, 2.0),
    "frequency_penalty": (-2.0, 2.0),
}
"""The ranges of the numbers that steer sampling, wherever they may stand."""

Types = Mapping[str, tuple[tuple[type, ...], str]]


class RequestRuleError(OstiaryError, ValueError):
    """A field breaks a rule. `field` is OpenAI's `param`: our own words and indices, no input."""

    def __init__(self, field: str, message: str, *, code: str | None = None) -> None:
        """Take the path of the field, a public sentence that quotes no value, and a code of it."""
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message
        self.code = code


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """A request whose form is right.

    `body` is the tree as it was sent, not a copy. `max_tokens` is the most that one answer may
    have, `n` how many answers there are (0 where an answer is no text), so that a reservation
    covers every reading. `opaque` names each part that no detector can read, as
    `messages[0].content[1]:image_url`, without a word of the input.
    """

    body: dict[str, Any] = field(repr=False)
    model: str = field(repr=False)
    stream: bool = False
    n: int = 1
    max_tokens: int | None = None
    include_usage: bool = False
    opaque: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MemberRules:
    """The rules of a body's members: ranges of numbers and integers, types, lists of objects."""

    numbers: Mapping[str, tuple[float, float]]
    integers: Mapping[str, tuple[int, int]]
    types: Types
    lists_of_objects: tuple[str, ...] = ()

    def check(self, body: Mapping[str, Any]) -> None:
        """Raise RequestRuleError for the first member that breaks its rule; null is absent."""
        for name, value in body.items():
            if value is None:
                continue
            if name in self.numbers:
                low, high = self.numbers[name]
                if not is_number(value, low, high):
                    raise RequestRuleError(name, f"must be a number from {low:g} to {high:g}")
            elif name in self.integers:
                least, most = self.integers[name]
                if not is_integer(value, least, most):
                    raise RequestRuleError(name, f"must be an integer from {least} to {most}")
            elif name in self.types:
                types, wanted = self.types[name]
                if type(value) not in types:
                    raise RequestRuleError(name, f"must be {wanted}")
            elif name in self.lists_of_objects and not is_list_of(value, dict):
                raise RequestRuleError(name, "must be a list of objects")

    @property
    def names(self) -> frozenset[str]:
        """Every member that has a rule."""
        return frozenset({*self.numbers, *self.integers, *self.types, *self.lists_of_objects})


def body_of(tree: JSON) -> dict[str, Any]:
    """The object that a request must be, whose names are not too long."""
    if not isinstance(tree, dict):
        raise RequestRuleError("body", "must be a JSON object")
    if max(map(len, tree), default=0) > MAX_FIELD_NAME:
        raise RequestRuleError("body", f"has a field name longer than {MAX_FIELD_NAME} characters")
    return tree


def model_of(value: JSON, path_model: str | None) -> str:
    """The model that is used: the one that the path names, else the body's.

    Where the path names one (Azure's deployments) the body need not, and where both do the path
    decides, as it does at Azure. Whether the model exists is not decided here.
    """
    if value is None and path_model is not None:
        return path_model
    if not isinstance(value, str) or not value or len(value) > MAX_MODEL:
        raise RequestRuleError("model", f"must be a name of 1 to {MAX_MODEL} characters")
    return value if path_model is None else path_model


def is_list_of(value: JSON, kind: type) -> bool:
    """Whether this is a list of nothing else."""
    return isinstance(value, list) and all(type(item) is kind for item in value)
