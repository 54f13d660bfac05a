"""The gateway as a process of its own, started and driven by its commands."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parents[2]
_SOURCE = _ROOT / "src"
_COMMAND = (sys.executable, "-m", "ostiary")
_READY = re.compile(r"Ostiary listens at (https?://\S+)")
_KEY = re.compile(r"aif_[lt][0-9A-Za-z]{60}")
_LOOSE_LIMITS = {
    "OSTIARY_LIMITS__REQUESTS_PER_MINUTE": "1000000",
    "OSTIARY_LIMITS__TOKENS_PER_HOUR": "1000000000",
    "OSTIARY_LIMITS__FAILED_LOGINS": "1000000",
}


def upstream_settings(base_url: str, models: Sequence[str] = ("gpt-4o",)) -> dict[str, str]:
    """Variables that put these models behind one OpenAI-compatible provider."""
    variables = {
        "OSTIARY_PROVIDERS__MAIN__KIND": "openai",
        "OSTIARY_PROVIDERS__MAIN__BASE_URL": base_url,
        "OSTIARY_PROVIDERS__MAIN__API_KEY": "upstream-secret-credential",
    }
    for model in models:
        variables[f"OSTIARY_MODELS__{model.upper()}__PROVIDER"] = "main"
    return variables


class Gateway:
    """One gateway on a free port. `settings` are OSTIARY_* variables; limits are loose unless
    `limits` is "default"; `hurry` makes the door's deadlines so many times shorter; `names` is a
    file of names of its own (`named.py`). Use it as a context manager, or `start` and `stop` it.
    """

    def __init__(
        self,
        home: Path,
        settings: Mapping[str, str] | None = None,
        *,
        limits: str = "loose",
        arguments: Sequence[str] = (),
        hurry: int = 1,
        names: Path | None = None,
    ) -> None:
        self.home = home
        self.url = ""
        self.key = ""
        self.banner = ""
        self.output = ""
        self._arguments = arguments
        hurried = (sys.executable, "-m", "tests.simulator.hurried", str(hurry))
        named = (sys.executable, "-m", "tests.simulator.named", str(names))
        self._command = _COMMAND if names is None else named
        self._program = self._command if hurry == 1 else hurried
        self._process: subprocess.Popen[str] | None = None
        self._log = home.parent / f"{home.name}.stderr"
        kept = {k: v for k, v in os.environ.items() if not k.startswith("OSTIARY_")}
        self.environment = {
            **kept,
            **(_LOOSE_LIMITS if limits == "loose" else {}),
            **(settings or {}),
            "OSTIARY_HOME": str(home),
            "PYTHONPATH": f"{_SOURCE}{os.pathsep}{_ROOT}",
        }

    def __enter__(self) -> Gateway:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, deadline: float = 20.0) -> None:
        """Start, and return when the banner is whole; `key` is set at the first start.

        `output` holds all that was written to stdout, once the process has stopped.
        """
        with self._log.open("a") as log:
            self._process = subprocess.Popen(
                [*self._program, "serve", "--port", "0", *self._arguments],
                env=self.environment,
                cwd=self.home.parent,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self.banner = self._read_banner(time.monotonic() + deadline)
        self.url = _READY.search(self.banner)[1]
        found = _KEY.search(self.banner)
        if found:
            self.key = found[0]

    def _read_banner(self, deadline: float) -> str:
        pipe = self._process.stdout
        text = ""
        while time.monotonic() < deadline:
            ready, _, _ = select.select([pipe], [], [], 0.2 if _READY.search(text) else 1.0)
            if ready:
                piece = os.read(pipe.fileno(), 65_536).decode()
                if not piece:
                    break
                text += piece
            elif _READY.search(text):
                return text
        self.kill()
        raise AssertionError(f"the gateway did not start: {text}\n{self.log}")

    @property
    def log(self) -> str:
        """What the process wrote to stderr so far."""
        return self._log.read_text() if self._log.exists() else ""

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid

    @property
    def cpu_seconds(self) -> float:
        """User and system time that the process used so far: what a busy machine distorts least."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def alive(self) -> bool:
        """Whether the process still runs."""
        return self._process.poll() is None

    def stop(self) -> int:
        """Stop in an orderly way; the exit code."""
        if self._process is None:
            return 0
        if self.alive:
            self._process.send_signal(signal.SIGTERM)
        code = self._process.wait(30)
        self.output += self.banner + self._process.stdout.read()
        self._process.stdout.close()
        self._process = None
        return code

    def kill(self) -> None:
        """kill -9."""
        self._process.kill()
        self._process.wait(10)
        self._process.stdout.close()
        self._process = None

    def command(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run `ostiary …` on the same home."""
        done = subprocess.run(
            [*self._command, *arguments],
            env=self.environment,
            cwd=self.home.parent,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        if check and done.returncode:
            raise AssertionError(f"ostiary {arguments[0]}: {done.returncode} {done.stderr}")
        return done

    def token(self, user: str = "alice", role: str = "Developer", *more: str) -> str:
        """A development token."""
        return self.command("token", "--user", user, "--role", role, *more).stdout.strip()

    def new_key(self, user: str = "alice", *more: str) -> dict[str, Any]:
        """`{apiKey, keyId, permissions}` of a new key."""
        done = self.command("keys", "create", "--user", user, "--name", "test", *more, "--json")
        return json.loads(done.stdout)

    def records(self) -> list[dict[str, Any]]:
        """Every audit record, oldest first."""
        lines = self.command("audit", "export", "--format", "ndjson").stdout.splitlines()
        return [json.loads(line) for line in lines]
