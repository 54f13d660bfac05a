"""`POST /v1/chat/completions`: the rules of a request, and the shapes of an answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    is_list_of,
    model_of,
)
from ostiary.wire.strict_json import JSON

MAX_MESSAGES: Final = 2048
MAX_CHOICES: Final = 128

ROLES: Final = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
_MAY_LACK_CONTENT: Final = frozenset({"assistant", "function"})

_TEXT_PARTS: Final = {"text": "text", "refusal": "refusal"}
_OPAQUE_PARTS: Final = frozenset({"image_url", "input_audio", "audio", "video_url", "file"})
_URL_SCHEMES: Final = ("https://", "http://", "data:")

_RULES: Final = MemberRules(
    numbers=SAMPLING,
    integers={
        "n": (1, MAX_CHOICES),
        "max_tokens": (1, MAX_TOKENS),
        "max_completion_tokens": (1, MAX_TOKENS),
        "top_logprobs": (0, 20),
        "seed": (-(2**63), 2**63 - 1),
    },
    types={
        "stream": ((bool,), "true or false"),
        "logprobs": ((bool,), "true or false"),
        "parallel_tool_calls": ((bool,), "true or false"),
        "store": ((bool,), "true or false"),
        "stream_options": ((dict,), "an object"),
        "logit_bias": ((dict,), "an object"),
        "response_format": ((dict,), "an object"),
        "tool_choice": ((str, dict), "a string or an object"),
        "function_call": ((str, dict), "a string or an object"),
    },
    lists_of_objects=("tools", "functions"),
)

FIELD_NAMES: Final = frozenset(
    {
        *_RULES.names,
        *_TEXT_PARTS,
        *_OPAQUE_PARTS,
        *("model", "messages", "stop", "user", "modalities", "include_usage"),
        *("role", "content", "name", "type", "id", "tool_calls", "tool_call_id"),
        *("function", "arguments", "parameters", "description", "properties", "required"),
    }
)
"""Names that the protocol gives: as names they carry no text of a person."""


def parse(tree: JSON, *, path_model: str | None = None) -> ModelRequest:
    """The request in `tree`, or RequestRuleError for the first field that breaks a rule.

    A member that is null counts as absent. `max_tokens` is the larger of `max_tokens` and
    `max_completion_tokens`.
    """
    body = body_of(tree)
    model = model_of(body.get("model"), path_model)
    _RULES.check(body)
    stop = body.get("stop")
    if stop is not None and not (isinstance(stop, str) or is_list_of(stop, str)):
        raise RequestRuleError("stop", "must be a string or a list of strings")
    opaque: list[str] = []
    _check_messages(body.get("messages"), opaque)
    _note_opaque_answer(body.get("modalities"), opaque)

    limits = [body.get("max_tokens") or 0, body.get("max_completion_tokens") or 0]
    options = body.get("stream_options") or {}
    include_usage = options.get("include_usage")
    if include_usage is not None and type(include_usage) is not bool:
        raise RequestRuleError("stream_options.include_usage", "must be true or false")
    return ModelRequest(
        body=body,
        model=model,
        stream=body.get("stream") is True,
        n=body.get("n") or 1,
        max_tokens=max(limits) or None,
        include_usage=include_usage is True,
        opaque=tuple(opaque),
    )


def _check_messages(messages: JSON, opaque: list[str]) -> None:
    if not isinstance(messages, list) or not messages:
        raise RequestRuleError("messages", "must be a list of at least one message")
    if len(messages) > MAX_MESSAGES:
        raise RequestRuleError("messages", f"must not hold more than {MAX_MESSAGES} messages")

    for index, message in enumerate(messages):
        if not isinstance(message, dict):
            raise RequestRuleError(f"messages[{index}]", "must be an object")
        role = message.get("role")
        if not isinstance(role, str) or role not in ROLES:
            wanted = ", ".join(sorted(ROLES))
            raise RequestRuleError(f"messages[{index}].role", f"must be one of {wanted}")

        content = message.get("content")
        if isinstance(content, list):
            _check_parts(content, f"messages[{index}].content", opaque)
        elif not isinstance(content, str) and not (content is None and role in _MAY_LACK_CONTENT):
            raise RequestRuleError(
                f"messages[{index}].content", "must be a string or a list of parts"
            )

        if message.get("tool_calls") is not None and not is_list_of(message["tool_calls"], dict):
            raise RequestRuleError(f"messages[{index}].tool_calls", "must be a list of objects")
        if message.get("audio") is not None:
            opaque.append(f"messages[{index}].audio:audio")


def _check_parts(parts: list[Any], where: str, opaque: list[str]) -> None:
    """Text parts hold a string; every other part is noted in `opaque`."""
    if len(parts) > MAX_PARTS:
        raise RequestRuleError(where, f"must not hold more than {MAX_PARTS} parts")
    for index, part in enumerate(parts):
        if not isinstance(part, dict):
            raise RequestRuleError(f"{where}[{index}]", "must be an object")
        kind = part.get("type")
        if not isinstance(kind, str):
            raise RequestRuleError(f"{where}[{index}].type", "must be a string")

        text_field = _TEXT_PARTS.get(kind)
        if text_field and not isinstance(part.get(text_field), str):
            raise RequestRuleError(f"{where}[{index}].{text_field}", "must be a string")
        # Readers differ in whether type or members decide, so that either makes a part opaque.
        carried = sorted(_OPAQUE_PARTS.intersection(part)) or ([] if text_field else ["other"])
        if kind in _OPAQUE_PARTS:
            carried = [kind]
        opaque += [f"{where}[{index}]:{name}" for name in carried]
        file = part.get("file")
        if isinstance(file, dict) and file.get("file_id"):
            raise RequestRuleError(
                f"{where}[{index}].file.file_id",
                "cannot name an uploaded file: nothing that is kept upstream is served",
                code=STATEFUL,
            )
        if "image_url" in part:
            check_url(part["image_url"], f"{where}[{index}].image_url")


def check_url(image: JSON, where: str) -> None:
    """An image is fetched by the model's side: it may name the web or carry its data, no file."""
    url = image.get("url") if isinstance(image, dict) else image
    if not isinstance(url, str) or not url.lower().startswith(_URL_SCHEMES):
        raise RequestRuleError(f"{where}.url", "must be an http, https or data URL")


def _note_opaque_answer(modalities: JSON, opaque: list[str]) -> None:
    """An answer that is asked for in sound is as unreadable as a question in sound."""
    if modalities is None:
        return
    if not is_list_of(modalities, str):
        raise RequestRuleError("modalities", "must be a list of strings")
    if any(name != "text" for name in modalities):
        opaque.append("modalities:audio" if "audio" in modalities else "modalities:other")


def usage(prompt_tokens: int, completion_tokens: int) -> dict[str, int]:
    """OpenAI's `usage` object."""
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
    }


def completion(
    *,
    id: str,  # noqa: A002 - the protocol's word
    created: int,
    model: str,
    contents: Sequence[str],
    usage: Mapping[str, int],
    finish_reason: str = "stop",
) -> dict[str, Any]:
    """A `chat.completion` with one choice for each of `contents`; `created` in Unix seconds."""
    choices = [
        {
            "index": index,
            "message": {"role": "assistant", "content": content, "refusal": None},
            "logprobs": None,
            "finish_reason": finish_reason,
        }
        for index, content in enumerate(contents)
    ]
    return {
        "id": id,
        "object": "chat.completion",
        "created": created,
        "model": model,
        "choices": choices,
        "usage": dict(usage),
    }


def chunk(
    *,
    id: str,  # noqa: A002 - the protocol's word
    created: int,
    model: str,
    delta: Mapping[str, Any] | None,
    index: int = 0,
    finish_reason: str | None = None,
    usage: Mapping[str, int] | None = None,
) -> dict[str, Any]:
    """A `chat.completion.chunk` with one choice, or with none where `delta` is None.

    The chunk without a choice is the last one of a stream with `include_usage`. `usage` is left
    out where it is None.
    """
    made: dict[str, Any] = {
        "id": id,
        "object": "chat.completion.chunk",
        "created": created,
        "model": model,
        "choices": [],
    }
    if delta is not None:
        made["choices"].append(
            {
                "index": index,
                "delta": dict(delta),
                "logprobs": None,
                "finish_reason": finish_reason,
            }
        )
    if usage is not None:
        made["usage"] = dict(usage)
    return made
