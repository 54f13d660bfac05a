"""Output checks: no text leaves before its window has been judged.

Every string of an answer, whatever its field, is text of a channel: a path through the answer,
per choice and per tool call. Pieces of one channel are judged as the one text that a client would
join, through a hold-back window (`window.py`), so that a verdict never depends on how the answer
was cut. A text that is there whole is judged at once, which by the window's law comes to the same.

What is not text is pinned or rebuilt: ids, names and types are emitted once, as first seen and
after inspection; roles and finish reasons come from a list; of `usage` only numbers pass.
`logprobs` would repeat the text beside the windows: they pass only in a whole answer that was
not altered.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from ostiary.exchange import Action, Usage
from ostiary.policy import Policy
from ostiary.ports import Detector
from ostiary.scanning import scan
from ostiary.spans import Decided, apply, first_block
from ostiary.window import Window

Path = tuple[str | int, ...]

_ROLES = frozenset({"assistant", "tool", "function", "system", "user", "developer"})
_REASONS = frozenset({"stop", "length", "tool_calls", "content_filter", "function_call"})
_PINNED = frozenset({"id", "object", "model", "system_fingerprint", "service_tier", "type", "name"})
_KNOWN_KEYS = _PINNED | frozenset(
    {
        "annotations", "arguments", "audio", "choices", "content", "content_filter_results",
        "created", "delta", "finish_reason", "function", "function_call", "index", "logprobs",
        "message", "prompt_filter_results", "reasoning", "reasoning_content", "refusal", "role",
        "text", "tool_calls", "usage",
    }
)  # fmt: skip

_SHORT_WORD = 64
_ALWAYS_NEW = frozenset({"id"})


class Settled:
    """The verdict on a text that was there whole; it holds nothing back."""

    __slots__ = ("blocked", "findings")

    def __init__(self, findings: Counter[str], blocked: bool) -> None:
        self.findings = findings
        self.blocked = blocked

    def close(self) -> str:
        """Nothing is left."""
        return ""


def judge_whole(text: str, policy: Policy) -> tuple[str, Settled]:
    """What may be released of a whole text, and the verdict: as a `Window` fed with it gives."""
    decided = [
        Decided(finding, action)
        for finding in scan(text, policy.detectors)
        if (action := policy.answers.get(finding.kind, Action.OFF)) is not Action.OFF
    ]
    if not decided:
        return text, Settled(Counter(), blocked=False)
    block = first_block(decided)
    counted = Counter(f.kind for f, _ in decided if block is None or f.start <= block)
    return apply(text, decided), Settled(counted, block is not None)


@lru_cache(maxsize=512)
def _finds_nothing(word: str, detectors: tuple[Detector, ...]) -> bool:
    """Whether no detector finds anything in a short word that comes again with every answer."""
    return not scan(word, detectors)


class AnswerGuard:
    """Judges one answer. Feed it the provider's events; it says what may leave."""

    def __init__(self, policy: Policy, prompt_tokens: int) -> None:
        """Take the policy, and the prompt's estimate for providers that do not count."""
        self._policy = policy
        self._characters = 0
        self._windows: dict[Path, Window | Settled] = {}
        self._whole = False
        self._pieced = False
        self._pins: dict[Path, str] = {}
        self._reasons: dict[int, str] = {}
        self._frame: dict[str, Any] = {}
        self._usage: dict[str, Any] | None = None
        self._counted: Usage | None = None
        self._prompt_tokens = prompt_tokens

    @property
    def usage(self) -> Usage:
        """Tokens so far, as the provider counted them; else a quarter of the characters seen."""
        return self._counted or Usage(self._prompt_tokens, self._characters // 4)

    @property
    def findings(self) -> Mapping[str, int]:
        """How many findings of each kind the answer had."""
        total: Counter[str] = Counter()
        for window in self._windows.values():
            total.update(window.findings)
        return total

    @property
    def blocked(self) -> bool:
        """Whether the policy ended the answer."""
        return any(window.blocked for window in self._windows.values())

    def release(self, event: dict[str, Any]) -> list[dict[str, Any]]:
        """What may leave of one event of a stream, now."""
        self._count(event)
        choices = event.get("choices") or []
        for choice in choices:
            if "message" in choice:
                choice["delta"] = choice.pop("message")
            reason = choice.get("finish_reason")
            if reason is not None:
                self._reasons[choice["index"]] = reason if reason in _REASONS else "stop"
        if not choices and not self._extra(event):
            return []
        released = self._judge_event(event)
        released["object"] = "chat.completion.chunk"
        return [released] if _says_something(released) else []

    def finish(self) -> list[dict[str, Any]]:
        """The rest of a stream that ended whole: held text, then a finish for each choice."""
        rest = self._rest()
        channels = itertools.chain(self._windows, self._pins)
        indices = sorted({path[1] for path in channels if path[0] == "choices"} | {*self._reasons})
        frame = {**self._frame, "object": "chat.completion.chunk"}
        events = [{**frame, **rest}] if rest else []
        for index in indices:
            blocked = self._choice_blocked(index)
            reason = "content_filter" if blocked else self._reasons.get(int(index), "stop")
            events.append(
                {**frame, "choices": [{"index": index, "delta": {}, "finish_reason": reason}]}
            )
        return events

    def usage_event(self) -> dict[str, Any]:
        """The chunk that tells the usage (`stream_options.include_usage`)."""
        return {
            **self._frame,
            "object": "chat.completion.chunk",
            "choices": [],
            "usage": self._usage or self._usage_body(),
        }

    def whole(self, event: dict[str, Any]) -> dict[str, Any]:
        """A whole answer, judged."""
        self._count(event)
        for choice in event["choices"]:
            reason = choice.get("finish_reason") or "stop"
            self._reasons[choice["index"]] = reason if reason in _REASONS else "stop"
        logprobs = [choice.get("logprobs") for choice in event["choices"]]
        released = self._judge_at_once(event)
        for path, window in self._windows.items():
            _append(released, path, window.close())
        altered = any(
            self._policy.answers.get(kind) not in {Action.OBSERVE, Action.OFF}
            for kind in self.findings
        )
        for choice, original in zip(released["choices"], logprobs, strict=True):
            index = choice["index"]
            blocked = self._choice_blocked(index)
            choice["finish_reason"] = "content_filter" if blocked else self._reasons[index]
            choice["logprobs"] = None if altered else original
        released["usage"] = self._usage or self._usage_body()
        return released

    def _judge_at_once(self, event: dict[str, Any]) -> dict[str, Any]:
        """Judge every text of a whole answer by itself, unless some are pieces of one channel."""
        self._whole = True
        released = self._judge_event(event)
        if self._pieced:
            self._whole, self._characters = False, 0
            self._windows.clear()
            self._pins.clear()
            released = self._judge_event(event)
        return released

    def _count(self, event: Mapping[str, Any]) -> None:
        usage = event.get("usage")
        if not isinstance(usage, dict):
            return
        self._usage = _numbers(usage)
        prompt, completion = usage.get("prompt_tokens"), usage.get("completion_tokens")
        if isinstance(prompt, int) and isinstance(completion, int):
            self._counted = Usage(max(0, prompt), max(0, completion), estimated=False)

    def _usage_body(self) -> dict[str, int]:
        usage = self.usage
        return {
            "prompt_tokens": usage.prompt,
            "completion_tokens": usage.completion,
            "total_tokens": usage.total,
        }

    def _extra(self, event: Mapping[str, Any]) -> bool:
        return any(key not in _KNOWN_KEYS or key == "prompt_filter_results" for key in event)

    def _judge_event(self, event: dict[str, Any]) -> dict[str, Any]:
        released: dict[str, Any] = {}
        for key, value in event.items():
            if key == "usage":
                continue
            if key == "choices":
                released[key] = [self._judge_choice(choice) for choice in value]
            elif key in {"id", "object", "model", "system_fingerprint", "service_tier"}:
                released[key] = self._frame[key] = self._pin((key,), value)
            elif key == "created":
                released[key] = self._frame[key] = value if isinstance(value, int) else 0
            elif self._key_is_clean(key):
                released[key] = self._judge(value, (key,))
        return released

    def _judge_choice(self, choice: dict[str, Any]) -> dict[str, Any]:
        index = choice["index"]
        released: dict[str, Any] = {"index": index}
        for key, value in choice.items():
            if key in {"index", "finish_reason", "logprobs"} or not self._key_is_clean(key):
                continue
            released[key] = self._judge(value, ("choices", index, key))
        released["finish_reason"] = None
        return released

    def _judge(self, value: Any, path: Path) -> Any:
        if isinstance(value, str):
            return self._text(value, path)
        if isinstance(value, dict):
            return {
                key: self._judge(item, (*path, key))
                for key, item in value.items()
                if key != "logprobs" and self._key_is_clean(key)
            }
        if isinstance(value, list):
            return [
                self._judge(item, (*path, _step(item, position)))
                for position, item in enumerate(value)
            ]
        return value

    def _text(self, text: str, path: Path) -> Any:
        name = path[-1]
        if name == "role":
            return text if text in _ROLES else "assistant"
        if name in _PINNED:
            return self._pin(path, text)
        self._characters += len(text)
        window = self._windows.get(path)
        if self._whole:
            self._pieced = self._pieced or window is not None
            released, self._windows[path] = judge_whole(text, self._policy)
            return released
        if not isinstance(window, Window):
            window = self._windows[path] = Window(self._policy.detectors, self._policy.answers)
        return window.feed(text)

    def _pin(self, path: Path, value: Any) -> Any:
        if not isinstance(value, str):
            return None
        pinned = self._pins.get(path)
        if pinned is None:
            if path[-1] in _ALWAYS_NEW or not self._passes_as_word(value):
                pinned, self._windows[(*path, "pinned")] = judge_whole(value, self._policy)
            else:
                pinned = value
            self._pins[path] = pinned
        return pinned

    def _key_is_clean(self, key: str) -> bool:
        """Whether a field name may pass: a known one, or one without anything to alter."""
        if key in _KNOWN_KEYS:
            return True
        return self._passes_as_word(key) or judge_whole(key, self._policy)[0] == key

    def _passes_as_word(self, word: str) -> bool:
        return len(word) <= _SHORT_WORD and _finds_nothing(word, self._policy.detectors)

    def _choice_blocked(self, index: str | int) -> bool:
        return any(
            window.blocked
            for path, window in self._windows.items()
            if path[:2] == ("choices", index) or path[0] != "choices"
        )

    def _rest(self) -> dict[str, Any]:
        """One event with what every window still held, each at its path."""
        rest: dict[str, Any] = {}
        for path, window in self._windows.items():
            text = "" if path[-1] == "pinned" else window.close()
            if text:
                _place(rest, path, text)
        for choice in rest.get("choices", ()):
            choice["finish_reason"] = None
        if rest:
            rest.setdefault("choices", [])
        return rest


def _step(item: Any, position: int) -> str | int:
    """The step of a path into a list: an item's own index, its place, or one channel for all.

    Pieces of text in a list (content parts, plain strings) are joined by those who read them, so
    they share a channel.
    """
    if isinstance(item, str) or (isinstance(item, dict) and isinstance(item.get("text"), str)):
        return "*"
    index = item.get("index") if isinstance(item, dict) else None
    return index if isinstance(index, int) else position


def _says_something(event: Mapping[str, Any]) -> bool:
    """Whether a chunk still carries anything but empty text."""
    for key in event:
        if key not in _KNOWN_KEYS or key == "prompt_filter_results":
            return True
    return any(
        _carries(value)
        for choice in event["choices"]
        for key, value in choice.items()
        if key not in {"index", "finish_reason"}
    )


def _carries(value: Any) -> bool:
    if isinstance(value, dict):
        return any(_carries(item) for key, item in value.items() if key not in {"index", "type"})
    if isinstance(value, list):
        return any(_carries(item) for item in value)
    return value not in (None, "")


def _numbers(tree: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers of a usage object, nested ones too; whatever else stands there is dropped."""
    kept: dict[str, Any] = {}
    for key, value in tree.items():
        if not key.isidentifier():
            continue
        if isinstance(value, dict):
            kept[key] = _numbers(value)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            kept[key] = value
    return kept


def _reach(tree: Any, path: Path) -> tuple[Any, str | int]:
    """The container of a path's last step, made where it is missing, and that step."""
    node = tree
    for step, following in itertools.pairwise(path):
        into_list = following == "*" or isinstance(following, int)
        if isinstance(node, list):
            node = _item(node, step, into_list=into_list)
        else:
            node = node.setdefault(step, [] if into_list else {})
    return node, path[-1]


def _item(items: list[Any], step: str | int, *, into_list: bool) -> Any:
    if step == "*":
        if not items:
            items.append([] if into_list else {"type": "text"})
        return items[-1]
    for position, item in enumerate(items):
        if isinstance(item, dict) and item.get("index", position) == step:
            return item
    items.append({"index": step})
    return items[-1]


def _place(tree: dict[str, Any], path: Path, text: str) -> None:
    node, last = _reach(tree, path)
    if isinstance(node, list):
        node.append(text)
    else:
        node[last] = text


def _append(tree: dict[str, Any], path: Path, text: str) -> None:
    """Append held text to the last string of a channel in a whole answer."""
    if not text or path[-1] == "pinned":
        return
    node, last = _reach(tree, path)
    if isinstance(node, list):
        node[-1] += text
    else:
        node[last] = (node.get(last) or "") + text
