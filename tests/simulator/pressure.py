"""Requests at a fixed rate, whatever the answers do: an open loop, as a crowd of callers is.

A closed loop slows down with the server and hides what waits.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Answer:
    """When a request was due, how long its answer took, and its head in lower case."""

    due: float
    seconds: float
    status: int
    head: str

    def header(self, name: str) -> str | None:
        """The value of a header."""
        for line in self.head.split("\r\n"):
            if line.startswith(f"{name}:"):
                return line.partition(":")[2].strip()
        return None


class _Caller(asyncio.Protocol):
    """One kept connection: a request, then its answer."""

    def __init__(self) -> None:
        self.transport: Any = None
        self._got = b""
        self._answer: asyncio.Future[tuple[int, str]] | None = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def ask(self, request: bytes) -> asyncio.Future[tuple[int, str]]:
        self._got = b""
        self._answer = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return self._answer

    def data_received(self, data: bytes) -> None:
        self._got += data
        head, found, body = self._got.partition(b"\r\n\r\n")
        if found and self._answer is not None:
            text = head.decode("latin-1").lower()
            if len(body) >= int(text.partition("content-length: ")[2].partition("\r\n")[0]):
                answer, self._answer = self._answer, None
                answer.set_result((int(text[9:12]), text))

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_result((0, ""))


async def press(port: int, request: bytes, rate: float, seconds: float) -> list[Answer]:
    """Send `request` so many times a second; connections are made as they are needed."""
    loop = asyncio.get_running_loop()
    idle: list[_Caller] = []
    answers: list[Answer] = []

    async def one(due: float) -> None:
        if idle:
            caller = idle.pop()
        else:
            _, caller = await loop.create_connection(_Caller, "127.0.0.1", port)
        status, head = await caller.ask(request)
        answers.append(Answer(due, time.monotonic() - due, status, head))
        if not caller.transport.is_closing():
            idle.append(caller)

    begun, tasks, sent = time.monotonic(), set(), 0
    while (now := time.monotonic() - begun) < seconds:
        while sent < now * rate:
            task = asyncio.ensure_future(one(begun + sent / rate))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            sent += 1
        await asyncio.sleep(0.002)
    await asyncio.wait(set(tasks), timeout=20) if tasks else None
    for caller in idle:
        caller.transport.close()
    return answers


def percentile(values: Sequence[float], share: float) -> float:
    """The value that this share of all does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
