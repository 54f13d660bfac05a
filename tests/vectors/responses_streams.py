"""The chat streams of the vectors as the event streams of the Responses API.

Each delta of a case becomes a delta of the kind that the API has for it, cut where the case cuts;
a stream that ends whole is followed by what repeats its texts. What is wrong with a case (broken
off, an error in the middle, bad JSON, no end) and how its bytes are framed is the same.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from ostiary.wire.sse import Parser

_DELTAS = {
    "content": ("message", "content", "output_text", "response.output_text"),
    "refusal": ("message", "content", "refusal", "response.refusal"),
    "reasoning_content": (
        "reasoning",
        "summary",
        "summary_text",
        "response.reasoning_summary_text",
    ),
    "reasoning": ("reasoning", "content", "reasoning_text", "response.reasoning_text"),
    "arguments": ("function_call", "", "arguments", "response.function_call_arguments"),
}
_BEGUN: dict[str, dict[str, Any]] = {
    "message": {"role": "assistant", "content": []},
    "reasoning": {"summary": []},
    "function_call": {"name": "send", "call_id": "call_1", "arguments": ""},
}
_FIELDS = {"refusal": "refusal", "arguments": "arguments"}
_CHUNK = {"id", "object", "created", "model", "choices", "usage", "prompt_filter_results", "error"}
_DELTA = {*_DELTAS, "role", "tool_calls"}
_LARGEST = 64 * 1024 * 1024
# Kinds that say no end; what they said is not repeated.
_ENDLESS = {"cutoff", "error-mid", "bad-json", "never-ends", "empty"}
_TCP_BYTES = 7


@dataclass
class Text:
    """One text of the response: its place, and what was said of it."""

    place: dict[str, Any]
    name: str
    said: str = ""

    @property
    def field(self) -> str:
        return _FIELDS.get(self.name, "text")

    def event(self, suffix: str, **more: Any) -> dict[str, Any]:
        return {"type": f"{_DELTAS[self.name][3]}.{suffix}", **self.place, **more}

    def part(self) -> dict[str, Any]:
        return {"type": _DELTAS[self.name][2], self.field: self.said, "annotations": []}


@dataclass
class Response:
    """A response that grows as a chat stream is read."""

    items: list[dict[str, Any]] = field(default_factory=list)
    texts: dict[tuple[Any, ...], Text] = field(default_factory=dict)

    def say(self, key: tuple[Any, ...], name: str, text: str) -> Iterator[dict[str, Any]]:
        """A delta of the text under `key`, after the events that begin its item and part."""
        kind, parts, part, _ = _DELTAS[name]
        if (*key, name) not in self.texts:
            yield from self._begin(key, name, kind, parts, part)
        own = self.texts[*key, name]
        own.said += text
        yield own.event("delta", delta=text)

    def _begin(
        self, key: tuple[Any, ...], name: str, kind: str, parts: str, part: str
    ) -> Iterator[dict[str, Any]]:
        ids = [item["key"] for item in self.items]
        if (*key, kind) not in ids:
            item = {"key": (*key, kind), "type": kind, "id": f"item_{len(ids)}", parts or "x": []}
            self.items.append(item)
            ids.append(item["key"])
            added = {"type": kind, "id": item["id"], "status": "in_progress", **_BEGUN[kind]}
            yield {
                "type": "response.output_item.added",
                "output_index": len(ids) - 1,
                "item": added,
            }
        index = ids.index((*key, kind))
        place = {"item_id": f"item_{index}", "output_index": index}
        if parts:
            siblings = [t for t in self.texts.values() if f"{parts}_index" in t.place]
            own = [t for t in siblings if t.place["output_index"] == index]
            place[f"{parts}_index"] = len(own)
        self.texts[*key, name] = Text(place, name)
        if parts:
            event = "reasoning_summary_part" if parts == "summary" else "content_part"
            yield {"type": f"response.{event}.added", **place, "part": {"type": part, "text": ""}}

    def output(self) -> list[dict[str, Any]]:
        """The items, whole."""
        made = []
        for index, item in enumerate(self.items):
            whole: dict[str, Any] = {
                "type": item["type"],
                "id": item["id"],
                "status": "completed",
            }
            if item["type"] == "message":
                whole["role"] = "assistant"
            if item["type"] == "function_call":
                whole |= {"name": "send", "call_id": "call_1"}
            for text in self.texts.values():
                if text.place["output_index"] != index:
                    continue
                parts = _DELTAS[text.name][1]
                if parts:
                    whole.setdefault(parts, []).append(text.part())
                else:
                    whole["arguments"] = text.said
            made.append(whole)
        return made

    def end(self) -> Iterator[dict[str, Any]]:
        """What repeats the texts, and the terminal event."""
        for text in self.texts.values():
            yield text.event("done", **{text.field: text.said})
        output = self.output()
        for index, item in enumerate(output):
            yield {"type": "response.output_item.done", "output_index": index, "item": item}
        yield {"type": "response.completed", "response": response(output)}


def response(output: list[dict[str, Any]], status: str = "completed") -> dict[str, Any]:
    """A response object with this output."""
    return {"id": "r1", "object": "response", "status": status, "model": "gpt-4o", "output": output}


def translated(case: dict[str, Any], kind: str) -> list[bytes]:
    """The writes of a case on the Responses API."""
    if kind in {"html-500", "empty"}:
        return _writes(case)
    if kind == "nonstream-json":
        [message] = [c["message"] for c in json.loads(b"".join(_writes(case)))["choices"]]
        part = {"type": "output_text", "text": message["content"], "annotations": []}
        item = {"type": "message", "id": "m", "role": "assistant", "content": [part]}
        return [json.dumps(response([item])).encode()]
    if kind == "never-ends":
        [[unit, count]] = case["chunks"]
        answer = Response()
        begun, *_, delta = _events(base64.b64decode(unit), answer, kind)
        frame = _framed(json.dumps(delta).encode(), kind)
        return [_framed(json.dumps(begun).encode(), kind), *[frame] * count]
    return _framing(kind)(list(_frames(case, kind)))


def _frames(case: dict[str, Any], kind: str) -> Iterator[bytes]:
    answer = Response()
    encode = _escaped if kind == "uesc" else json.dumps
    for number, event in enumerate(_events(b"".join(_writes(case)), answer, kind)):
        if isinstance(event, bytes):
            yield _framed(event, kind)
        else:
            yield _framed(encode({**event, "sequence_number": number}).encode(), kind)


def _writes(case: dict[str, Any]) -> list[bytes]:
    repeated = [(c, 1) if isinstance(c, str) else c for c in case["chunks"]]
    return [base64.b64decode(text) for text, count in repeated for _ in range(count)]


def _events(raw: bytes, answer: Response, kind: str = "") -> Iterator[Any]:
    """The events; bytes where a case's own are no JSON."""
    yield {"type": "response.created", "response": response([], "in_progress")}
    late: list[Any] = []
    ended = False
    parser = Parser(max_event_bytes=_LARGEST)
    for frame in parser.feed(raw):
        if frame.data.strip() == b"[DONE]":
            ended = True
            yield from late
            if kind not in _ENDLESS:
                yield from answer.end()
            continue
        try:
            chunk = json.loads(frame.data)
        except ValueError:
            yield frame.data
            continue
        if "error" in chunk:
            yield {"type": "error", **chunk["error"], "code": "server_error"}
        # The second choice of a chat is a second message here, and so comes after the first.
        for event, position in _of_chunk(chunk, answer):
            if position and not ended:
                late.append(event)
            else:
                yield event
    if not ended:
        yield from late
        if kind not in _ENDLESS:
            yield from answer.end()


def _of_chunk(chunk: dict[str, Any], answer: Response) -> Iterator[tuple[dict[str, Any], int]]:
    """The events of a chunk, each with the position of its choice."""
    extra = {name: value for name, value in chunk.items() if name not in _CHUNK}
    if extra:
        yield {"type": "response.x_note", **extra}, 0
    for choice in chunk.get("choices", ()):
        index = choice["index"]
        for event in _of_delta(choice.get("delta") or choice.get("message") or {}, index, answer):
            yield event, index


def _of_delta(delta: dict[str, Any], index: int, answer: Response) -> Iterator[dict[str, Any]]:
    extra = {name: value for name, value in delta.items() if name not in _DELTA}
    for name in ("reasoning_content", "reasoning", "refusal", "content"):
        said = delta.get(name)
        for text in [part["text"] for part in said] if isinstance(said, list) else [said]:
            if text is not None:
                for event in answer.say((index,), name, text):
                    yield {**event, **extra}
    for call in delta.get("tool_calls", ()):
        key = (index, "call", call["index"])
        yield from answer.say(key, "arguments", call["function"].get("arguments", ""))


def _escaped(event: dict[str, Any]) -> str:
    """JSON whose texts are written in escapes alone."""
    text = json.dumps(event)
    for value in ("delta", "text"):
        if isinstance(event.get(value), str):
            hexed = "".join(f"\\u{ord(character):04x}" for character in event[value])
            text = text.replace(json.dumps(event[value]), f'"{hexed}"')
    return text


def _framed(data: bytes, kind: str) -> bytes:
    """One event as server-sent bytes."""
    name = json.loads(data)["type"].encode() if data.endswith(b"}") else b"x"
    if kind == "multiline":
        data = json.dumps(json.loads(data), indent=1).encode().replace(b"\n", b"\ndata: ")
    whole = b"event: " + name + b"\ndata: " + data + b"\n\n"
    if kind == "nospace":
        whole = whole.replace(b"event: ", b"event:").replace(b"\ndata: ", b"\ndata:")
    if kind == "fields":
        whole = b"id: 1\nretry: 10\n" + whole
    if kind == "comments":
        whole = b": ping\n\n" + whole
    return {"crlf": whole.replace(b"\n", b"\r\n"), "cr": whole.replace(b"\n", b"\r")}.get(
        kind, whole
    )


def _framing(kind: str) -> Callable[[list[bytes]], list[bytes]]:
    """How the frames of a case are written."""
    if kind == "one-write":
        return lambda frames: [b"".join(frames)]
    if kind == "bom":
        return lambda frames: [b"\xef\xbb\xbf" + frames[0], *frames[1:]]
    if kind == "tcp1":
        return _cut_small
    return lambda frames: frames


def _cut_small(frames: list[bytes]) -> list[bytes]:
    data = b"".join(frames)
    return [data[at : at + _TCP_BYTES] for at in range(0, len(data), _TCP_BYTES)]
