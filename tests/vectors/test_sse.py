"""The project's own upstream streams: the same events however their bytes are cut."""

import base64
import json

from ostiary.wire.sse import Parser, SseEvent
from ostiary.wire.strict_json import StrictJSONError, decode, encode
from ostiary.wire.texts import strings
from tests.vectors import load

TEXT_FIELDS = ("content", "delta", "arguments", "name", "text", "refusal", "reasoning_content")


def chunks_of(case) -> list[bytes]:
    chunks = []
    for chunk in case["chunks"]:
        unit, count = (chunk, 1) if isinstance(chunk, str) else chunk
        chunks += [base64.b64decode(unit)] * count
    return chunks


def read(chunks) -> tuple[list[SseEvent], bool]:
    parser = Parser(max_event_bytes=64 * 1024 * 1024)
    events = [event for chunk in chunks for event in parser.feed(chunk)]
    parser.close()
    return events, parser.unfinished


def resized(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


def test_streams_give_the_same_events_however_they_are_cut():
    cases = load("sse_streams.json")["cases"]
    assert len(cases) == 161
    dispatched = 0
    for case in cases:
        chunks = chunks_of(case)
        data = b"".join(chunks)
        wanted = read(chunks)
        dispatched += len(wanted[0])
        for size in (1, 7, 4096) if len(data) < 20_000 else (4093, 1_000_000):
            assert read(resized(data, size)) == wanted, (case["id"], size)
    assert dispatched > 2500


def test_texts_that_must_arrive_are_in_the_events():
    missing = []
    for case in load("sse_streams.json")["cases"]:
        text = text_of(case)
        for wanted in case["must"]:
            # Arguments of tools are JSON within JSON.
            if wanted not in text and json.dumps(wanted)[1:-1] not in text:
                missing.append((case["id"], wanted))
    assert missing == []


def text_of(case) -> str:
    """All text of a stream in order, one choice behind the other."""
    channels: dict[int, str] = {}
    for event in read(chunks_of(case))[0]:
        try:
            tree = decode(event.data)
        except StrictJSONError:
            continue  # [DONE], and data broken on purpose: nothing of it has to arrive
        for place in strings(tree):
            if not place.is_key and place.path[-1] in TEXT_FIELDS:
                holder = tree["choices"][place.path[1]] if place.path[0] == "choices" else {}
                channel = holder.get("index", 0)
                channels[channel] = channels.get(channel, "") + place.text
    return "".join(channels.values())


def test_event_data_survives_decoding_and_encoding():
    (case,) = [c for c in load("sse_streams.json")["cases"] if c["id"] == "EMAIL-whole"]
    events, unfinished = read(chunks_of(case))
    assert not unfinished
    for event in events[:-1]:
        assert decode(encode(decode(event.data))) == decode(event.data)
    assert events[-1].data == b"[DONE]"
