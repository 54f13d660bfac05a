"""`POST /v1/responses`: the rules of a request.

What would make the provider keep something, or answer from what it kept, is refused: earlier
responses, conversations, stored prompts and files belong to somebody, and nobody here could say
to whom.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ostiary.wire.model_request import (
    MAX_PARTS,
    MAX_TOKENS,
    SAMPLING,
    STATEFUL,
    MemberRules,
    ModelRequest,
    RequestRuleError,
    body_of,
    model_of,
)
from ostiary.wire.openai_chat import ROLES, check_url
from ostiary.wire.strict_json import JSON

MAX_ITEMS: Final = 2048

_RULES: Final = MemberRules(
    numbers=SAMPLING,
    integers={
        "max_output_tokens": (1, MAX_TOKENS),
        "max_tool_calls": (0, MAX_TOKENS),
        "top_logprobs": (0, 20),
    },
    types={
        "stream": ((bool,), "true or false"),
        "store": ((bool,), "true or false"),
        "background": ((bool,), "true or false"),
        "parallel_tool_calls": ((bool,), "true or false"),
        "instructions": ((str, list), "a string"),
        "stream_options": ((dict,), "an object"),
        "reasoning": ((dict,), "an object"),
        "metadata": ((dict,), "an object"),
        "text": ((dict,), "an object"),
        "tool_choice": ((str, dict), "a string or an object"),
        "include": ((list,), "a list"),
    },
    lists_of_objects=("tools",),
)

_TEXT_PARTS: Final[Mapping[str, str]] = {
    "input_text": "text",
    "output_text": "text",
    "summary_text": "text",
    "reasoning_text": "text",
    "text": "text",
    "refusal": "refusal",
}
_OPAQUE_MEMBERS: Final = frozenset(
    {"image_url", "file_data", "file_url", "input_audio", "audio", "video_url"}
)
_KEPT_FILES: Final = ("file_id", "file_ids", "vector_store_ids", "container_id", "skill_id")
_SCHEMAS: Final = frozenset({"parameters", "schema", "input_schema"})
_OPAQUE_ITEMS: Final = frozenset({"computer_call_output", "image_generation_call"})
_OPAQUE_TOOLS: Final = frozenset(
    {"image_generation", "computer", "computer_use_preview", "computer-preview"}
)
_KEPT_BY_PROVIDER: Final[Mapping[str, str]] = {
    "previous_response_id": "an earlier response",
    "conversation": "a conversation",
    "prompt": "a stored prompt",
}

FIELD_NAMES: Final = frozenset(
    {
        *_RULES.names,
        *_TEXT_PARTS.values(),
        *_OPAQUE_MEMBERS,
        *("model", "input", "user", "type", "role", "content", "id", "call_id", "name", "status"),
        *("arguments", "output", "summary", "annotations", "logprobs", "format", "schema"),
        *("strict", "description", "parameters", "properties", "required", "verbosity", "effort"),
        *("encrypted_content", "truncation", "service_tier", "additionalProperties"),
    }
)
"""Names that the protocol gives: as names they carry no text of a person."""


def parse(tree: JSON, *, path_model: str | None = None) -> ModelRequest:
    """The request in `tree`, or RequestRuleError for the first field that breaks a rule."""
    body = body_of(tree)
    model = model_of(body.get("model"), path_model)
    _RULES.check(body)
    _refuse_kept(body)
    opaque: list[str] = []
    _check_tools(body.get("tools") or (), opaque)
    _check_input(body.get("input"), opaque)
    if isinstance(body.get("instructions"), list):
        _check_items(body["instructions"], "instructions", opaque)
    return ModelRequest(
        body=body,
        model=model,
        stream=body.get("stream") is True,
        max_tokens=body.get("max_output_tokens"),
        opaque=tuple(opaque),
    )


def _refuse_kept(body: Mapping[str, Any]) -> None:
    for name, what in _KEPT_BY_PROVIDER.items():
        if body.get(name) is not None:
            raise _stateful(name, what)
    if body.get("background"):
        raise _stateful("background", "a response to be fetched later")


def _check_tools(tools: Any, opaque: list[str]) -> None:
    for index, tool in enumerate(tools):
        where = f"tools[{index}]"
        kind = tool.get("type")
        if not isinstance(kind, str):
            raise RequestRuleError(f"{where}.type", "must be a string")
        if kind == "file_search":
            raise _stateful(where, "a vector store")
        if kind in _OPAQUE_TOOLS:
            opaque.append(f"{where}:{kind}")
        if tool.get("container") and not isinstance(tool["container"], dict):
            raise _stateful(f"{where}.container", "a container")
        _refuse_files(tool, where)


def _refuse_files(tree: Any, where: str) -> None:
    """Refuse what names a stored file, container or the like, however deep; schemas name none."""
    rest = [tree]
    while rest:
        node = rest.pop()
        if isinstance(node, list):
            rest.extend(node)
        elif isinstance(node, dict):
            for name in _KEPT_FILES:
                if node.get(name) and isinstance(node[name], str | list):
                    raise _stateful(f"{where}.{name}", "an uploaded file or what holds one")
            rest.extend(value for name, value in node.items() if name not in _SCHEMAS)


def _check_input(given: JSON, opaque: list[str]) -> None:
    if isinstance(given, str):
        return
    if not isinstance(given, list) or not given:
        raise RequestRuleError("input", "must be a string or a list of at least one item")
    _check_items(given, "input", opaque)


def _check_items(items: list[Any], where: str, opaque: list[str]) -> None:
    if len(items) > MAX_ITEMS:
        raise RequestRuleError(where, f"must not hold more than {MAX_ITEMS} items")
    for index, item in enumerate(items):
        at = f"{where}[{index}]"
        if not isinstance(item, dict):
            raise RequestRuleError(at, "must be an object")
        kind = item.get("type", "message")
        if not isinstance(kind, str):
            raise RequestRuleError(f"{at}.type", "must be a string")
        if kind == "item_reference" or item.keys() <= {"id", "type"}:
            raise _stateful(at, "an item of an earlier response")
        if kind == "message":
            _check_message(item, at)
        elif kind in _OPAQUE_ITEMS:
            opaque.append(f"{at}:{kind}")
        _refuse_files(item, at)
        for name in ("content", "output"):
            if isinstance(item.get(name), dict):
                # One part where a list is usual: a screenshot, say.
                _check_parts([item[name]], f"{at}.{name}", opaque)
            if isinstance(item.get(name), list):
                _check_parts(item[name], f"{at}.{name}", opaque)


def _check_message(item: Mapping[str, Any], at: str) -> None:
    role = item.get("role")
    if not isinstance(role, str) or role not in ROLES:
        wanted = ", ".join(sorted(ROLES))
        raise RequestRuleError(f"{at}.role", f"must be one of {wanted}")
    if not isinstance(item.get("content"), str | list):
        raise RequestRuleError(f"{at}.content", "must be a string or a list of parts")


def _check_parts(parts: list[Any], where: str, opaque: list[str]) -> None:
    """Text parts hold a string; every other part is noted in `opaque`."""
    if len(parts) > MAX_PARTS:
        raise RequestRuleError(where, f"must not hold more than {MAX_PARTS} parts")
    for index, part in enumerate(parts):
        at = f"{where}[{index}]"
        kind = part.get("type") if isinstance(part, dict) else None
        if not isinstance(kind, str):
            raise RequestRuleError(at, "must be an object with a type")
        field = _TEXT_PARTS.get(kind)
        if field and not isinstance(part.get(field), str):
            raise RequestRuleError(f"{at}.{field}", "must be a string")
        # Readers differ in whether type or members decide, so that either makes a part opaque.
        carried = sorted(_OPAQUE_MEMBERS.intersection(part)) or ([] if field else ["other"])
        opaque += [f"{at}:{name}" for name in carried]
        if "image_url" in part:
            check_url(part["image_url"], f"{at}.image_url")


def _stateful(field: str, what: str) -> RequestRuleError:
    return RequestRuleError(
        field,
        f"cannot name {what}: nothing is kept upstream (store is false), so send the whole input",
        code=STATEFUL,
    )
