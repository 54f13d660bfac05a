"""`POST /v1/embeddings`: the rules of a request."""

from __future__ import annotations

from typing import Final

from ostiary.wire.model_request import (
    MAX_PARTS,
    MAX_TOKENS,
    MemberRules,
    ModelRequest,
    RequestRuleError,
    body_of,
    is_list_of,
    model_of,
)
from ostiary.wire.strict_json import JSON

_RULES: Final = MemberRules(
    numbers={},
    integers={"dimensions": (1, MAX_TOKENS)},
    types={"encoding_format": ((str,), "a string"), "user": ((str,), "a string")},
)

FIELD_NAMES: Final = frozenset({*_RULES.names, "model", "input", "input_type"})
"""Names that the protocol gives: as names they carry no text of a person."""


def parse(tree: JSON, *, path_model: str | None = None) -> ModelRequest:
    """The request in `tree`, or RequestRuleError; an answer to it is no text, so `n` is 0.

    Token ids in the place of text are noted as opaque: no detector can read them.
    """
    body = body_of(tree)
    model = model_of(body.get("model"), path_model)
    _RULES.check(body)
    return ModelRequest(body=body, model=model, n=0, opaque=_unreadable(body.get("input")))


def _unreadable(given: JSON) -> tuple[str, ...]:
    if isinstance(given, str):
        return ()
    if not isinstance(given, list) or not given:
        raise RequestRuleError("input", "must be a string or a list of at least one string")
    if len(given) > MAX_PARTS and not is_list_of(given, int):
        raise RequestRuleError("input", f"must not hold more than {MAX_PARTS} texts")
    if is_list_of(given, str):
        return ()
    if is_list_of(given, int) or all(is_list_of(item, int) for item in given):
        return ("input:tokens",)
    raise RequestRuleError("input", "must be a string or a list of strings")
