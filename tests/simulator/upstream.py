"""A model behind the gateway: a real HTTP server on loopback that records what it is sent."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

Behaviour = Callable[[web.Request, dict[str, Any]], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Received:
    """One request as the model got it."""

    path: str
    headers: dict[str, str]
    raw: bytes
    body: dict[str, Any]


class Upstream:
    """Speaks the OpenAI API. By default it answers every chat with `text`, word by word where a
    stream is asked; `behave` replaces that by any handler of aiohttp.
    """

    def __init__(self, text: str = "Hello from the model.") -> None:
        self.text = text
        self.received: list[Received] = []
        self.behaviour: Behaviour = self._chat
        self.url = ""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._runner: web.AppRunner | None = None

    def __enter__(self) -> Upstream:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def behave(self, behaviour: Behaviour | None) -> None:
        """Answer by this handler from now on; None: as at first."""
        self.behaviour = behaviour or self._chat

    async def _start(self) -> None:
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        port = site._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}/v1"

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        body = json.loads(raw) if raw else {}
        self.received.append(Received(request.path, dict(request.headers), raw, body))
        return await self.behaviour(request, body)

    async def _chat(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        if body.get("stream"):
            return await stream(request, chunks(self.text))
        return web.json_response(completion(self.text))


def completion(text: str) -> dict[str, Any]:
    """A whole answer."""
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "gpt-4o",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": text, "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12},
    }


def chunk(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    """One event of a streamed answer."""
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "gpt-4o",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
    }


def chunks(text: str, size: int = 5) -> list[bytes]:
    """A streamed answer, `size` characters an event, with usage and [DONE]."""
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    events = [
        chunk({"role": "assistant", "content": ""}),
        *(chunk({"content": piece}) for piece in pieces),
        chunk({}, "stop"),
        {
            **chunk({}),
            "choices": [],
            "usage": {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12},
        },
    ]
    frames = [b"data: " + json.dumps(event).encode() + b"\n\n" for event in events]
    return [*frames, b"data: [DONE]\n\n"]


async def stream(
    request: web.Request, frames: list[bytes], pause: float = 0.0
) -> web.StreamResponse:
    """Send frames as writes of their own, `pause` seconds apart."""
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    for frame in frames:
        await response.write(frame)
        if pause:
            await asyncio.sleep(pause)
    await response.write_eof()
    return response
