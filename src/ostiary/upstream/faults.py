"""What each fault of a provider means for the caller: a refusal in the gateway's own words.

Of what a provider says in an error only this passes: a code out of a closed list, the name of a
member of the request, and the verdicts of its content filter on categories that are known.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any, Final

import msgspec

from ostiary.errors import (
    MalformedRequest,
    ProviderFailed,
    ProviderFiltered,
    ProviderSilent,
    Refusal,
    ServiceUnavailable,
    TooManyRequests,
)
from ostiary.wire.content_filter import sanitised

LAYER: Final = "forward"
LONGEST_RETRY: Final = 86_400.0
UNREACHABLE, UNCONNECTED, BREAKER = "provider-unreachable", "provider-connect", "provider-breaker"
SILENCE = "provider-silence"
# After these the provider counts as failing, like after a 5xx.
FAILING: Final = frozenset({UNREACHABLE, UNCONNECTED, SILENCE})
ABOUT_THE_REQUEST: Final = frozenset({400, 413, 422})

_TOO_LONG: Final = "The input is longer than the model takes."
_REJECTED: Final = "The model's provider does not take this request as it is."
_CODES: Final = frozenset(
    {
        *("context_length_exceeded", "string_above_max_length", "string_below_min_length"),
        *("array_above_max_length", "array_below_min_length", "empty_array"),
        *("integer_above_max_value", "integer_below_min_value"),
        *("decimal_above_max_value", "decimal_below_min_value"),
        *("unsupported_parameter", "unsupported_value", "unknown_parameter"),
        *("invalid_value", "invalid_type", "missing_required_parameter"),
        *("invalid_function_parameters", "invalid_json_schema", "invalid_prompt"),
        *("invalid_image", "invalid_image_format", "invalid_base64_image", "image_too_large"),
    }
)
# Codes under a 400 that speak of our configuration, not of the caller's request.
_OURS: Final = frozenset({"model_not_found", "DeploymentNotFound", "unsupported_api_version"})

_FILTERED: Final = frozenset({"content_filter", "ResponsibleAIPolicyViolation"})
_MEMBER: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")


def failed(rule: str, message: str) -> ProviderFailed:
    """502, under the rule `provider-…`."""
    return ProviderFailed(message, layer=LAYER, rule=f"provider-{rule}")


def silent() -> ProviderSilent:
    """504: nothing came for longer than the provider may be silent."""
    return ProviderSilent("The model was silent for too long.", layer=LAYER, rule=SILENCE)


def unconnected() -> ProviderSilent:
    """504: no connection was made in time, so the provider cannot have begun."""
    return ProviderSilent("No connection to the model came about.", layer=LAYER, rule=UNCONNECTED)


def unreachable() -> ProviderFailed:
    """502: there is no connection, so the provider cannot have begun."""
    return ProviderFailed("The model cannot be reached.", layer=LAYER, rule=UNREACHABLE)


def barred() -> ProviderFailed:
    """502: the provider's name leads to an address where nothing of ours may go."""
    return failed(
        "egress",
        "The model's host leads to an address that the gateway does not connect to. The operator "
        "finds out more with `ostiary network verify`.",
    )


def left_alone(wait: float) -> ServiceUnavailable:
    """503: the provider failed too often and is left alone for a while."""
    return ServiceUnavailable(
        "The model failed too often and is left alone for a moment.",
        layer=LAYER,
        rule=BREAKER,
        retry_after=wait,
    )


def goes_elsewhere(refusal: Refusal) -> bool:
    """Whether the next provider may be asked: this one surely did not begin to answer."""
    return isinstance(refusal, TooManyRequests | ServiceUnavailable) or refusal.rule in {
        UNREACHABLE,
        UNCONNECTED,
    }


def of_status(status: int, wait: float | None) -> Refusal:
    """The refusal for a status that says nothing about the request itself."""
    if status == 429:
        return TooManyRequests(
            "The model is at its limit.",
            layer=LAYER,
            rule="provider-429",
            retry_after=wait or 1.0,
        )
    if status == 503:
        return ServiceUnavailable(
            "The model is not available now.",
            layer=LAYER,
            rule="provider-503",
            retry_after=wait or 1.0,
        )
    return failed("status", f"The model answered with status {status}.")


def of_rejection(status: int, body: bytes | None, request: Mapping[str, Any]) -> Refusal:
    """The refusal for a 400, 413 or 422 with this body (None: it could not be read whole).

    A body that is no JSON object does not come from a model: 502, but 413 says all by itself.
    """
    error = _error_of(body)
    if error is None:
        return of_status(status, None) if status != 413 else _rejected(_REJECTED, "", None)
    inner = error.get("innererror")
    inner = inner if isinstance(inner, dict) else {}
    if _is(error.get("code"), _FILTERED) or _is(inner.get("code"), _FILTERED):
        return ProviderFiltered(
            "The content filter of the model's provider blocked the request.",
            filter_result=_verdicts(inner) or _verdicts(error),
            layer=LAYER,
            rule="provider-content-filter",
        )
    code = error.get("code")
    if _is(code, _OURS):
        return of_status(status, None)
    known = str(code) if _is(code, _CODES) else ""
    message = _TOO_LONG if known == "context_length_exceeded" else _REJECTED
    return _rejected(message, known, _param(error.get("param"), request))


def _rejected(message: str, code: str, param: str | None) -> MalformedRequest:
    return MalformedRequest(
        message,
        layer=LAYER,
        rule="provider-rejected",
        code=code or "provider_rejected",
        param=param,
    )


def _error_of(body: bytes | None) -> dict[str, Any] | None:
    """The error object: under `error` (OpenAI), or the body itself (as smaller servers do)."""
    try:
        tree = msgspec.json.decode(body or b"")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if not isinstance(tree, dict):
        return None
    error = tree.get("error")
    return error if isinstance(error, dict) else tree


def _is(code: object, known: frozenset[str]) -> bool:
    return isinstance(code, str) and code in known


def _param(named: object, request: Mapping[str, Any]) -> str | None:
    """The top-level member of the request that `messages[0].content` and the like begin with."""
    found = _MEMBER.match(named) if isinstance(named, str) else None
    if found is None or not isinstance(named, str):
        return None
    rest = named[found.end() :]
    return found[0] if found[0] in request and rest[:1] in {"", ".", "["} else None


def _verdicts(holder: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The filter's verdicts; the wire has the singular key, the documents the plural."""
    said = holder.get("content_filter_result") or holder.get("content_filter_results")
    return {name: verdict for name, verdict in sanitised(said).items() if verdict}


def retry_after(value: str | None, now: float) -> float | None:
    """Seconds that a Retry-After header asks for (RFC 9110 §10.2.3), at most a day, or None."""
    if not value:
        return None
    if value.isascii() and value.isdigit():
        return min(float(value[:9]), LONGEST_RETRY)
    try:
        seconds = parsedate_to_datetime(value).timestamp() - now
    except (ValueError, OverflowError):
        return None
    return min(max(0.0, seconds), LONGEST_RETRY)
