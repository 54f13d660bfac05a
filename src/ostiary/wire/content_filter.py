"""Azure's content-filter shapes: results of categories, in answers and in refusals.

An upstream's results pass only as what they are: known category names with flags and severities.
Ours stand beside them under the name that Azure gives its own detector of personal data.
Source: Azure OpenAI, content filtering annotations.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from ostiary.wire.strict_json import JSON
from ostiary.wire.value_rules import is_integer

PERSONAL: Final = "personally_identifiable_information"
CATEGORIES: Final = frozenset(
    {
        *("hate", "sexual", "violence", "self_harm", "profanity", "jailbreak", "indirect_attack"),
        *("protected_material_text", "protected_material_code", "custom_blocklists", PERSONAL),
        *("task_adherence", "ungrounded_material", "error"),
    }
)
_FLAGS: Final = frozenset({"filtered", "detected", "redacted"})
_SEVERITIES: Final = frozenset({"safe", "low", "medium", "high"})
_OFFSETS: Final = ("check_offset", "start_offset", "end_offset")
MOST_PROMPTS: Final = 2_048


def sanitised(results: JSON) -> dict[str, dict[str, Any]]:
    """The categories of an upstream's results, with their flags and severities and no text."""
    if not isinstance(results, dict):
        return {}
    return {
        category: _verdict(verdict)
        for category, verdict in results.items()
        if category in CATEGORIES and isinstance(verdict, dict)
    }


def sanitised_prompts(results: JSON) -> list[dict[str, Any]]:
    """`prompt_filter_results` with nothing but positions and verdicts."""
    items = results[:MOST_PROMPTS] if isinstance(results, list) else []
    return [
        {
            "prompt_index": item["prompt_index"],
            "content_filter_results": sanitised(item.get("content_filter_results")),
        }
        for item in items
        if isinstance(item, dict) and is_integer(item.get("prompt_index"), 0, MOST_PROMPTS)
    ]


def sanitised_filters(filters: JSON) -> list[dict[str, Any]]:
    """`content_filters` of a response: what was looked at, whether it was blocked, the verdicts."""
    items = filters[:MOST_PROMPTS] if isinstance(filters, list) else []
    return [
        {
            "blocked": item.get("blocked") is True,
            "source_type": "prompt" if item.get("source_type") == "prompt" else "completion",
            "content_filter_results": sanitised(item.get("content_filter_results")),
            **_offsets(item.get("content_filter_offsets")),
        }
        for item in items
        if isinstance(item, dict)
    ]


def _offsets(offsets: JSON) -> dict[str, dict[str, int]]:
    """How far an asynchronous filter has looked, where it says so."""
    if not isinstance(offsets, dict):
        return {}
    kept = {name: offsets[name] for name in _OFFSETS if type(offsets.get(name)) is int}
    return {"content_filter_offsets": kept}


def personal_data(*, detected: bool, redacted: bool, filtered: bool) -> dict[str, dict[str, bool]]:
    """Our own result: whether personal data was found, taken out, or the reason of a refusal."""
    return {PERSONAL: {"filtered": filtered, "detected": detected, "redacted": redacted}}


def refusal_detail(results: Mapping[str, Any]) -> dict[str, Any]:
    """`innererror` of a blocked prompt; the key of the results is singular on the wire."""
    return {"code": "ResponsibleAIPolicyViolation", "content_filter_result": dict(results)}


def blocked_by(kinds: Iterable[str]) -> dict[str, dict[str, bool]]:
    """The kinds that our policy blocked, as categories of their own."""
    return {kind: {"filtered": True, "detected": True} for kind in kinds}


def _verdict(verdict: Mapping[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {
        flag: value for flag, value in verdict.items() if flag in _FLAGS and type(value) is bool
    }
    severity = verdict.get("severity")
    if isinstance(severity, str) and severity in _SEVERITIES:
        kept["severity"] = severity
    return kept
