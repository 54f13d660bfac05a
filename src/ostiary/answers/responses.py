"""The guard of `response` answers: typed events that repeat the same text three times over.

A text comes as deltas, again when its part is done, and again in the item and in the response
that end it. Only the deltas are judged through windows; what repeats them is written anew from
what was released, so that no repetition can say more. Parts of one kind (`output_text` above all)
are one channel, because readers join them (`joined.py`); reasoning is another kind than answers.
What repeats a text whose end is still held back waits until the next words, or the end, decide it.
A text that is only repeated, and that no delta said, goes through its channel like the others.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from ostiary.answers.inspector import MOST_CHANNELS, MOST_DEPTH, Inspector, Path, shapeless
from ostiary.answers.joined import Joined
from ostiary.policy import Policy
from ostiary.window import Window, judge_whole
from ostiary.wire import content_filter
from ostiary.wire.readings import TERMINAL

# How a delta's type says where its text lies in its item: the list, its index and the field; and
# of which kind it is. Readers join the texts of one kind.
_PLACES: Mapping[str, tuple[str, str, str, str]] = {
    "response.output_text": ("content", "content_index", "text", "text"),
    "response.refusal": ("content", "content_index", "refusal", "refusal"),
    "response.reasoning_text": ("content", "content_index", "text", "reasoning"),
    "response.reasoning_summary_text": ("summary", "summary_index", "text", "text"),
    "response.audio.transcript": ("", "", "transcript", "transcript"),
    "response.function_call_arguments": ("", "", "arguments", "arguments"),
    "response.mcp_call_arguments": ("", "", "arguments", "arguments"),
    "response.custom_tool_call_input": ("", "", "input", "input"),
    "response.code_interpreter_call_code": ("", "", "code", "code"),
}
_PART_TYPES = {"text": "output_text", "refusal": "refusal"}
_OWN_FIELDS = tuple(dict.fromkeys(p[2] for p in _PLACES.values() if not p[0]))
_DELTA_FRAME = frozenset({"type", "item_id", "output_index", "content_index", "summary_index"})
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


class _Text(NamedTuple):
    """A text of a response: where it lies, and the channel that it is a piece of."""

    path: Path
    channel: Path
    text: str

    def __repr__(self) -> str:
        """Hide the text."""
        return f"_Text({len(self.text)} characters)"


class ResponsesGuard(Inspector):
    """Judges one response. Feed it the provider's events; it says what may leave."""

    known_keys = _KNOWN_KEYS

    def __init__(self, policy: Policy, prompt_tokens: int) -> None:
        """Take the policy, and the prompt's estimate for providers that do not count."""
        super().__init__(policy, prompt_tokens)
        self._said: dict[Path, str] = {}
        # Where the next text of a channel goes: a delta's event, or a place that is only repeated.
        self._owners: dict[Path, tuple[Path, dict[str, Any] | None]] = {}
        self._holding: dict[Path, None] = {}
        self._waiting: list[dict[str, Any]] = []
        self._items: dict[int, dict[str, Any]] = {}
        self._frame: dict[str, Any] = {"object": "response"}
        self._terminal: dict[str, Any] | None = None
        self._words: dict[str, str] = {}
        self._counted_at: set[Path] = set()
        self._sequence = 0

    def release(self, event: dict[str, Any]) -> list[dict[str, Any]]:
        """What may leave of one event of a stream, now; the terminal event only at the end."""
        if "type" not in event:
            name = "incomplete" if event.get("status") == "incomplete" else "completed"
            event = {"type": f"response.{name}", "response": event}
        name = event["type"]
        if name in TERMINAL:
            self._terminal = event
            self._count(event["response"])
            return []
        if name.endswith(".delta"):
            if not isinstance(event.get("delta"), str):
                raise shapeless("has a delta that is no text")
            return self._delta(event) if event["delta"] else []
        self._absorb(event)
        if self._waiting or self._holding:
            self._waiting.append(event)
            return []
        return [] if self.blocked else [self._numbered(self._repeat(event))]

    def finish(self) -> list[dict[str, Any]]:
        """The rest of a stream that ended whole: held text, what repeats it, the terminal event.

        Where the policy ended it, what is held back is lost, and the response is incomplete for
        the reason `content_filter`.
        """
        if self.blocked:
            return [self._numbered(self._cut_off())]
        if self._terminal is None:
            return []
        events = [*self._absorb(self._terminal), *self._tails(closing=True)]
        if not self.blocked:
            events += self._drain()
        released = self._repeat(self._terminal)
        if self.blocked:
            released = self._cut_off()
        else:
            released["response"]["usage"] = self._usage or self._usage_body()
        begun = [] if self._sequence else [self._numbered(_created(released["response"]))]
        return [*begun, *events, self._numbered(released)]

    def whole(self, event: dict[str, Any]) -> dict[str, Any]:
        """A whole response, judged."""
        self._count(event)
        self._absorb({"type": "response.completed", "response": event})
        self._tails(closing=True)
        released: dict[str, Any] = self._walk(event, ())
        released["usage"] = self._usage or self._usage_body()
        return self._as_incomplete(released) if self.blocked else released

    # Deltas and what repeats them.

    def _delta(self, event: dict[str, Any]) -> list[dict[str, Any]]:
        path, channel = _path_of(event, str(event["type"]).removesuffix(".delta"))
        text = _Text(path, channel, event["delta"])
        if self._is_behind(text):
            raise shapeless("goes back to an earlier part")
        return [*self._settle(text.channel), *self._feed(text, event)]

    def _absorb(self, event: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Take texts that no delta said into their channels, in their order, before any leaves.

        Gives back what a terminal event that joins them in another order sets free.
        """
        texts = [one for one in _repeated(event) if one.text or one.path in self._said]
        behind = {t.channel for t in texts if t.path not in self._said and self._is_behind(t)}
        if behind and event["type"] not in TERMINAL:
            raise shapeless("goes back to an earlier part")
        for text in texts:
            if text.path not in self._said and text.channel not in behind:
                self._feed(text, None)
        events = []
        for channel in behind:
            events += self._rejoin(channel, [text for text in texts if text.channel == channel])
        return events

    def _is_behind(self, text: _Text) -> bool:
        """Whether a text stands before one that its channel has begun: readers join by place."""
        owner = self._owners.get(text.channel)
        return owner is not None and _order(text.path) < _order(owner[0])

    def _rejoin(self, channel: Path, texts: list[_Text]) -> list[dict[str, Any]]:
        """Judge anew, as the end of the stream joins them, texts of which not all were streamed.

        First what was streamed comes to its own end.
        """
        streamed = self._windows[channel]
        rest = streamed.close() if isinstance(streamed, Joined) else ""
        events = self._say(channel, rest)
        self._holding.pop(channel, None)
        window = Joined(self._policy.detectors, self._policy.answers)
        self._keep((*channel, "anew"), window)
        for text in texts:
            window.turn(text.path)
            self._said[text.path] = window.feed(self._said.get(text.path, text.text))
        self._said[texts[-1].path] += window.close()
        return events

    def _feed(self, given: _Text, event: dict[str, Any] | None) -> list[dict[str, Any]]:
        """The next text of a channel, which from here on is at the text's place."""
        path, channel, text = given
        if path not in self._said:
            if len(self._said) >= MOST_CHANNELS:
                raise shapeless("has too many parts")
            self._said[path] = ""
        window = self._windows.get(channel)
        if not isinstance(window, Joined):
            window = Joined(self._policy.detectors, self._policy.answers)
            self._keep(channel, window)
        self._characters += len(text)
        self._owners[channel] = (path, event)
        window.turn(path)
        released = self._say(channel, window.feed(text))
        if window.holds:
            self._holding[channel] = None
        else:
            self._holding.pop(channel, None)
        return released

    def _say(self, channel: Path, text: str) -> list[dict[str, Any]]:
        """Released text at the place where its channel is now: as a delta, if deltas say it."""
        if not text:
            return []
        path, event = self._owners[channel]
        self._said[path] += text
        if event is None:
            return []
        frame = {k: v for k, v in event.items() if k in _DELTA_FRAME}
        released: dict[str, Any] = self._walk(frame, ("event",))
        if "logprobs" in event:
            released["logprobs"] = []
        return [self._numbered({**released, "delta": text})]

    def _settle(self, channel: Path) -> list[dict[str, Any]]:
        """Let waiting events go before a delta of a channel.

        What its own channel holds back goes on with it; what others hold back goes first.
        """
        if not self._waiting:
            return []
        events = self._tails(closing=False, but=channel)
        return events if self.blocked else [*events, *self._drain()]

    def _tails(self, *, closing: bool, but: Path | None = None) -> list[dict[str, Any]]:
        """Say what channels hold back; closing asks those too whose last findings wait."""
        events = []
        for channel in list(self._owners if closing else self._holding):
            window = self._windows[channel]
            if channel != but and isinstance(window, Joined):
                events += self._say(channel, window.close() if closing else window.flush())
                self._holding.pop(channel, None)
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
            path: Path = ("event", event["type"], *_indices(event), key)
            if key == "annotation":
                path = ("annotation",)
            elif key == "response":
                path = ()
            elif key == "item":
                path = ("output", output)
            elif key == "part":
                place = _part_place(event)
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
        if path[:1] == ("event",):
            # Of no known kind: what goes on in the next such event is judged with it.
            window = self._windows.get(path)
            if not isinstance(window, Window):
                window = Window(self._policy.detectors, self._policy.answers)
                self._keep(path, window)
            return window.feed(text) + window.flush()
        if path[:1] == ("output",) and path not in self._counted_at:
            self._counted_at.add(path)
            self._characters += len(text)
        return self._judge_text(path, text)

    def _judge_text(self, path: Path, text: str) -> str:
        """As every text that is there whole; one without a finding need not be remembered."""
        released, verdict = judge_whole(text, self._policy.detectors, self._policy.answers)
        if verdict.findings or verdict.blocked:
            self._keep(path, verdict)
        return released

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
        said: dict[int, dict[Path, str]] = {index: {} for index in self._items}
        for path, text in self._said.items():
            if path[0] == "output":
                said.setdefault(int(path[1]), {})[path] = text
        response["output"] = [self._rebuilt(index, said[index]) for index in sorted(said)]
        response["usage"] = self._usage or self._usage_body()
        return {"type": "response.incomplete", "response": response}

    def _rebuilt(self, index: int, said: Mapping[Path, str]) -> dict[str, Any]:
        """One item with what was released of its texts, in the order in which they were."""
        first: dict[str, Any] = {"type": "message", "role": "assistant", "id": f"msg_{index}"}
        item = {**self._items.get(index, first), "status": "incomplete"}
        parts: dict[str, list[dict[str, Any]]] = {}
        for path, text in said.items():
            if len(path) == 3:
                item[str(path[2])] = text
                continue
            place, field = str(path[2]), str(path[4])
            parts.setdefault(place, []).append(_part(str(item.get("type")), place, field, text))
        return {**item, **parts}


def _created(response: Mapping[str, Any]) -> dict[str, Any]:
    """The event that begins a stream, for a response that came all at once."""
    begun = {**response, "status": "in_progress", "incomplete_details": None, "output": []}
    return {"type": "response.created", "response": {**begun, "usage": None}}


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
        path: Path = ("other", base, *_indices(event))
        return path, path
    name, index, field, kind = place
    if not name:
        path = ("output", output, field)
        return path, path
    return ("output", output, name, event.get(index, 0), field), ("joined", name, kind)


def _order(path: Path) -> tuple[int, ...]:
    """Where a path stands among those of its channel: item, then part."""
    return tuple(step for step in path if isinstance(step, int))


def _indices(event: Mapping[str, Any]) -> tuple[int, ...]:
    """Where in a response an event is."""
    return tuple(event.get(f"{place}_index", 0) for place in ("output", "content", "summary"))


def _repeated(event: Mapping[str, Any]) -> Iterator[_Text]:
    """The texts in an event that is no delta which a delta could have said, each with its channel.

    In the order in which a reader meets them.
    """
    output = event.get("output_index", 0)
    base = event["type"].removesuffix(".done")
    if base in _PLACES and isinstance(event.get(_PLACES[base][2]), str):
        yield _Text(*_path_of(event, base), event[_PLACES[base][2]])
    place = _part_place(event)
    yield from _of_part(
        event.get("part"), ("output", output, place, event.get(f"{place}_index", 0))
    )
    yield from _of_item(event.get("item"), ("output", output))
    response = event.get("response")
    items = response.get("output") if isinstance(response, dict) else None
    for index, item in enumerate(items or ()):
        yield from _of_item(item, ("output", index))


def _part_place(event: Mapping[str, Any]) -> str:
    return "summary" if "summary_index" in event else "content"


def _of_item(item: Any, path: Path) -> Iterator[_Text]:
    """The texts of one output item: of its parts, and those that it has of its own."""
    if not isinstance(item, dict):
        return
    for place in ("summary", "content"):
        parts = item.get(place)
        for position, part in enumerate(parts if isinstance(parts, list) else ()):
            yield from _of_part(part, (*path, place, position))
    for field in _OWN_FIELDS:
        if isinstance(item.get(field), str):
            yield _Text((*path, field), (*path, field), item[field])


def _of_part(part: Any, path: Path) -> Iterator[_Text]:
    if not isinstance(part, dict):
        return
    reasons = part.get("type") == "reasoning_text"
    for field in _PART_TYPES:
        if isinstance(part.get(field), str):
            kind = "reasoning" if reasons and field == "text" else field
            yield _Text((*path, field), ("joined", str(path[2]), kind), part[field])
