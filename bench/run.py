"""What the gateway costs, beside the model alone and beside a bare pass-through (`make bench`).

Four cases, each with the answers of a fast mock model: a chat answer as JSON, a stream of 100
events that come one at a time, the same stream all at once, and an embedding. In each case these
targets take turns under the same load, so that other work on the machine meets all of them:

direct  the mock model itself, asked without anything between
bare    a pass-through on the same stack (uvicorn, uvloop, httptools, aiohttp) that looks at nothing
key     `ostiary serve`, every layer on, durable, called with an API key
token   the same gateway, called with a development token (RS256); for chat alone

CPU is user + system time of a target's whole process tree, counted until the gateway has nothing
left to do: sequencing the audit log after the answers belongs to its bill. It moves least on a
busy machine, so it comes first; requests a second and latencies are for orientation. "first" is
the time until the first byte of the body: of a stream, of its first event.

The tools (load generator, mock model, bare pass-through) are those of the folder BENCH.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from tests.simulator.gateway import Gateway, upstream_settings  # noqa: E402

TOOLS = ("load.c", "mock_upstream.c", "pairbench.py", "bench_proxy.py")
MODEL, BURST_MODEL, EMBEDDING_MODEL = "gpt-4o-mini", "gpt-4o-burst", "text-embedding-3-small"
CHAT, EMBEDDINGS = "/v1/chat/completions", "/v1/embeddings"
EVENTS = 100
YARDSTICKS = ("direct", "bare")
FIGURES = ("cpu_ms", "rps", "first_ms", "p50_ms", "p99_ms")
COLUMNS = (
    ("CPU", 8),
    ("x direct", 10),
    ("x bare", 8),
    ("best x bare", 13),
    ("requests/s", 12),
    ("first ms", 10),
    ("p50 ms", 9),
    ("p99 ms", 9),
)
NOTES = (
    "The quarterly review covered stock levels, the new supplier onboarding plan, two delayed "
    "shipments and a proposal to move the weekly report to an automated dashboard. "
)
WARM_UP_SECONDS = 0.6
QUIET_TICKS, QUIET_SECONDS, PATIENCE = 1, 0.25, 10.0


@dataclass(frozen=True)
class Case:
    """One kind of request. `mock` and `bare` name the processes that stand for its model."""

    name: str
    title: str
    path: str
    body: Mapping[str, Any]
    mock: str = "paced"
    bare: str = "paced"
    callers: tuple[str, ...] = ("key",)
    seconds: float = 1.0
    """How long a round is, times `--seconds`: a stream that takes half a second wants more."""


_STREAMED = {"stream": True, "stream_options": {"include_usage": True}}
CASES = (
    Case("chat", "chat, JSON", CHAT, {}, callers=("key", "token")),
    Case("stream", f"chat, {EVENTS} events one at a time", CHAT, _STREAMED, seconds=2.0),
    Case(
        "burst",
        f"chat, {EVENTS} events at once",
        CHAT,
        {**_STREAMED, "model": BURST_MODEL},
        mock="burst",
        bare="burst",
    ),
    Case("embeddings", "embeddings, one text", EMBEDDINGS, {}, bare="embeddings"),
)


class NotAResultError(Exception):
    """An answer that was not 200, or none at all: the figures would mean nothing."""


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print one table; 3 where the tools are missing, 1 where an answer was not 200."""
    options = _options(argv)
    if not all((options.bench / name).is_file() for name in TOOLS):
        sys.stderr.write(f"No benchmark tools in {options.bench}: set BENCH.\n")
        return 3
    try:
        with tempfile.TemporaryDirectory(prefix="ostiary-bench-") as folder:
            result = measure(options, Path(folder))
    except NotAResultError as cause:
        sys.stderr.write(f"No result: {cause}\n")
        return 1
    sys.stdout.write(table(result) + "\n")
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")
    return 0


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    known = ",".join(case.name for case in CASES)
    parser.add_argument("--bench", type=Path, default=ROOT.parent / "shared" / "bench")
    parser.add_argument("--cases", default=known, help=f"of {known}, joined by commas")
    parser.add_argument("--connections", help="counts, joined by commas (chat 1,16,64, others 16)")
    parser.add_argument("--seconds", type=float, default=1.0, help="length of a round")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each target and count")
    parser.add_argument("--delay-ms", type=float, default=0.0, help="how long the model thinks")
    parser.add_argument("--gap-ms", type=float, default=5.0, help="between events one at a time")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every round there")
    options = parser.parse_args(argv)
    names = options.cases.split(",")
    if not {*names} <= {case.name for case in CASES}:
        parser.error(f"--cases knows {known}")
    options.cases = tuple(case for case in CASES if case.name in names)
    return options


def measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """All rounds of all cases, the machine they ran on, and the gateway's start and memory."""
    tempfile.tempdir = str(folder)  # the tools keep their programs and bodies there too
    sys.path.insert(0, str(options.bench))
    tool = importlib.import_module("pairbench")
    with ExitStack() as running:
        mocks = {
            "paced": running.enter_context(_mock(options, folder, options.gap_ms)),
            "burst": running.enter_context(_mock(options, folder, 0.0)),
        }
        bares = {
            name: running.enter_context(_bare(options, url)) for name, (url, _) in mocks.items()
        }
        # The pass-through appends its one path; behind "?" the mock does not look at it.
        embedding = f"{mocks['paced'][0]}{EMBEDDINGS}?"
        bares["embeddings"] = running.enter_context(_bare(options, embedding))
        gateway = Gateway(folder / "home", _settings(mocks))
        began = time.perf_counter()
        running.enter_context(gateway)
        ready = time.perf_counter() - began
        idle = resident_mb(gateway.pid)
        credentials = {"key": gateway.key, "token": gateway.token()}
        cases = {}
        for case in options.cases:
            bodies = _bodies(case, folder)
            targets = {
                "direct": _target(tool, "direct", mocks[case.mock], case),
                "bare": _target(tool, "bare", bares[case.bare], case),
            }
            for name in case.callers:
                ours = (gateway.url, gateway.pid)
                targets[name] = _target(tool, name, ours, case, credentials[name])
            for target in targets.values():
                _round(tool, target, 8, bodies, WARM_UP_SECONDS)
            cases[case.name] = {
                count: _rotate(tool, targets, int(count), bodies, options, case)
                for count in (options.connections or _usual(case)).split(",")
            }
        return {
            "machine": machine(),
            "upstream": f"mock, answers after {options.delay_ms:g} ms, "
            f"{options.gap_ms:g} ms between events one at a time",
            "rounds_of_seconds": options.seconds,
            "ready_s": ready,
            "idle_mb": idle,
            "loaded_mb": resident_mb(gateway.pid),
            "cases": cases,
        }


def _usual(case: Case) -> str:
    return "1,16,64" if case.name == "chat" else "16"


def _settings(mocks: Mapping[str, tuple[str, int]]) -> dict[str, str]:
    """One model behind each mock, and the embeddings behind the first."""
    settings = upstream_settings(f"{mocks['paced'][0]}/v1", (MODEL, EMBEDDING_MODEL))
    settings["OSTIARY_PROVIDERS__BURST__KIND"] = "openai"
    settings["OSTIARY_PROVIDERS__BURST__API_KEY"] = settings["OSTIARY_PROVIDERS__MAIN__API_KEY"]
    settings["OSTIARY_PROVIDERS__BURST__BASE_URL"] = f"{mocks['burst'][0]}/v1"
    settings[f"OSTIARY_MODELS__{BURST_MODEL.upper()}__PROVIDER"] = "burst"
    return settings


def _bodies(case: Case, folder: Path) -> str:
    """A file of 64 harmless requests of 0.9 KB, all different, one a line."""
    rows = []
    for number in range(64):
        text = f"{NOTES * 4}Variant {number}: add one sentence on risk number {number}."
        if case.path == EMBEDDINGS:
            body: dict[str, Any] = {"model": EMBEDDING_MODEL, "input": text}
        else:
            messages = [
                {"role": "system", "content": "You are a careful assistant."},
                {"role": "user", "content": f"Summarise the notes in five points. {text}"},
            ]
            body = {"model": MODEL, "temperature": 0.2, "max_tokens": 400, "messages": messages}
        rows.append(json.dumps({**body, **case.body}))
    path = folder / f"{case.name}.jsonl"
    path.write_text("\n".join(rows) + "\n")
    return str(path)


def _target(
    tool: Any, name: str, where: tuple[str, int], case: Case, credential: str | None = None
) -> Any:
    url, pid = where
    header = [f"Authorization: Bearer {credential}"] if credential else None
    return tool.Target(f"{name}={url}{case.path}", str(pid), header, None, None, None)


def _rotate(
    tool: Any,
    targets: dict[str, Any],
    count: int,
    bodies: str,
    options: argparse.Namespace,
    case: Case,
) -> dict[str, list[dict[str, float]]]:
    """A B C D, D C B A, …: no target always follows the same other."""
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in targets}
    for turn in range(options.rounds):
        for name in list(targets) if turn % 2 == 0 else list(targets)[::-1]:
            seconds = options.seconds * case.seconds
            rows[name].append(_round(tool, targets[name], count, bodies, seconds))
    return rows


def _round(tool: Any, target: Any, count: int, bodies: str, seconds: float) -> dict[str, float]:
    """One round of one target; its CPU is counted until it is quiet again."""
    before = tool.cpu_seconds(target.pids)
    out = target.run(None, count, bodies, seconds)
    if not out["requests"] or out["status"].get("200", 0) != out["requests"] or out["errors"]:
        raise NotAResultError(
            f"{target.name} at {count} connections: {out['requests']} answers, "
            f"statuses {out['status']}, errors {out['errors']}"
        )
    used = _quiet(tool, target.pids) - before
    return {
        "cpu_ms": used / out["requests"] * 1000,
        "rps": out["rps"],
        "first_ms": out["ttfb_p50_ms"],
        "p50_ms": out["p50_ms"],
        "p99_ms": out["p99_ms"],
    }


def _quiet(tool: Any, pids: list[int]) -> float:
    """CPU seconds of a process tree once it has stopped using any."""
    until = time.monotonic() + PATIENCE
    seen: float = tool.cpu_seconds(pids)
    while time.monotonic() < until:
        time.sleep(QUIET_SECONDS)
        now: float = tool.cpu_seconds(pids)
        if now - seen <= QUIET_TICKS / tool.TICK:
            return now
        seen = now
    return seen


@contextmanager
def _mock(options: argparse.Namespace, folder: Path, gap_ms: float) -> Iterator[tuple[str, int]]:
    program = folder / "mock_upstream"
    if not program.exists():
        source = options.bench / "mock_upstream.c"
        compile_it = ["cc", "-O2", "-o", str(program), str(source)]
        subprocess.run(compile_it, check=True)  # noqa: S603 - our own words
    port = _free_port()
    delay, gap = (str(round(ms * 1000)) for ms in (options.delay_ms, gap_ms))
    command = [str(program), "-p", str(port), "-k", str(EVENTS), "-d", delay, "-g", gap]
    with _process(command, {}, port) as pid:
        yield f"http://127.0.0.1:{port}", pid


@contextmanager
def _bare(options: argparse.Namespace, upstream: str) -> Iterator[tuple[str, int]]:
    port = _free_port()
    command = [sys.executable, "-m", "uvicorn", "--app-dir", str(options.bench), "--loop", "uvloop"]
    command += ["--http", "httptools", "--no-access-log", "--port", str(port), "bench_proxy:app"]
    settings = {"CLIENT": "aiohttp", "UPSTREAM": upstream, "PYTHONDONTWRITEBYTECODE": "1"}
    with _process(command, settings, port) as pid:
        yield f"http://127.0.0.1:{port}", pid


@contextmanager
def _process(command: list[str], settings: dict[str, str], port: int) -> Iterator[int]:
    quiet = subprocess.DEVNULL
    environment = {**os.environ, **settings}
    process = subprocess.Popen(  # noqa: S603 - our own words
        command, env=environment, stdout=quiet, stderr=quiet
    )
    try:
        _await_port(process, port)
        yield process.pid
    finally:
        process.terminate()
        process.wait(10)


def _await_port(process: subprocess.Popen[bytes], port: int) -> None:
    until = time.monotonic() + 15
    while time.monotonic() < until and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise NotAResultError(f"{Path(process.args[0]).name} did not start")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def resident_mb(pid: int) -> float:
    """Resident memory of one process, in MB (10^6 bytes)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise NotAResultError("the gateway has ended")


def machine() -> dict[str, str]:
    """What the figures were measured on."""
    names = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return {
        "cpu": f"{names[0] if names else platform.machine()}, {os.cpu_count()} cores",
        "kernel": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def table(result: dict[str, Any]) -> str:
    """The medians of every target and count, with its CPU as a ratio to both yardsticks."""
    where = result["machine"]
    lines = [
        f"{where['cpu']}, {where['kernel']}, Python {where['python']}",
        f"Upstream: {result['upstream']}. CPU in ms a request (the whole process tree).",
        f"Gateway: ready after {result['ready_s']:.2f} s, resident {result['idle_mb']:.0f} MB.",
        f"Gateway after the load: resident {result['loaded_mb']:.0f} MB.",
    ]
    titles = {case.name: case.title for case in CASES}
    for name, counts in result["cases"].items():
        heading = "".join(f"{column:>{width}}" for column, width in COLUMNS)
        lines += ["", titles[name], " " * 12 + heading]
        for count, targets in counts.items():
            lines.append(f"{count} connection{'s' if count != '1' else ''}")
            lines += [_line(target, rows, targets) for target, rows in targets.items()]
    return "\n".join(lines)


def _line(name: str, rows: list[dict[str, float]], targets: dict[str, Any]) -> str:
    """One target beside both yardsticks."""
    cpu, rps, first, p50, p99 = (median(rows, figure) for figure in FIGURES)
    ratios = "".join(
        f"{_ratio(rows, targets[yardstick]):{width}.2f}"
        for yardstick, width in zip(YARDSTICKS, (10, 8), strict=True)
    )
    least = max(min(row["cpu_ms"] for row in targets["bare"]), 1e-6)
    best = min(row["cpu_ms"] for row in rows) / least
    return f"  {name:10}{cpu:8.3f}{ratios}{best:13.2f}{rps:12,.0f}{first:10.2f}{p50:9.2f}{p99:9.2f}"


def median(rows: list[dict[str, float]], figure: str) -> float:
    """The median of one figure over the rounds."""
    return statistics.median(row[figure] for row in rows)


def _ratio(rows: list[dict[str, float]], others: list[dict[str, float]]) -> float:
    """The median of the ratios of rounds that were measured beside each other."""
    pairs = zip(rows, others, strict=True)
    return statistics.median(one["cpu_ms"] / max(other["cpu_ms"], 1e-6) for one, other in pairs)


if __name__ == "__main__":
    sys.exit(main())
