"""What goes to the model is the screened body under the model's own name, and nothing else."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.unit.doorway import doorway, piece, says

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"


def test_the_models_own_name_and_the_callers_trace_go_out(tmp_path: Path) -> None:
    async def test() -> None:
        async with doorway(tmp_path) as door:
            body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}], "seed": 3}
            path = "/v1/chat/completions"
            await door.events(door.arrival("POST", path, body, {"traceparent": TRACE}))
            [call] = door.provider.calls
            assert call.model == call.body["model"] == "upstream-name"
            assert call.body["seed"] == 3
            assert call.body["stream"] is False
            version, trace, span, flags = call.traceparent.split("-")
            assert (version, trace, flags) == ("00", "4bf92f3577b34da6a3ce929d0e0e4736", "00")
            assert span != "00f067aa0ba902b7"
            assert len(span) == 16
            assert "Hi" not in repr(call)

    asyncio.run(test())


def test_a_stream_always_asks_for_its_usage(tmp_path: Path) -> None:
    async def test() -> None:
        async with doorway(tmp_path, says(piece({"content": "x"}, "stop"))) as door:
            await door.events(door.completion(stream=True))
            [call] = door.provider.calls
            assert call.stream
            assert call.body["stream_options"]["include_usage"] is True

    asyncio.run(test())
