"""The guard of `chat.completion` answers: a channel for each text of a choice and tool call.

`logprobs` would repeat the text beside the windows: they pass only in a whole answer that was not
altered, and only where they hold that answer's text and nothing else that the policy would alter.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Any

from ostiary.answers.inspector import Inspector, Path
from ostiary.policy import Policy
from ostiary.scanning import scan
from ostiary.wire import content_filter

_REASONS = frozenset({"stop", "length", "tool_calls", "content_filter", "function_call"})
_HEAD = frozenset({"id", "object", "created", "model", "system_fingerprint", "service_tier"})
_KNOWN_KEYS = frozenset(
    {
        *("annotations", "arguments", "audio", "choices", "content", "content_filter_results"),
        *("created", "delta", "finish_reason", "function", "function_call", "id", "index"),
        *("logprobs", "message", "model", "name", "object", "prompt_filter_results", "reasoning"),
        *("reasoning_content", "refusal", "role", "service_tier", "system_fingerprint", "text"),
        *("tool_calls", "type", "usage"),
    }
)


_USUAL = _KNOWN_KEYS - {"prompt_filter_results"}


class ChatGuard(Inspector):
    """Judges one answer. Feed it the provider's events; it says what may leave."""

    known_keys = _KNOWN_KEYS

    def __init__(self, policy: Policy, prompt_tokens: int, *, include_usage: bool = False) -> None:
        """`include_usage`: a stream ends with a chunk that tells the usage."""
        super().__init__(policy, prompt_tokens)
        self._include_usage = include_usage
        self._calls: dict[int, dict[str, int]] = {}
        self._reasons: dict[int, str] = {}
        self._frame: dict[str, Any] = {}
        self._head: dict[str, Any] | None = None
        self._judged_head: dict[str, Any] = {}

    def release(self, event: dict[str, Any]) -> list[dict[str, Any]]:
        """What may leave of one event of a stream, now."""
        self._count(event)
        choices = event.get("choices") or []
        for choice in choices:
            if "message" in choice:
                choice["delta"] = choice.pop("message")
            choice.setdefault("delta", {})
            self._number_calls(choice)
            reason = choice.get("finish_reason")
            if reason is not None:
                self._reasons[choice["index"]] = _known_reason(reason)
        if not choices and not self._extra(event):
            return []
        released = self._judge_event(event)
        released["object"] = "chat.completion.chunk"
        return [released] if _says_something(released) else []

    def finish(self) -> list[dict[str, Any]]:
        """The rest of a stream that ended whole: held text, then a finish for each choice.

        Where the policy ended it, a choice that was blocked, or that had not ended by itself,
        loses what is held back: half a value looks like none.
        """
        cut = self.blocked
        rest = self._rest(unfinished=not cut)
        channels = itertools.chain(self._windows, self._pins)
        indices = sorted({path[1] for path in channels if path[0] == "choices"} | {*self._reasons})
        frame = {**self._frame, "object": "chat.completion.chunk"}
        events = [{**frame, **rest}] if rest else []
        for index in indices:
            reason = self._reasons.get(int(index), "content_filter" if cut else "stop")
            if self._choice_blocked(index):
                reason = "content_filter"
            events.append(
                {**frame, "choices": [{"index": index, "delta": {}, "finish_reason": reason}]}
            )
        if events and self._include_usage:
            events.append({**frame, "choices": [], "usage": self._usage or self._usage_body()})
        return events

    def whole(self, event: dict[str, Any]) -> dict[str, Any]:
        """A whole answer, judged."""
        self._count(event)
        for choice in event["choices"]:
            reason = choice.get("finish_reason") or "stop"
            self._reasons[choice["index"]] = _known_reason(reason)
        originals = [(choice.get("logprobs"), choice.get("message")) for choice in event["choices"]]
        released = self._judge_at_once(event)
        for path, window in self._windows.items():
            _append(released, path, window.close())
        altered = self._alters(self.findings)
        for choice, (logprobs, message) in zip(released["choices"], originals, strict=True):
            index = choice["index"]
            blocked = self._choice_blocked(index)
            choice["finish_reason"] = "content_filter" if blocked else self._reasons[index]
            same = not altered and self._repeats(logprobs, message)
            choice["logprobs"] = logprobs if same or self._policy.observes else None
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
            self._head = None
            released = self._judge_event(event)
        return released

    def _count(self, event: Mapping[str, Any]) -> None:
        self._count_usage(event.get("usage"), "prompt_tokens", "completion_tokens")

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
        head = {key: event[key] for key in event if key in _HEAD}
        if head != self._head:
            # A stream says the same head with every event, and what is pinned does not change.
            self._head, self._judged_head = head, self._judge_head(head)
        released = self._judged_head.copy()
        for key, value in event.items():
            if key == "choices":
                released[key] = [self._judge_choice(choice) for choice in value]
            elif key in _HEAD or key == "usage":
                continue
            elif key == "prompt_filter_results":
                released[key] = content_filter.sanitised_prompts(value)
            elif self._key_is_clean(key):
                released[key] = self._judge(value, (key,))
        return released

    def _judge_head(self, head: Mapping[str, Any]) -> dict[str, Any]:
        for key, value in head.items():
            if key == "created":
                self._frame[key] = value if isinstance(value, int) else 0
            else:
                self._frame[key] = self._pin((key,), value)
        return {key: self._frame[key] for key in head}

    def _judge_choice(self, choice: dict[str, Any]) -> dict[str, Any]:
        index = choice["index"]
        released: dict[str, Any] = {"index": index}
        for key, value in choice.items():
            if key == "logprobs" and self._policy.observes:
                released[key] = value
            if key in {"index", "finish_reason", "logprobs"} or not self._key_is_clean(key):
                continue
            if key == "content_filter_results":
                released[key] = content_filter.sanitised(value)
                continue
            path = ("choices", index, key)
            if key == "delta" and len(value) == 1 and isinstance(value.get("content"), str):
                text = self._text(value["content"], (*path, "content"))
                released[key] = {"content": text}
                continue
            released[key] = self._judge(value, path)
        released["finish_reason"] = None
        return released

    def _repeats(self, logprobs: Any, message: Any) -> bool:
        """Whether log probabilities say the message that was judged, and no more.

        Alternatives are judged in their rank, one after the other, as a reader would join them.
        """
        if logprobs is None:
            return True
        if not isinstance(logprobs, dict) or not isinstance(message, dict):
            return False
        ranks: dict[int, list[str]] = {}
        for name, tokens in logprobs.items():
            if name not in {"content", "refusal"} or not _are_tokens(tokens, ranks):
                return False
            if tokens and "".join(t["token"] for t in tokens) != message.get(name):
                return False
        texts = map("".join, ranks.values())
        return not self._alters(
            f.kind for text in texts for f in scan(text, self._policy.detectors)
        )

    def _number_calls(self, choice: Mapping[str, Any]) -> None:
        """Give tool calls that come without an index the one that their id or order says."""
        delta = choice.get("delta")
        calls = delta.get("tool_calls") if isinstance(delta, dict) else None
        for call in calls if isinstance(calls, list) else ():
            if isinstance(call, dict) and not isinstance(call.get("index"), int):
                known = self._calls.setdefault(choice["index"], {})
                name = call.get("id")
                index = max(0, len(known) - 1)
                if isinstance(name, str) and name:
                    index = known.setdefault(name, len(known))
                call["index"] = index

    def _choice_blocked(self, index: str | int) -> bool:
        return any(
            window.blocked
            for path, window in self._windows.items()
            if path[:2] == ("choices", index) or path[0] != "choices"
        )

    def _rest(self, *, unfinished: bool) -> dict[str, Any]:
        """One event with what every window still held, each at its path.

        A blocked choice says nothing more, and one that had not ended by itself only where
        `unfinished` lets it.
        """
        held = {path: window.close() for path, window in self._windows.items()}
        rest: dict[str, Any] = {}
        for path, text in held.items():
            index = path[1] if path[0] == "choices" else ""
            if not text or path[-1] == "pinned" or not (unfinished or index in self._reasons):
                continue
            if not self._choice_blocked(index):
                _place(rest, path, text)
        for choice in rest.get("choices", ()):
            choice["finish_reason"] = None
        if rest:
            rest.setdefault("choices", [])
        return rest


def _known_reason(reason: Any) -> str:
    """A finish reason of the protocol; any other ends like most."""
    return reason if isinstance(reason, str) and reason in _REASONS else "stop"


def _says_something(event: Mapping[str, Any]) -> bool:
    """Whether a chunk still carries anything but empty text."""
    if not _USUAL.issuperset(event):
        return True
    for choice in event["choices"]:
        for key, value in choice.items():
            if key not in {"index", "finish_reason"} and _carries(value):
                return True
    return False


def _carries(value: Any) -> bool:
    if isinstance(value, str):
        return bool(value)
    if isinstance(value, dict):
        return any(key not in {"index", "type"} and _carries(item) for key, item in value.items())
    if isinstance(value, list):
        return any(map(_carries, value))
    return value not in (None, "")


def _are_tokens(tokens: Any, ranks: dict[int, list[str]]) -> bool:
    """Whether this is a list of OpenAI's tokens; gathers the alternatives of each rank."""
    if tokens is None:
        return True
    if not isinstance(tokens, list):
        return False
    for token in tokens:
        if not _is_token(token, {"token", "logprob", "bytes", "top_logprobs"}):
            return False
        others = token.get("top_logprobs") or []
        if not isinstance(others, list):
            return False
        for rank, other in enumerate(others):
            if not _is_token(other, {"token", "logprob", "bytes"}):
                return False
            ranks.setdefault(rank, []).append(other["token"])
    return True


def _is_token(token: Any, fields: AbstractSet[str]) -> bool:
    """Whether this holds a token, its number, and as bytes the same text."""
    if not isinstance(token, dict) or not fields >= token.keys():
        return False
    text, said = token.get("token"), token.get("bytes")
    number = token.get("logprob")
    return (
        isinstance(text, str)
        and (number is None or isinstance(number, int | float))
        and (said is None or said == list(text.encode("utf-8", "surrogatepass")))
    )


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
