"""A client that sends exactly the bytes it is told to, and reads one whole answer."""

from __future__ import annotations

import http.client
import json
import re
import select
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_PIECE = 65_536

Headers = Mapping[str, str] | Iterable[tuple[str, str]]


@dataclass(frozen=True)
class Answered:
    """One answer: status, headers by lower-case name, and the body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)


def send(
    url: str,
    method: str,
    path: str,
    body: bytes | Any = None,
    headers: Headers = (),
    *,
    host: str | None = "",
    timeout: float = 20.0,
) -> Answered:
    """Send one request. A body that is not bytes goes as JSON; `host` None sends no Host.

    Stops sending as soon as the answer begins, as a client must that is refused early.
    """
    pairs = list(headers.items() if isinstance(headers, Mapping) else headers)
    if body is not None and not isinstance(body, bytes):
        body = json.dumps(body).encode()
    names = {name.lower() for name, _ in pairs}
    if body is not None and "content-type" not in names:
        pairs.append(("Content-Type", "application/json"))
    if body is not None and not names & {"content-length", "transfer-encoding"}:
        pairs.append(("Content-Length", str(len(body))))
    address = urlsplit(url).netloc
    connection = http.client.HTTPConnection(address, timeout=timeout)
    try:
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        if host is not None:
            connection.putheader("Host", (host or address).encode())
        for name, value in pairs:
            connection.putheader(name, value.encode("utf-8"))
        connection.endheaders()
        for at in range(0, len(body or b""), _PIECE):
            if select.select([connection.sock], [], [], 0)[0]:
                break
            connection.send(body[at : at + _PIECE])
        with connection.getresponse() as response:
            kept = {name.lower(): value for name, value in response.getheaders()}
            return Answered(response.status, kept, response.read())
    finally:
        connection.close()


def bearer(credential: str) -> dict[str, str]:
    """The header of a credential."""
    return {"Authorization": f"Bearer {credential}"}


def chat(text: str = "hi", **more: Any) -> dict[str, Any]:
    """A chat request with one message."""
    return {"model": "gpt-4o", "messages": [{"role": "user", "content": text}], **more}


def check_problem(answered: Answered, status: int, *, native: bool = False) -> dict[str, Any]:
    """The body of a refusal, after everything that every refusal promises was checked."""
    assert answered.status == status, answered
    assert answered.headers["content-type"] == "application/problem+json"
    assert answered.headers["cache-control"] == "no-store"
    body = answered.json()
    assert body["requestId"] == answered.headers["x-request-id"]
    check_problem_body(body, status, native=native)
    if status == 401:
        assert answered.headers["www-authenticate"].startswith("Bearer")
    if status in {429, 503}:
        assert int(answered.headers["retry-after"]) >= 1
    if status == 405:
        assert answered.headers["allow"]
    return body


def check_problem_body(body: dict[str, Any], status: int, *, native: bool = False) -> None:
    """OpenAI's error object (or the plain string) first, the members of RFC 9457 beside it."""
    assert next(iter(body)) == "error"
    if native:
        assert isinstance(body["error"], str)
        assert body["error"]
    else:
        assert set(body["error"]) == {"message", "type", "code", "param"}
        assert body["error"]["message"]
        assert body["error"]["code"]
    assert body["status"] == status
    assert _UUID.fullmatch(body["requestId"])
    for name in ("type", "title", "detail", "layer", "rule"):
        assert isinstance(body[name], str)
        assert body[name]


def events(raw: bytes) -> list[Any]:
    """The events of a stream as this gateway writes them: decoded JSON, or "[DONE]".

    An event that has a name says the same in its `type`.
    """
    frames = raw.split(b"\n\n")
    assert frames.pop() == b"", "a stream ends with a blank line"
    found = []
    for whole in frames:
        name, _, frame = whole.rpartition(b"\n")
        assert frame.startswith(b"data: ")
        data = frame.removeprefix(b"data: ")
        found.append("[DONE]" if data == b"[DONE]" else json.loads(data))
        assert not name or name == b"event: " + found[-1]["type"].encode()
    return found
