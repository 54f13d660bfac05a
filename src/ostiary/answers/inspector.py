"""What every answer guard stands on: no text leaves before it has been judged.

Every string of an answer, whatever its field, is text of a channel: a path through the answer.
Pieces of one channel are judged as the one text that a client would join, through a hold-back
window (`window.py`), so that a verdict never depends on how the answer was cut. A text that is
there whole is judged at once, which by the window's law comes to the same.

What is not text is pinned or rebuilt: ids, names and types are emitted as first seen and after
inspection; roles and finish reasons come from a list; of `usage` only numbers pass.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from functools import lru_cache
from typing import Any

from ostiary.answers.joined import Joined
from ostiary.errors import ProviderFailed
from ostiary.exchange import Action, Usage
from ostiary.policy import Policy
from ostiary.ports import Detector
from ostiary.scanning import scan
from ostiary.window import Settled, Window, judge_whole
from ostiary.wire import content_filter

LAYER = "guard"
MOST_CHANNELS = 4_096
"""More separate texts than any client joins; each costs a window."""

MOST_DEPTH = 64
_SHORT_WORD = 64

Path = tuple[str | int, ...]

_ROLES = frozenset({"assistant", "tool", "function", "system", "user", "developer"})
_PINNED = frozenset({"id", "object", "model", "system_fingerprint", "service_tier", "type", "name"})
# Clients join the pieces of these; the others they replace.
_JOINED = frozenset({"id", "name"})


class Inspector:
    """Judges the texts of one answer; the dialects' guards say which texts are one channel."""

    known_keys: AbstractSet[str] = frozenset()
    """Field names that the protocol gives: they carry nobody's text."""

    def __init__(self, policy: Policy, prompt_tokens: int) -> None:
        """Take the policy, and the prompt's estimate for providers that do not count."""
        self._policy = policy
        self._characters = 0
        self._windows: dict[Path, Window | Settled | Joined] = {}
        self._whole = False
        self._pieced = False
        self._pins: dict[Path, str] = {}
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

    @property
    def filter_results(self) -> dict[str, dict[str, bool]]:
        """What was found and done, as Azure's `content_filter_results` say it."""
        found = self.findings
        personal = {d.kind for d in self._policy.detectors if d.personal}
        fatal = {k for k in found if self._policy.answers.get(k) is Action.BLOCK}
        fatal = fatal if self.blocked else set()
        seen = personal.intersection(found)
        return {
            **content_filter.personal_data(
                detected=bool(seen),
                redacted=self._alters(seen - fatal),
                filtered=bool(seen & fatal),
            ),
            **content_filter.blocked_by(sorted(fatal - personal)),
        }

    def _judge(self, value: Any, path: Path) -> Any:
        if isinstance(value, str):
            return self._text(value, path)
        if len(path) > MOST_DEPTH:
            raise shapeless("is nested too deep")
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
            again = name in _JOINED and path in self._pins
            return None if again else self._pin(path, text)
        self._characters += len(text)
        window = self._windows.get(path)
        if self._whole:
            self._pieced = self._pieced or window is not None
            return self._judge_text(path, text)
        if not isinstance(window, Window):
            window = Window(self._policy.detectors, self._policy.answers)
            self._keep(path, window)
        return window.feed(text)

    def _judge_text(self, path: Path, text: str) -> str:
        released, verdict = judge_whole(text, self._policy.detectors, self._policy.answers)
        self._keep(path, verdict)
        return released

    def _keep(self, path: Path, channel: Window | Settled | Joined) -> None:
        known = self._windows.get(path)
        if known is None and len(self._windows) >= MOST_CHANNELS:
            raise shapeless("has too many parts")
        if known is None or not known.blocked:
            self._windows[path] = channel

    def _pin(self, path: Path, value: Any) -> Any:
        """The first value that says something; an empty one before it binds nobody (Azure)."""
        if not isinstance(value, str):
            return None
        pinned = self._pins.get(path)
        if pinned is None and value:
            known = path[-1] != "id" and self._passes_as_word(value)
            pinned = value if known else self._judge_text((*path, "pinned"), value)
            self._pins[path] = pinned
        return pinned or ""

    def _passes_as_word(self, word: str) -> bool:
        return len(word) <= _SHORT_WORD and _finds_nothing(word, self._policy.detectors)

    def _key_is_clean(self, key: str) -> bool:
        """Whether a field name may pass: a known one, or one without anything to alter."""
        return key in self.known_keys or self._pin(("field name", key), key) == key

    def _alters(self, kinds: Iterable[str]) -> bool:
        return any(
            self._policy.answers.get(kind) not in {None, Action.OBSERVE, Action.OFF}
            for kind in kinds
        )

    def _numbers(self, tree: Mapping[str, Any], depth: int = 0) -> dict[str, Any]:
        """The numbers of a usage object, nested ones too; whatever else stands there is dropped."""
        if depth > MOST_DEPTH:
            raise shapeless("is nested too deep")
        kept: dict[str, Any] = {}
        for key, value in tree.items():
            if not self._key_is_clean(key):
                continue
            if isinstance(value, dict):
                kept[key] = self._numbers(value, depth + 1)
            elif isinstance(value, int | float) and not isinstance(value, bool):
                kept[key] = value
        return kept

    def _count_usage(self, usage: Any, prompt_name: str, completion_name: str | None) -> None:
        """Take the provider's own count, where it has one; what has no answer costs none."""
        if not isinstance(usage, dict):
            return
        self._usage = self._numbers(usage)
        prompt, completion = (
            usage.get(prompt_name),
            usage.get(completion_name) if completion_name else 0,
        )
        if isinstance(prompt, int) and isinstance(completion, int):
            self._counted = Usage(max(0, prompt), max(0, completion), estimated=False)


def shapeless(what: str) -> ProviderFailed:
    """The refusal of an answer whose form makes it unreadable."""
    return ProviderFailed(f"The model's answer {what}.", layer=LAYER, rule="answer-shape")


@lru_cache(maxsize=512)
def _finds_nothing(word: str, detectors: tuple[Detector, ...]) -> bool:
    """Whether no detector finds anything in a short word that comes again with every answer."""
    return not scan(word, detectors)


def _step(item: Any, position: int) -> str | int:
    """The step of a path into a list: an item's own index, its place, or one channel for all.

    Pieces of text in a list (content parts, plain strings) are joined by those who read them, so
    they share a channel.
    """
    if isinstance(item, str) or (isinstance(item, dict) and isinstance(item.get("text"), str)):
        return "*"
    index = item.get("index") if isinstance(item, dict) else None
    return index if isinstance(index, int) else position
