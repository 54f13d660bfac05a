"""What a model says, in the shapes of the OpenAI API: chat, embeddings and responses."""

from __future__ import annotations

import base64
import hashlib
import json
import struct
from collections.abc import Iterable
from typing import Any

DIMENSIONS = 8
PLACE = 'Łódź "old town"'
_SAMPLES = {
    "string": PLACE,
    "integer": 3,
    "number": 2.5,
    "boolean": True,
    "array": [],
    "object": {},
}


def completion(text: str) -> dict[str, Any]:
    """A whole answer."""
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "gpt-4o",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": text, "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12},
    }


def tool_completion(name: str, arguments: str) -> dict[str, Any]:
    """A whole answer that calls one tool and says nothing."""
    function = {"name": name, "arguments": arguments}
    made = completion("")
    choice = made["choices"][0]
    choice["message"]["content"] = None
    choice["message"]["tool_calls"] = [{"id": "call_1", "type": "function", "function": function}]
    choice["finish_reason"] = "tool_calls"
    return made


def chunk(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    """One event of a streamed answer."""
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "gpt-4o",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
    }


def chunks(text: str, size: int = 5) -> list[bytes]:
    """A streamed answer, `size` characters an event, with usage and [DONE]."""
    return _frames(
        chunk({"role": "assistant", "content": ""}),
        *(chunk({"content": piece}) for piece in _pieces(text, size)),
        chunk({}, "stop"),
    )


def tool_chunks(name: str, arguments: str, size: int = 5) -> list[bytes]:
    """A streamed call of one tool, its arguments `size` characters an event."""
    function = {"name": name, "arguments": ""}
    begin = {"index": 0, "id": "call_1", "type": "function", "function": function}
    return _frames(
        chunk({"role": "assistant", "content": None, "tool_calls": [begin]}),
        *(
            chunk({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]})
            for piece in _pieces(arguments, size)
        ),
        chunk({}, "tool_calls"),
    )


def _frames(*events: dict[str, Any]) -> list[bytes]:
    usage = {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}
    every = [*events, {**chunk({}), "choices": [], "usage": usage}]
    return [*(b"data: " + json.dumps(one).encode() + b"\n\n" for one in every), b"data: [DONE]\n\n"]


def _pieces(text: str, size: int) -> list[str]:
    return [text[at : at + size] for at in range(0, len(text), size)]


def wanted_tool(body: dict[str, Any]) -> tuple[str, str] | None:
    """The tool that a model which loves tools calls now, and the arguments, as JSON.

    None where the request has no function, forbids them, or ends with a tool's result. Arguments
    follow the tool's own schema, so that clients that check them take them. Both shapes of a tool
    are read: chat nests it under `function`, responses does not.
    """
    functions = [
        tool.get("function", tool) for tool in body.get("tools") or () if tool["type"] == "function"
    ]
    turns = body.get("messages") or body.get("input") or ()
    last = turns[-1] if isinstance(turns, list) and turns else {}
    choice = body.get("tool_choice")
    answered = last.get("role") == "tool" or last.get("type") == "function_call_output"
    if not functions or choice == "none" or answered:
        return None
    if isinstance(choice, dict):
        name = choice.get("function", choice).get("name")
        functions = [f for f in functions if f["name"] == name] or functions
    properties = (functions[0].get("parameters") or {}).get("properties") or {}
    arguments = {name: _sample(schema) for name, schema in properties.items()}
    return functions[0]["name"], json.dumps(arguments, ensure_ascii=False)


def _sample(schema: dict[str, Any]) -> Any:
    if schema.get("enum"):
        return schema["enum"][0]
    kinds = schema.get("anyOf") or [schema]
    return _SAMPLES.get(kinds[0].get("type"))


def vector(text: str, dimensions: int = DIMENSIONS) -> list[float]:
    """The embedding of a text: one of its own, exact in 32 bits, the same each time."""
    digest = hashlib.shake_128(text.encode()).digest(dimensions)
    return [(byte - 128) / 128 for byte in digest]


def embeddings(body: dict[str, Any]) -> dict[str, Any]:
    """The answer to a request for embeddings: numbers, or base64 where it asks for that."""
    given = body["input"]
    texts = (
        given if isinstance(given, list) and not all(isinstance(i, int) for i in given) else [given]
    )
    rows = []
    for index, text in enumerate(texts):
        found: Any = vector(str(text), body.get("dimensions") or DIMENSIONS)
        if body.get("encoding_format") == "base64":
            found = base64.b64encode(struct.pack(f"<{len(found)}f", *found)).decode()
        rows.append({"object": "embedding", "index": index, "embedding": found})
    usage = {"prompt_tokens": 7, "total_tokens": 7}
    return {"object": "list", "data": rows, "model": "text-embedding-3-small", "usage": usage}


def message_item(text: str, status: str = "completed") -> dict[str, Any]:
    """An output item of the responses API that says something."""
    content = [_text_part(text)] if status == "completed" else []
    return {
        "id": "msg_1",
        "type": "message",
        "status": status,
        "role": "assistant",
        "content": content,
    }


def _text_part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def call_item(name: str, arguments: str, status: str = "completed") -> dict[str, Any]:
    """An output item of the responses API that calls a tool."""
    return {
        "id": "fc_1",
        "type": "function_call",
        "status": status,
        "call_id": "call_1",
        "name": name,
        "arguments": arguments,
    }


def response(
    body: dict[str, Any], output: Iterable[dict[str, Any]], status: str = "completed"
) -> dict[str, Any]:
    """A whole response object; what the request says about itself is repeated, as the API does."""
    usage = {
        "input_tokens": 7,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": 5,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 12,
    }
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "status": status,
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": body.get("instructions"),
        "max_output_tokens": body.get("max_output_tokens"),
        "max_tool_calls": None,
        "model": "gpt-4o",
        "output": list(output),
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "prompt_cache_key": None,
        "reasoning": {"effort": None, "summary": None},
        "safety_identifier": None,
        "service_tier": "default",
        "store": body.get("store", True),
        "temperature": 1.0,
        "text": {"format": {"type": "text"}, "verbosity": "medium"},
        "tool_choice": body.get("tool_choice", "auto"),
        "tools": body.get("tools", []),
        "top_logprobs": 0,
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": usage if status == "completed" else None,
        "user": None,
        "metadata": {},
    }


def response_frames(body: dict[str, Any], item: dict[str, Any], size: int = 5) -> list[bytes]:
    """The events of a streamed response with this one output item, in the API's own order."""
    begun = response(body, [], "in_progress")
    place = {"output_index": 0, "item_id": item["id"]}
    if item["type"] == "message":
        opened = message_item("", "in_progress")
        inner = _text_events(item["content"][0]["text"], place, size)
    else:
        opened = {**item, "status": "in_progress", "arguments": ""}
        inner = _call_events(item, place, size)
    events = [
        {"type": "response.created", "response": begun},
        {"type": "response.in_progress", "response": begun},
        {"type": "response.output_item.added", "output_index": 0, "item": opened},
        *inner,
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "response": response(body, [item])},
    ]
    return [named_frame({**event, "sequence_number": n}) for n, event in enumerate(events)]


def named_frame(event: dict[str, Any]) -> bytes:
    """An event of the responses API as it is sent: its type is also the name of the event."""
    return f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()


def _text_events(text: str, place: dict[str, Any], size: int) -> list[dict[str, Any]]:
    place = {**place, "content_index": 0}
    return [
        {"type": "response.content_part.added", **place, "part": _text_part("")},
        *(
            {"type": "response.output_text.delta", **place, "delta": piece, "logprobs": []}
            for piece in _pieces(text, size)
        ),
        {"type": "response.output_text.done", **place, "text": text, "logprobs": []},
        {"type": "response.content_part.done", **place, "part": _text_part(text)},
    ]


def _call_events(item: dict[str, Any], place: dict[str, Any], size: int) -> list[dict[str, Any]]:
    kind = "response.function_call_arguments"
    said = {"arguments": item["arguments"], "name": item["name"]}
    return [
        *(
            {"type": f"{kind}.delta", **place, "delta": piece}
            for piece in _pieces(item["arguments"], size)
        ),
        {"type": f"{kind}.done", **place, **said},
    ]
