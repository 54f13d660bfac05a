"""How a provider's answer is read, for each dialect: its form, and whether it is whole.

A reading takes decoded JSON and gives it back in the one form that the answer guard knows. It
decides nothing about texts. `[DONE]` counts as the provider's word that a stream is whole, where
it had finished anything at all; without it everything that began must have ended.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from ostiary.errors import OstiaryError
from ostiary.exchange import Dialect
from ostiary.wire.openai_chat import MAX_CHOICES
from ostiary.wire.strict_json import JSON
from ostiary.wire.value_rules import is_integer

MAX_INDEX: Final = 65_535
TERMINAL: Final = frozenset({"response.completed", "response.incomplete"})
_TYPE: Final = re.compile(r"[a-z][a-z0-9_.]{0,99}")
_FAILED: Final = frozenset({"response.failed", "error"})


class AnswerShapeError(OstiaryError):
    """An answer cannot be used: `rule` is "error", "shape" or "incomplete"; quotes nothing."""

    def __init__(self, rule: str, message: str) -> None:
        """Take the stable name of what is wrong, and a public sentence."""
        super().__init__(message)
        self.rule = rule
        self.message = message


class Reading(Protocol):
    """Reads one answer; every method may raise AnswerShapeError."""

    def whole(self, tree: JSON) -> dict[str, Any]:
        """A whole answer in its form."""
        ...

    def event(self, tree: JSON) -> dict[str, Any]:
        """One event of a stream in its form."""
        ...

    @property
    def over(self) -> bool:
        """Whether the last event ended the stream: what follows it is not read."""
        ...

    def end(self, *, said_done: bool) -> None:
        """The stream is over; raises "incomplete" where the answer is not whole."""
        ...


class ChatReading:
    """`chat.completion` and `chat.completion.chunk`: choices with an index each."""

    def __init__(self) -> None:
        """Begin with nothing finished."""
        self._finished: dict[int, bool] = {}

    def whole(self, tree: JSON) -> dict[str, Any]:
        """A completion with a message in every choice."""
        answer = self._choices(tree)
        if not answer["choices"] or any(c.get("message") is None for c in answer["choices"]):
            raise AnswerShapeError("incomplete", "The model's answer has no message.")
        return answer

    def event(self, tree: JSON) -> dict[str, Any]:
        """A chunk; notes which choices have ended."""
        event = self._choices(tree)
        for choice in event["choices"]:
            index = choice["index"]
            ended = choice.get("finish_reason") is not None
            self._finished[index] = self._finished.get(index, False) or ended
        return event

    @property
    def over(self) -> bool:
        """Never: usage may follow the last finish."""
        return False

    def end(self, *, said_done: bool) -> None:
        """Whole if the provider said so and had begun, or every choice has its reason."""
        ended = bool(self._finished) and (said_done or all(self._finished.values()))
        if not ended:
            raise _incomplete()

    def _choices(self, tree: JSON) -> dict[str, Any]:
        answer = _answer(tree)
        choices = answer.get("choices") or []
        if not isinstance(choices, list) or not all(map(_is_choice, choices)):
            raise _shapeless()
        for position, choice in enumerate(choices):
            choice.setdefault("index", position)
        answer["choices"] = choices
        return answer


class ResponsesReading:
    """A `response` object, or the typed events of its stream."""

    def __init__(self) -> None:
        """Begin without a terminal event."""
        self._ended = False

    def whole(self, tree: JSON) -> dict[str, Any]:
        """A response that is completed, or that ended early for a reason that it names."""
        answer = _answer(tree)
        # No member of a response, but what tells an event from one.
        answer.pop("type", None)
        if answer.get("status", "completed") not in ("completed", "incomplete"):
            raise AnswerShapeError("incomplete", "The model's answer is not finished.")
        _check_output(answer, required=True)
        return answer

    def event(self, tree: JSON) -> dict[str, Any]:
        """One typed event. A failure is the provider's own error."""
        event = _answer(tree)
        name = event.get("type")
        if not isinstance(name, str) or not _TYPE.fullmatch(name) or self._ended:
            raise _shapeless()
        if name in _FAILED:
            raise AnswerShapeError("error", "The model reported an error.")
        for index in ("output_index", "content_index", "summary_index"):
            if not is_integer(event.get(index, 0), 0, MAX_INDEX):
                raise _shapeless()
        response = event.get("response")
        if response is not None:
            _check_output(response, required=name in TERMINAL)
        self._ended = name in TERMINAL
        if self._ended and response is None:
            raise _shapeless()
        return event

    @property
    def over(self) -> bool:
        """With the terminal event, which repeats all that was said."""
        return self._ended

    def end(self, *, said_done: bool) -> None:
        """Whole only after a terminal event: these streams have one, whatever else is said."""
        del said_done
        if not self._ended:
            raise _incomplete()


class EmbeddingsReading:
    """A list of embeddings; there is no stream of it."""

    def whole(self, tree: JSON) -> dict[str, Any]:
        """An answer whose data are objects with an embedding each."""
        answer = _answer(tree)
        data = answer.get("data")
        if not isinstance(data, list) or not all(map(_is_embedding, data)):
            raise _shapeless()
        return answer

    def event(self, tree: JSON) -> dict[str, Any]:
        """Never: embeddings do not stream."""
        del tree
        raise _shapeless()

    @property
    def over(self) -> bool:
        """Never: see `event`."""
        return False

    def end(self, *, said_done: bool) -> None:
        """Never whole as a stream."""
        del said_done
        raise _incomplete()


_READINGS: Final[Mapping[Dialect, Callable[[], Reading]]] = {
    Dialect.CHAT: ChatReading,
    Dialect.RESPONSES: ResponsesReading,
    Dialect.EMBEDDINGS: EmbeddingsReading,
}


def reading_of(dialect: Dialect) -> Reading:
    """A new reading for one answer of a dialect."""
    return _READINGS[dialect]()


def _answer(tree: JSON) -> dict[str, Any]:
    if not isinstance(tree, dict) or tree.get("error") is not None:
        raise AnswerShapeError("error", "The model reported an error.")
    return tree


def _check_output(response: JSON, *, required: bool) -> None:
    if not isinstance(response, dict) or response.get("error") is not None:
        raise AnswerShapeError("error", "The model reported an error.")
    output = response.get("output")
    if output is None and not required:
        return
    if not isinstance(output, list) or not all(isinstance(item, dict) for item in output):
        raise _shapeless()
    if len(output) > MAX_INDEX:
        raise _shapeless()


def _is_choice(choice: object) -> bool:
    """Whether this is a choice whose index is an index and whose text is where it belongs."""
    return (
        isinstance(choice, dict)
        and is_integer(choice.get("index", 0), 0, MAX_CHOICES)
        and isinstance(choice.get("delta") or {}, dict)
        and isinstance(choice.get("message") or {}, dict)
    )


def _is_embedding(item: object) -> bool:
    return isinstance(item, dict) and isinstance(item.get("embedding"), str | list)


def _shapeless() -> AnswerShapeError:
    return AnswerShapeError("shape", "The model's answer has a shape that is not known.")


def _incomplete() -> AnswerShapeError:
    return AnswerShapeError("incomplete", "The model's answer ended too early.")
