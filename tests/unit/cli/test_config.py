"""The command as a person runs it: real processes, their output and their exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from ostiary import __version__

SRC = Path(__file__).resolve().parents[3] / "src"
START = "import sys; sys.argv[0] = 'ostiary'; from ostiary.cli import main; main()"


@pytest.fixture
def run(tmp_path: Path):
    def start(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith("OSTIARY_")}
        return subprocess.run(
            [sys.executable, "-c", START, *arguments],
            check=False,
            cwd=tmp_path,
            env={**kept, "PYTHONPATH": str(SRC), **variables},
            capture_output=True,
            text=True,
            timeout=60,
        )

    return start


def test_the_version_is_told(run) -> None:
    assert run("--version").stdout == f"ostiary {__version__}\n"


@pytest.mark.parametrize(
    "arguments", [["nothing"], ["config", "nothing"], ["config", "show", "-x"]]
)
def test_wrong_use_is_exit_2(run, arguments: list[str]) -> None:
    answer = run(*arguments)
    assert answer.returncode == 2
    assert answer.stderr


def test_good_settings_are_exit_0(run) -> None:
    answer = run("config", "check", "--json")
    assert answer.returncode == 0
    assert json.loads(answer.stdout)["ok"] is True
    assert json.loads(answer.stdout)["hash"] in run("config", "check").stdout


def test_wrong_settings_are_exit_2_for_every_command_that_reads_them(run) -> None:
    for command in ("check", "show"):
        answer = run("config", command, OSTIARY_LIMITS__FAILED_LOGIN="hidden")
        assert answer.returncode == 2
        assert answer.stdout == ""
        assert answer.stderr == (
            "OSTIARY_LIMITS__FAILED_LOGIN: unknown variable; "
            "did you mean OSTIARY_LIMITS__FAILED_LOGINS?\n"
        )


def test_wrong_settings_are_told_as_json_too(run) -> None:
    answer = run("config", "check", "--json", OSTIARY_SERVER__PORT="hidden")
    assert answer.returncode == 2
    told = json.loads(answer.stdout)
    assert told["ok"] is False
    assert told["problems"] == answer.stderr.splitlines()


def test_the_file_may_be_named(run, tmp_path: Path) -> None:
    (tmp_path / "other.toml").write_text("[server]\nport = 9\n")
    shown = json.loads(run("config", "show", "--json", "--config", "other.toml").stdout)
    assert shown["server"]["port"] == 9
    assert run("config", "check", "--config", "none.toml").returncode == 2


def test_what_is_shown_is_a_file_of_the_same_settings(run, tmp_path: Path) -> None:
    (tmp_path / "ostiary.toml").write_text(
        "[models.'a.b/c']\nprovider = 'main'\nupstream_name = 'naïve \"name\" \U0001f642'\n"
        "[providers.main]\nkind = 'echo'\n[policy.kinds]\n[roles.Helper]\n"
        "permissions = ['ai.chat.use']\n[server]\ntrusted_proxies = ['10.0.0.0/8']\n"
    )
    answer = run("config", "show", "--redact")
    as_json = json.loads(run("config", "show", "--redact", "--json").stdout)
    del as_json["policy"]["kinds"]
    assert tomllib.loads(answer.stdout) == as_json
    before = run("config", "check").stdout
    (tmp_path / "ostiary.toml").write_text(answer.stdout)
    assert run("config", "check").stdout == before


def test_no_secret_is_shown(run, tmp_path: Path) -> None:
    (tmp_path / "ostiary.toml").write_text(
        "[providers.main]\nkind = 'openai'\nbase_url = 'http://127.0.0.1:9/v1'\n"
    )
    for options in ([], ["--redact"], ["--json"]):
        answer = run("config", "show", *options, OSTIARY_PROVIDERS__MAIN__API_KEY="sk-hidden")
        assert "***" in answer.stdout
        assert "hidden" not in answer.stdout + answer.stderr


def test_the_schema_is_printed(run) -> None:
    answer = run("config", "schema")
    assert answer.returncode == 0
    assert json.loads(answer.stdout)["$schema"].endswith("2020-12/schema")
