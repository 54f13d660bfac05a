"""Events depend on the bytes alone; what cannot be read is an error, never a guess."""

import time
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ostiary.wire.sse import Parser, SseError, SseEvent, frame

fields = st.sampled_from(
    [
        *("data: a", "data:b", "data", "data:", "data:  c", "event: x", "event:", "id: 7", "id"),
        *(
            "id: \0",
            ": note",
            ":",
            "retry: 100",
            "retry: -1",
            "odd: 1",
            "data: é😀",
            "",
            " data: x",
        ),
    ]
)
ends = st.sampled_from(["\n", "\r", "\r\n"])
streams = st.lists(st.tuples(fields, ends)).map(lambda ls: "".join(a + b for a, b in ls).encode())


def outcome(chunks, **options):
    """Everything a reader can see of a stream that comes in these chunks."""
    parser, events, rule = Parser(**options), [], None
    try:
        for chunk in chunks:
            events += parser.feed(chunk)
        parser.close()
    except SseError as error:
        rule = error.rule
    return events, rule, parser.unfinished, parser.retry


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[a:b] for a, b in pairwise(edges)]


def events_of(text: str) -> list[SseEvent]:
    return outcome([text.encode()])[0]


@given(streams, st.lists(st.integers(0)), st.sampled_from([b"", b"data: cut", b"\xff", b"\xc3"]))
@example(b"data: a\r\n\r\ndata: b\r\n\r\n", [9, 10, 11], b"")
@example(b"\xef\xbb\xbfdata: a\n\n", [1, 2], b"")
def test_the_same_bytes_give_the_same_events_however_they_are_cut(data, places, tail):
    data += tail
    whole = outcome([data])
    assert outcome(cut(data, places)) == whole
    assert outcome([data[i : i + 1] for i in range(len(data))]) == whole


@given(streams, st.lists(st.integers(0)), st.integers(1, 12))
def test_a_bound_falls_at_the_same_event_however_bytes_are_cut(data, places, limit):
    whole = outcome([data], max_event_bytes=limit)
    assert outcome(cut(data, places), max_event_bytes=limit) == whole


@given(st.binary(), st.lists(st.integers(0)))
def test_any_bytes_give_events_or_one_error(data, places):
    assert outcome(cut(data, places)) == outcome([data])


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_frame_is_one_event_whatever_it_holds(text):
    expected = text.replace("\r\n", "\n").replace("\r", "\n").encode()
    assert outcome([frame(text.encode())]) == ([SseEvent(expected)], None, False, None)


def test_the_examples_of_the_standard():
    # WHATWG HTML §9.2.6.
    assert events_of("data: YHOO\ndata: +2\ndata: 10\n\n") == [SseEvent(b"YHOO\n+2\n10")]
    assert events_of("data\n\ndata\ndata\n\ndata:") == [SseEvent(b""), SseEvent(b"\n")]
    assert events_of("data:test\n\ndata: test\n\n") == [SseEvent(b"test")] * 2
    first, second, third = events_of(
        ": test stream\n\ndata: first event\nid: 1\n\n"
        "data:second event\nid\n\ndata:  third event\n\n"
    )
    assert (first.data, first.id) == (b"first event", "1")
    assert (second.data, second.id) == (b"second event", "")
    assert third.data == b" third event"


def test_fields():
    assert events_of("event: add\ndata: 1\n\ndata: 2\n\n") == [
        SseEvent(b"1", "add"),
        SseEvent(b"2"),
    ]
    assert events_of("event: add\n\ndata: 2\n\n") == [SseEvent(b"2")]
    assert events_of("id: 1\ndata: a\n\nid: \0\ndata: b\n\n") == [
        SseEvent(b"a", id="1"),
        SseEvent(b"b", id="1"),
    ]
    assert events_of("\ufeffdata: a\n\n\ufeffdata: b\n\n") == [SseEvent(b"a")]
    assert events_of(" data: a\n\nDATA: b\n\ndata : c\n\n") == []


def test_retry_takes_ascii_digits_only():
    for spelt, wanted in [
        ("3000", 3000),
        ("0", 0),
        ("-1", None),
        ("1.5", None),
        ("٣", None),
        ("", None),
    ]:
        assert outcome([f"retry: {spelt}\n\n".encode()])[3] == wanted
    assert outcome([b"retry: " + b"9" * 100_000 + b"\n\n"])[3] is None


def test_a_carriage_return_ends_a_line_at_once():
    parser = Parser()
    assert parser.feed(b"data: a\r\r") == [SseEvent(b"a")]
    assert parser.feed(b"\ndata: b\r\n\r") == [SseEvent(b"b")]


@pytest.mark.parametrize("tail", ["data: a", "data: a\n", "da"])
def test_an_event_that_the_stream_breaks_off_is_reported_and_not_dispatched(tail):
    assert outcome([b"data: x\n\n", tail.encode()]) == ([SseEvent(b"x")], None, True, None)


def test_events_before_a_fault_are_handed_over_first():
    parser = Parser()
    assert parser.feed(b"data: a\n\ndata: \xff\n\n") == [SseEvent(b"a")]
    for _ in range(2):
        with pytest.raises(SseError) as caught:
            parser.feed(b"data: b\n\n")
        assert caught.value.rule == "not-utf8"
    with pytest.raises(SseError):
        parser.close()


@pytest.mark.parametrize("line", [b": \xff", b"odd: \xc0\xaf", b"id: \xed\xa0\x80", b"event: \x80"])
def test_invalid_utf8_is_an_error_in_every_line(line):
    assert outcome([line + b"\n\n"])[1] == "not-utf8"


@pytest.mark.parametrize("unit", [b"x", b"data: x\n", b"data: x\r\n", b"event: x\n"])
def test_an_event_without_end_is_refused_in_bounded_memory(unit):
    parser = Parser(max_event_bytes=1000)
    with pytest.raises(SseError) as caught:
        for _ in range(1010):
            parser.feed(unit)
    assert caught.value.rule == "event-too-large"


def test_comments_may_go_on_for_ever():
    parser = Parser(max_event_bytes=100)
    for _ in range(1000):
        assert parser.feed(b": keep-alive\n") == []
    assert parser.feed(b"data: a\n\n") == [SseEvent(b"a")]


def test_the_cost_is_linear_one_byte_at_a_time():
    data = b"data: " + b"x" * 500_000 + b"\n\n"
    parser, begun = Parser(), time.process_time()
    events = [event for byte in data for event in parser.feed(bytes([byte]))]
    assert [len(event.data) for event in events] == [500_000]
    assert time.process_time() - begun < 3


def test_no_text_is_in_a_repr():
    assert "secret" not in repr(SseEvent(b"secret", "secret", "secret"))
