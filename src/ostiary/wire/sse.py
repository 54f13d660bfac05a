"""Server-sent events: an incremental reader (WHATWG HTML §9.2) and the frame that we write.

Events depend on the bytes alone, never on how they were cut into chunks, and the cost is linear
even where they come one at a time. Unlike a browser the reader is strict and bounded: bytes that
are not UTF-8 and events beyond a size are errors, because text that cannot be inspected must not
pass.
"""

from __future__ import annotations

from typing import Final

import msgspec

from ostiary.errors import OstiaryError

MAX_EVENT_BYTES: Final = 1_048_576
_BOM: Final = b"\xef\xbb\xbf"
_MAX_RETRY_DIGITS: Final = 9


class SseError(OstiaryError):
    """The stream cannot be read on: `rule` is "not-utf8" or "event-too-large"; quotes nothing."""

    def __init__(self, rule: str, message: str) -> None:
        """Take the stable name of the broken rule and a sentence."""
        super().__init__(message)
        self.rule = rule


class SseEvent(msgspec.Struct, frozen=True, gc=False):
    """One dispatched event. `data` is UTF-8 whose lines are joined by LF, without the last LF."""

    data: bytes
    event: str = "message"
    id: str = ""

    def __repr__(self) -> str:
        return f"SseEvent({len(self.data)} bytes)"


class Parser:
    """Reads one stream: `feed` its chunks, then `close`.

    An event is returned by the `feed` that brings the last byte of its blank line. Where a chunk
    holds whole events before a fault, these are returned first and the next call raises SseError,
    as does every call after it.
    """

    def __init__(self, *, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        """Bound the bytes of one event's lines, and of any single line, by `max_event_bytes`."""
        self._limit = max_event_bytes
        self._line = bytearray()
        self._first_line = True
        self._after_cr = False
        self._error: SseError | None = None

        self._data: list[bytes] = []
        self._event = ""
        self._id = ""
        self._size = 0

        self.retry: int | None = None
        """The reconnection time in milliseconds that the stream last asked for."""
        self.unfinished = False
        """After `close`: the stream ended within an event, which was not dispatched."""

    def feed(self, chunk: bytes) -> list[SseEvent]:
        """The events that `chunk` completes, in order; none is returned twice."""
        if self._error is not None:
            raise self._error
        if not chunk:
            return []
        if self._after_cr and chunk[0] == 0x0A:
            chunk = chunk[1:]
        self._after_cr = chunk.endswith(b"\r")

        lines = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        rest = lines.pop()
        events: list[SseEvent] = []
        try:
            if lines:
                self._line += lines[0]
                lines[0] = bytes(self._line)
                self._line.clear()
                self._take_lines(lines, events)
            self._line += rest
            self._check_size(len(self._line))
        except SseError as error:
            self._error = error
            self._line.clear()
            self._data.clear()
            if not events:
                raise
        return events

    def close(self) -> None:
        """Note the end of the stream in `unfinished`; raises SseError if it could not be read."""
        if self._error is not None:
            raise self._error
        self.unfinished = bool(self._data or self._line)

    def _take_lines(self, lines: list[bytes], events: list[SseEvent]) -> None:
        """Process whole lines, without their ends, appending what they dispatch to `events`."""
        for whole in lines:
            line = whole
            if self._first_line:
                self._first_line = False
                line = line.removeprefix(_BOM)
            if line:
                self._check_size(len(line))
                self._take_field(line)
            elif self._data:
                data = b"\n".join(self._data) if len(self._data) > 1 else self._data[0]
                events.append(SseEvent(data, self._event or "message", self._id))
                self._start_event()
            else:
                self._start_event()

    def _start_event(self) -> None:
        self._data = []
        self._event = ""
        self._size = 0

    def _take_field(self, line: bytes) -> None:
        """One field or comment; fields count towards the event's size."""
        if not line.isascii():
            _check_utf8(line)
        name, _, value = line.partition(b":")
        if not name:
            return
        self._size += len(line)
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data.append(value)
        elif name == b"event":
            self._event = value.decode()
        elif name == b"id" and b"\0" not in value:
            self._id = value.decode()
        elif name == b"retry" and value.isdigit() and len(value) <= _MAX_RETRY_DIGITS:
            self.retry = int(value)

    def _check_size(self, more: int) -> None:
        if self._size + more > self._limit:
            raise SseError("event-too-large", f"an event is larger than {self._limit} bytes")


def _check_utf8(line: bytes) -> None:
    try:
        line.decode()
    except UnicodeDecodeError:
        raise SseError("not-utf8", "the event stream is not UTF-8") from None


def frame(data: bytes) -> bytes:
    """One event with `data`, ready to send.

    A line break within `data` cannot end the event or begin another field: CR, LF and CRLF each
    begin a new data line, which readers join by LF.
    """
    if b"\n" in data or b"\r" in data:
        lines = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        data = lines.replace(b"\n", b"\ndata: ")
    return b"data: " + data + b"\n\n"
