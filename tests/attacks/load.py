"""Clients that converse without pause and remember what they were told to the last byte."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit


@dataclass
class Turn:
    """One question; `request` is set once its answer's last byte was received."""

    text: str
    request: str = ""


@dataclass
class Client:
    """Asks one question after the other on one face, streamed or whole, until it is cut off."""

    token: str
    path: str
    streamed: bool
    answer: str
    turns: list[Turn] = field(default_factory=list)
    conversation: str | None = None
    told: dict[str, list[Turn]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    asked: int = 0

    def run(self, url: str, stop: threading.Event) -> None:
        """Converse until `stop`, or until the gateway is gone."""
        connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=20)
        try:
            while not stop.is_set():
                self._ask(connection)
        except (OSError, http.client.HTTPException):
            pass
        finally:
            connection.close()

    def _ask(self, connection: http.client.HTTPConnection) -> None:
        self.asked += 1
        turn = Turn(f"question {self.asked} of {self.path} {'streamed' if self.streamed else ''}")
        self.turns.append(turn)
        if self.conversation is not None:
            self.told[self.conversation].append(turn)
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        connection.request("POST", self.path, json.dumps(self._body(turn.text)), headers)
        response = connection.getresponse()
        data = response.read()
        if response.status != 200:
            self.faults.append(f"{response.status} {data[:300]!r}")
            return
        said, conversation = self._read(data)
        if said != self.answer:
            self.faults.append(f"another answer: {said[:300]!r}")
        turn.request = response.headers["x-request-id"]
        if conversation is not None and self.conversation is None:
            self.conversation = conversation
            self.told[conversation] = [turn]

    def _body(self, text: str) -> dict[str, Any]:
        if self.path == "/api/chat":
            body: dict[str, Any] = {"message": text}
            if self.conversation is not None:
                body["conversationId"] = self.conversation
        else:
            body = {"model": "gpt-4o", "messages": [{"role": "user", "content": text}]}
        return {**body, "stream": True} if self.streamed else body

    def _read(self, data: bytes) -> tuple[str, str | None]:
        if not self.streamed:
            body = json.loads(data)
            if self.path == "/api/chat":
                return body["response"], body["conversationId"]
            return body["choices"][0]["message"]["content"], None
        events = list(frames(data))
        if self.path == "/api/chat":
            said = "".join(event.get("delta", "") for event in events)
            return said, next((e["conversationId"] for e in events if "conversationId" in e), None)
        deltas = (event["choices"][0]["delta"] for event in events if event.get("choices"))
        return "".join(delta.get("content") or "" for delta in deltas), None


def frames(data: bytes) -> Iterator[dict[str, Any]]:
    """The events of a stream that ended with [DONE]; one that did not is a fault of its own."""
    lines = [line.removeprefix(b"data: ") for line in data.split(b"\n\n") if line]
    if lines[-1:] != [b"[DONE]"]:
        raise AssertionError(f"a stream ended without [DONE]: {data[-300:]!r}")
    return (json.loads(line) for line in lines[:-1])
