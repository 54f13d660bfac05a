"""A model behind the gateway: a real HTTP server on loopback that records what it is sent."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from tests.simulator.answers import (
    call_item,
    chunk,
    chunks,
    completion,
    embeddings,
    message_item,
    response,
    response_frames,
    tool_chunks,
    tool_completion,
    wanted_tool,
)

__all__ = ["Received", "Upstream", "chunk", "chunks", "completion", "stream"]

Behaviour = Callable[[web.Request, dict[str, Any]], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Received:
    """One request as the model got it."""

    path: str
    headers: dict[str, str]
    raw: bytes
    body: dict[str, Any]


class Upstream:
    """Speaks the OpenAI API under any prefix: chat, `…/embeddings` and `…/responses`.

    By default it says `text`, piece by piece where a stream is asked, but first calls a tool of
    the request where there is one (see `wanted_tool`). `behave` replaces all that by any handler
    of aiohttp. `url` ends in /v1, `root` has no path.
    """

    def __init__(self, text: str = "Hello from the model.") -> None:
        self.text = text
        self.received: list[Received] = []
        self.behaviour: Behaviour = self._answer
        self.url = ""
        self.root = ""
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
        self.behaviour = behaviour or self._answer

    async def _start(self) -> None:
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        port = site._server.sockets[0].getsockname()[1]
        self.root = f"http://127.0.0.1:{port}"
        self.url = f"{self.root}/v1"

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        body = json.loads(raw) if raw else {}
        self.received.append(Received(request.path, dict(request.headers), raw, body))
        return await self.behaviour(request, body)

    async def _answer(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        if request.path.endswith("/embeddings"):
            return web.json_response(embeddings(body))
        if request.path.endswith("/responses"):
            return await self._respond(request, body)
        return await self._chat(request, body)

    async def _chat(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        tool = wanted_tool(body)
        if body.get("stream"):
            return await stream(request, tool_chunks(*tool) if tool else chunks(self.text))
        return web.json_response(tool_completion(*tool) if tool else completion(self.text))

    async def _respond(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        tool = wanted_tool(body)
        item = call_item(*tool) if tool else message_item(self.text)
        if body.get("stream"):
            return await stream(request, response_frames(body, item))
        return web.json_response(response(body, [item]))


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
