"""Raw requests against a running gateway: what two readers could read differently is refused."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests import vectors
from tests.simulator.gateway import Gateway

_STATUS = re.compile(rb"HTTP/1\.1 (\d\d\d)")
_MANY = re.compile(r"@MANY(\d+)@")
_QUIET = 0.7


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, list[int]]]:
    """The statuses that each case was answered with, interim ones left out."""
    cases: Any = vectors.load("http1_raw.json")
    home: Path = tmp_path_factory.mktemp("http1") / "home"
    with Gateway(home, {"OSTIARY_SERVER__HOSTS": '["gw.test"]'}) as gateway:
        port = int(gateway.url.rpartition(":")[2])
        with ThreadPoolExecutor(16) as threads:
            sent = {c["id"]: _bytes(c["raw"], gateway.key) for c in cases["cases"]}
            got = threads.map(lambda data: _statuses(port, data), sent.values())
            yield dict(zip(sent, got, strict=True))


def _bytes(raw: str | list[Any], key: str) -> bytes:
    parts = [raw] if isinstance(raw, str) else raw
    text = "".join(p if isinstance(p, str) else p[0] * p[1] for p in parts).replace("@KEY@", key)
    text = _MANY.sub(lambda m: "".join(f"X-{n}: v\r\n" for n in range(int(m[1]))), text)
    return text.encode("latin-1")


def _statuses(port: int, data: bytes) -> list[int]:
    got = b""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.settimeout(_QUIET)
        try:
            connection.sendall(data)
            while piece := connection.recv(65_536):
                got += piece
        except (TimeoutError, ConnectionError):
            pass
    return [int(status) for status in _STATUS.findall(got) if status != b"100"]


def _fits(must: str, statuses: list[int]) -> bool:
    good = [status for status in statuses if status < 300]
    return {
        "accept": bool(good) and good == statuses,
        "reject": not good,
        "either": True,
        "responses:2": len(good) == 2,
        "responses<=1": len(good) <= 1,
    }[must]


def test_every_raw_request_is_taken_or_refused_as_it_must(answers: dict[str, list[int]]) -> None:
    cases: Any = vectors.load("http1_raw.json")
    wrong = {
        case["id"]: (case["must"], answers[case["id"]])
        for case in cases["cases"]
        if not _fits(case["must"], answers[case["id"]])
    }
    assert not wrong
    assert len(answers) == cases["count"]
