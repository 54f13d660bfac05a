"""The guard of `response` answers: typed events that repeat the same text three times over.

A text comes as deltas, again when its part is done, and again in the item and in the response
that end it. Only the deltas are judged through windows; what repeats them is written anew from
what was released, so that no repetition can say more. Parts of one kind (`output_text` above all)
are one channel, because readers join them. What repeats a text whose end is still held back
waits until the next words, or the end, decide it.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

from ostiary.answers.inspector import MOST_CHANNELS, MOST_DEPTH, Inspector, Path, shapeless
from ostiary.policy import Policy
from ostiary.window import Window
from ostiary.wire import content_filter
from ostiary.wire.readings import TERMINAL

# How a delta's type says where its text lies in its item: the list and index, and the field.
_PLACES: Mapping[str, tuple[str, str, str]] = {
    "response.output_text": ("content", "content_index", "text"),
    "response.refusal": ("content", "content_index", "refusal"),
    "response.reasoning_text": ("content", "content_index", "text"),
    "response.reasoning_summary_text": ("summary", "summary_index", "text"),
    "response.audio.transcript": ("", "", "transcript"),
    "response.function_call_arguments": ("", "", "arguments"),
    "response.mcp_call_arguments": ("", "", "arguments"),
    "response.custom_tool_call_input": ("", "", "input"),
    "response.code_interpreter_call_code": ("", "", "code"),
}
_PART_TYPES = {"text": "output_text", "refusal": "refusal"}
_DROPPED = frozenset({"logprobs", "obfuscation", "sequence_number"})
_WORDS = frozenset(
    {
        *("type", "id", "item_id", "object", "status", "role", "name", "call_id", "model"),
        *("service_tier", "effort", "truncation", "reason", "code", "format", "verbosity"),
    }
)
_KNOWN_KEYS = _WORDS | frozenset(
    {
        *("response", "output", "item", "part", "delta", "content", "summary", "text", "refusal"),
        *("arguments", "input", "annotations", "annotation", "annotation_index", "index", "title"),
        *("output_index", "content_index", "summary_index", "url", "start_index", "end_index"),
        *("created_at", "completed_at", "error", "incomplete_details", "instructions", "metadata"),
        *("max_output_tokens", "max_tool_calls", "parallel_tool_calls", "previous_response_id"),
        *("reasoning", "store", "temperature", "tool_choice", "tools", "top_p", "usage", "user"),
        *("background", "conversation", "prompt", "prompt_cache_key", "safety_identifier"),
        *("top_logprobs", "encrypted_content", "content_filters", "parameters", "description"),
        *("strict", "properties", "required", "additionalProperties", "generate_summary"),
        *("output_text", "frequency_penalty", "presence_penalty", "prompt_cache_retention"),
    }
)


class ResponsesGuard(Inspector):
    """Judges one response. Feed it the provider's events; it says what may leave."""

    known_keys = _KNOWN_KEYS

    def __init__(self, policy: Policy, prompt_tokens: int) -> None:
        """Take the policy, and the prompt's estimate for providers that do not count."""
        super().__init__(policy, prompt_tokens)
        self._said: dict[Path, str] = {}
        self._last: dict[Path, dict[str, Any]] = {}
        self._waiting: list[dict[str, Any]] = []
        self._items: dict[int, dict[str, Any]] = {}
        self._frame: dict[str, Any] = {"object": "response"}
        self._terminal: dict[str, Any] | None = None
        self._words: dict[str, str] = {}
        self._sequence = 0

    def release(self, event: dict[str, Any]) -> list[dict[str, Any]]:
        """What may leave of one event of a stream, now; the terminal event only at the end."""
        if "type" not in event:
            event = {"type": "response.completed", "response": event}
        name = event["type"]
        if name in TERMINAL:
            self._terminal = event
            self._count(event["response"])
            return []
        if name.endswith(".delta") and isinstance(event.get("delta"), str):
            return [*self._settle(event), *self._delta(event)]
        if self._waiting or self._holds():
            self._waiting.append(event)
            return []
        return [self._numbered(self._repeat(event))]

    def finish(self) -> list[dict[str, Any]]:
        """The rest of a stream that ended whole: held text, what repeats it, the terminal event.

        Where the policy ended it, what is held back is lost, and the response is incomplete for
        the reason `content_filter`.
        """
        if self.blocked:
            return [self._numbered(self._cut_off())]
        if self._terminal is None:
            return []
        events = [*self._tails(closing=True), *self._drain()]
        if self.blocked:
            return [*events, self._numbered(self._cut_off())]
        response = self._terminal["response"]
        self._judge_apart(response)
        released = self._repeat(self._terminal)
        if self.blocked:
            return [*events, self._numbered(self._cut_off())]
        released["response"]["usage"] = self._usage or self._usage_body()
        return [*events, self._numbered(released)]

    def whole(self, event: dict[str, Any]) -> dict[str, Any]:
        """A whole response, judged."""
        self._count(event)
        self._judge_apart(event)
        released: dict[str, Any] = self._walk(event, ())
        released["usage"] = self._usage or self._usage_body()
        return self._as_incomplete(released) if self.blocked else released

    # Deltas and what repeats them.

    def _delta(self, event: dict[str, Any]) -> list[dict[str, Any]]:
        base = str(event["type"]).removesuffix(".delta")
        path, channel = _path_of(event, base)
        window = self._window(channel)
        text = event["delta"]
        self._characters += len(text)
        self._last[channel] = event
        self._said.setdefault(path, "")
        return self._say(channel, window.feed(text))

    def _say(self, channel: Path, text: str) -> list[dict[str, Any]]:
        """Released text as a delta at the place where its channel is now."""
        if not text:
            return []
        event = self._last[channel]
        path, _ = _path_of(event, str(event["type"]).removesuffix(".delta"))
        self._said[path] += text
        frame = {k: v for k, v in event.items() if k not in _DROPPED and k != "delta"}
        released: dict[str, Any] = self._walk(frame, ("event",))
        if "logprobs" in event:
            released["logprobs"] = []
        return [self._numbered({**released, "delta": text})]

    def _window(self, channel: Path) -> Window:
        window = self._windows.get(channel)
        if not isinstance(window, Window):
            window = Window(self._policy.detectors, self._policy.answers)
            self._keep(channel, window)
        return window

    def _holds(self) -> bool:
        return any(isinstance(w, Window) and w.holds for w in self._windows.values())

    def _settle(self, event: dict[str, Any]) -> list[dict[str, Any]]:
        """Let waiting events go before a delta.

        Where it goes on in their own channel, the held text goes on with it; else it goes first.
        """
        if not self._waiting:
            return []
        _, channel = _path_of(event, str(event["type"]).removesuffix(".delta"))
        return [*self._tails(closing=False, but=channel), *self._drain()]

    def _tails(self, *, closing: bool, but: Path | None = None) -> list[dict[str, Any]]:
        events = []
        for channel, window in list(self._windows.items()):
            if isinstance(window, Window) and channel in self._last and channel != but:
                rest = window.close() if closing else window.flush()
                events += self._say(channel, rest)
        return events

    def _drain(self) -> list[dict[str, Any]]:
        waiting, self._waiting = self._waiting, []
        return [self._numbered(self._repeat(event)) for event in waiting]

    def _repeat(self, event: dict[str, Any]) -> dict[str, Any]:
        """An event that is no delta: what it repeats is what was released, the rest is judged."""
        base = event["type"].removesuffix(".done")
        output = event.get("output_index", 0)
        released: dict[str, Any] = {}
        for key, value in event.items():
            if key in _DROPPED or not self._key_is_clean(key):
                continue
            path: Path = ("event", key)
            if key == "response":
                path = ()
            elif key == "item":
                path = ("output", output)
            elif key == "part":
                place = "summary" if "summary_index" in event else "content"
                path = ("output", output, place, event.get(f"{place}_index", 0))
            elif base in _PLACES and key == _PLACES[base][2]:
                path, _ = _path_of(event, base)
            released[key] = self._walk(value, path)
        if "logprobs" in event:
            released["logprobs"] = []
        self._remember(released, output)
        return released

    def _remember(self, released: dict[str, Any], output: int) -> None:
        """Keep what an answer that is cut off later is made of."""
        if isinstance(released.get("response"), dict):
            self._frame = {k: v for k, v in released["response"].items() if k != "output"}
        if isinstance(released.get("item"), dict):
            if len(self._items) >= MOST_CHANNELS:
                raise shapeless("has too many parts")
            self._items[output] = released["item"]

    def _numbered(self, event: dict[str, Any]) -> dict[str, Any]:
        event["sequence_number"] = self._sequence
        self._sequence += 1
        return event

    # Trees.

    def _walk(self, value: Any, path: Path) -> Any:
        if isinstance(value, str):
            return self._string(value, path)
        if len(path) > MOST_DEPTH:
            raise shapeless("is nested too deep")
        if isinstance(value, dict):
            return {
                key: self._member(key, item, (*path, key))
                for key, item in value.items()
                if key != "obfuscation" and self._key_is_clean(key)
            }
        if isinstance(value, list):
            return [self._walk(item, (*path, position)) for position, item in enumerate(value)]
        return value

    def _member(self, key: str, value: Any, path: Path) -> Any:
        if key == "logprobs":
            return []
        if key == "content_filters":
            return content_filter.sanitised_filters(value)
        if key == "usage" and isinstance(value, dict):
            return self._numbers(value)
        return self._walk(value, path)

    def _string(self, text: str, path: Path) -> str:
        if path in self._said:
            return self._said[path]
        if path[-1] in _WORDS:
            return self._word(text)
        channel = _joined(path)
        if channel is not None and not self._whole and channel in self._windows:
            # Never streamed, but of a kind that readers join to what was.
            window = self._window(channel)
            self._said[path] = released = window.feed(text) + window.flush()
            return released
        self._characters += 0 if path[:1] == ("event",) or path in self._windows else len(text)
        return self._judge_text(path, text)

    def _word(self, word: str) -> str:
        """A name or id: the same each time it is said."""
        known = self._words.get(word)
        if known is None:
            if len(self._words) >= MOST_CHANNELS:
                raise shapeless("has too many names")
            clean = self._passes_as_word(word)
            known = word if clean else self._judge_text(("word", len(self._words)), word)
            self._words[word] = known
        return known

    def _judge_apart(self, response: Mapping[str, Any]) -> None:
        """Judge the texts that no delta said and that readers join, each kind as one text."""
        kinds: dict[Path, list[tuple[Path, str]]] = {}
        for path, text in _texts(response):
            channel = _joined(path)
            if channel is not None and path not in self._said:
                kinds.setdefault(channel, []).append((path, text))
        for channel, texts in kinds.items():
            if len(texts) < 2 and channel not in self._windows:
                continue
            window = self._window(channel)
            for path, text in texts:
                self._characters += len(text)
                self._said[path] = window.feed(text)
            self._said[texts[-1][0]] += window.close()

    # Ends.

    def _count(self, response: Mapping[str, Any]) -> None:
        self._count_usage(response.get("usage"), "input_tokens", "output_tokens")

    def _usage_body(self) -> dict[str, Any]:
        usage = self.usage
        return {
            "input_tokens": usage.prompt,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": usage.completion,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": usage.total,
        }

    def _as_incomplete(self, response: dict[str, Any]) -> dict[str, Any]:
        return {
            **response,
            "status": "incomplete",
            "incomplete_details": {"reason": "content_filter"},
        }

    def _cut_off(self) -> dict[str, Any]:
        """The terminal event of a response that the policy ended: what was released, no more."""
        response = self._as_incomplete(copy.deepcopy(self._frame))
        response["output"] = [
            self._rebuilt(index)
            for index in sorted(
                {int(p[1]) for p in self._said if p[0] == "output"} | self._items.keys()
            )
        ]
        response["usage"] = self._usage or self._usage_body()
        return {"type": "response.incomplete", "response": response}

    def _rebuilt(self, index: int) -> dict[str, Any]:
        """One item with what was released of its texts, in the order in which they were."""
        first: dict[str, Any] = {"type": "message", "role": "assistant", "id": f"msg_{index}"}
        item = {**self._items.get(index, first), "status": "incomplete"}
        parts: dict[str, list[dict[str, Any]]] = {}
        for path, text in self._said.items():
            if path[:2] != ("output", index):
                continue
            if len(path) == 3:
                item[str(path[2])] = text
                continue
            place, field = str(path[2]), str(path[4])
            parts.setdefault(place, []).append(_part(str(item.get("type")), place, field, text))
        return {**item, **parts}


def _part(item: str, place: str, field: str, text: str) -> dict[str, Any]:
    """A part of an item as its protocol writes it."""
    if item == "reasoning":
        return {"type": "summary_text" if place == "summary" else "reasoning_text", field: text}
    part: dict[str, Any] = {"type": _PART_TYPES[field], field: text}
    return {**part, "annotations": []} if field == "text" else part


def _path_of(event: Mapping[str, Any], base: str) -> tuple[Path, Path]:
    """Where a delta's text lies in the response, and the channel that it is a piece of."""
    output = event.get("output_index", 0)
    place = _PLACES.get(base)
    if place is None:
        indices = (event.get("content_index", 0), event.get("summary_index", 0))
        path: Path = ("other", output, base, *indices)
        return path, path
    name, index, field = place
    if not name:
        path = ("output", output, field)
        return path, path
    return ("output", output, name, event.get(index, 0), field), ("joined", name, field)


def _joined(path: Path) -> Path | None:
    """The channel of a text that lies in a part of an item, else None."""
    if len(path) == 5 and path[0] == "output" and path[2] in {"content", "summary"}:
        return ("joined", path[2], path[4]) if path[4] in _PART_TYPES else None
    return None


def _texts(response: Mapping[str, Any]) -> Iterator[tuple[Path, str]]:
    """The texts of the parts of all items, in order."""
    for index, item in enumerate(response.get("output") or ()):
        for place in ("summary", "content"):
            parts = item.get(place)
            for position, part in enumerate(parts if isinstance(parts, list) else ()):
                for field in _PART_TYPES:
                    text = part.get(field) if isinstance(part, dict) else None
                    if isinstance(text, str):
                        yield ("output", index, place, position, field), text
