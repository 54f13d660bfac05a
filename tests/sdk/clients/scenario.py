"""What every client goes through, whatever it is: the same scenarios over each of its faces.

A face is one way to build a client from a base URL and a key. A script in this folder names its
faces and calls `main`; it runs as a process of its own, in an environment that holds the client
and not this project. It is told on stdin where the gateways are and what to say, and prints one
line of JSON: face → scenario → result.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Turns = list[tuple[str, str]]

TOOL = {
    "name": "look_up",
    "description": "Looks up what is on at a place.",
    "parameters": {
        "type": "object",
        "properties": {"place": {"type": "string"}, "days": {"type": "integer"}},
        "required": ["place", "days"],
    },
}


@dataclass(frozen=True)
class Place:
    """Where a client is pointed to: the gateway's root, and what opens it."""

    url: str
    key: str
    model: str
    retries: int = 0
    embedding_model: str = ""


class Face:
    """One way to use a client. `errors` are what it raises for an answer that is a refusal."""

    errors: tuple[type[Exception], ...] = ()
    embed: Any = None
    models: Any = None
    # One loop for all: a client's connections belong to the loop that made them.
    loop = asyncio.Runner()

    def __init__(self, place: Place) -> None:
        """Build the client as its documentation says."""
        self.place = place

    def ask(self, turns: Turns) -> str:
        """The whole answer to a conversation of (role, text)."""
        raise NotImplementedError

    def stream(self, turns: Turns) -> list[str]:
        """The pieces of a streamed answer."""
        raise NotImplementedError

    def use_tool(self, question: str, result: str) -> dict[str, Any]:
        """Ask with `TOOL`, return its result; {name, arguments, said}."""
        raise NotImplementedError

    def told(self, error: Exception) -> dict[str, Any]:
        """What the error tells a developer: {types, status, code, message, retryAfter}."""
        response = getattr(error, "response", None)
        return {
            "types": [kind.__name__ for kind in type(error).__mro__],
            "status": getattr(error, "status_code", None),
            "code": getattr(error, "code", None),
            "message": str(error),
            "retryAfter": (getattr(response, "headers", None) or {}).get("retry-after"),
        }


def _conversation(turns: list[str], say: Callable[[Turns], Any]) -> list[Any]:
    spoken: Turns = [("system", "You are helpful. Mind the ümläuts.")]
    said = []
    for text in turns:
        spoken.append(("user", text))
        answer = say(spoken)
        said.append(answer)
        spoken.append(("assistant", answer if isinstance(answer, str) else "".join(answer)))
    return said


def _refused(face: Face, texts: list[str]) -> dict[str, Any]:
    for text in texts:
        try:
            face.ask([("user", text)])
        except face.errors as error:
            return face.told(error)
    raise AssertionError("it was not refused")


class Scenarios:
    """The scenarios, by name, over one face."""

    def __init__(self, build: Callable[[Place], Face], given: Mapping[str, Any]) -> None:
        """Take what stdin said."""
        self._build = build
        self._given = given
        self._face = build(self._place())

    def _place(self, where: str = "open", **changed: Any) -> Place:
        return Place(**{**self._given[where], **changed})

    def whole(self) -> Any:
        """A conversation of several turns."""
        return _conversation([f"whole {t}" for t in self._given["turns"]], self._face.ask)

    def streamed(self) -> Any:
        """The same, streamed."""
        return _conversation([f"streamed {t}" for t in self._given["turns"]], self._face.stream)

    def tool(self) -> Any:
        """A tool call and its result."""
        return self._face.use_tool("tool What is on?", self._given["toolResult"])

    def policy(self) -> Any:
        """What policy blocks."""
        return _refused(self._face, [self._given["blocked"]])

    def limited(self) -> Any:
        """More requests than the limit allows."""
        return _refused(self._build(self._place("strict")), ["hi"] * 4)

    def wrong_key(self) -> Any:
        """A key that is none."""
        return _refused(self._build(self._place(key=self._given["wrongKey"])), ["hi"])

    def wrong_model(self) -> Any:
        """A model that is not configured."""
        return _refused(self._build(self._place(model="gpt-4")), ["hi"])

    def long(self) -> Any:
        """A text above the text limit, a body above the body limit."""
        return [_refused(self._face, ["long " * (size // 5)]) for size in self._given["sizes"]]

    def embeddings(self) -> Any:
        """Vectors, where the client has them."""
        return self._face.embed(self._given["embedded"]) if self._face.embed else None

    def models(self) -> Any:
        """Names of models, or what the client is told about its own."""
        return self._face.models() if self._face.models else None

    def patient(self) -> Any:
        """With the client's own retries on: seconds until an answer came, of a spent limit."""
        hasty = self._build(self._place("slow"))
        # The second time one was let through just before, so that the wait is a whole one.
        time.sleep(int(_refused(hasty, ["hi"] * 61)["retryAfter"]))
        spent = _refused(hasty, ["hi"] * 61)
        begun = time.monotonic()
        said = self._build(self._place("slow", retries=2)).ask([("user", "hi")])
        return {"said": said, "waited": time.monotonic() - begun, "told": spent}


def main(faces: Mapping[str, Callable[[Place], Face]]) -> None:
    """Put each face through every scenario; one that fails says how and does not stop the rest."""
    given = json.load(sys.stdin)
    results: dict[str, dict[str, Any]] = {}
    for name, build in faces.items():
        rows = results[name] = {}
        scenarios = Scenarios(build, given)
        for scenario in given["scenarios"].get(name, given["scenarios"][""]):
            begun = time.monotonic()
            try:
                rows[scenario] = getattr(scenarios, scenario)()
            except Exception as error:
                trace = "".join(traceback.format_exception(error, limit=-4))
                rows[scenario] = {"failed": trace[-4000:]}
            print(f"{name} {scenario} {time.monotonic() - begun:.2f}", file=sys.stderr)
    print(json.dumps(results))
