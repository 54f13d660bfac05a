"""How long a start takes and what the process weighs: as bounds that a careless import breaks."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.simulator.gateway import Gateway

READY_SECONDS = 4.0
HELP_SECONDS = 1.0
RESIDENT_MB = 130.0
TRIES = 3
"""Tests run side by side, so what is bounded is CPU time, which on a machine at rest is the time
until ready too (`docs/performance.md` has both); the best of three is what the product takes."""


def resident_mb(pid: int) -> float:
    """Resident memory in MB (10^6 bytes)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise AssertionError("the process has ended")


def ask(gateway: Gateway) -> int:
    request = urllib.request.Request(
        f"{gateway.url}/v1/chat/completions",
        json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}]}).encode(),
        {"Authorization": f"Bearer {gateway.key}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as response:
        return response.status


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_a_first_start_is_ready_soon_and_weighs_little(tmp_path: Path) -> None:
    took = []
    for number in range(TRIES):
        with Gateway(tmp_path / f"home{number}") as gateway:
            took.append(gateway.cpu_seconds)
            assert ask(gateway) == 200
            assert resident_mb(gateway.pid) <= RESIDENT_MB
        if took[-1] <= READY_SECONDS:
            break
    assert min(took) <= READY_SECONDS


def test_help_comes_at_once(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path / "home")
    took = []
    for _ in range(TRIES):
        began = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(
            [sys.executable, "-m", "ostiary", "--help"],
            env={**os.environ, **gateway.environment},
            cwd=tmp_path,
            capture_output=True,
            check=True,
            timeout=30,
        )
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        took.append(ended.ru_utime + ended.ru_stime - began.ru_utime - began.ru_stime)
    assert min(took) <= HELP_SECONDS
