"""`ostiary network render | check` as a person runs them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.network.estates import TEXT, template
from tests.unit.network.mutations import AI, put

SRC = Path(__file__).resolve().parents[3] / "src"
START = "import sys; sys.argv[0] = 'ostiary'; from ostiary.cli import main; main()"


@pytest.fixture
def run(tmp_path: Path):
    (tmp_path / "estate.toml").write_text(TEXT)

    def start(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", START, "network", *arguments],
            check=False,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(SRC)},
            capture_output=True,
            text=True,
            timeout=60,
        )

    return start


def test_what_is_rendered_is_found_clean(run, tmp_path: Path) -> None:
    rendered = run("render", "estate.toml")
    assert (rendered.returncode, rendered.stderr) == (0, "")
    assert rendered.stdout == run("render", "estate.toml", "--format", "arm").stdout
    assert json.loads(rendered.stdout) == template()
    (tmp_path / "estate.json").write_text(rendered.stdout)
    checked = run("check", "estate.json")
    assert (checked.returncode, checked.stdout) == (0, "Nothing found.\n")
    assert json.loads(run("check", "estate.json", "--json").stdout) == {"findings": []}


def test_the_other_notations_are_written(run) -> None:
    assert run("render", "estate.toml", "--format", "az").stdout.startswith("#!/usr/bin/env bash\n")
    assert "targetScope" in run("render", "estate.toml", "--format", "bicep").stdout
    refused = run("render", "estate.toml", "--format", "hcl")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "--format" in refused.stderr


def test_a_wrong_estate_is_exit_2_with_its_key_and_nothing_else(run, tmp_path: Path) -> None:
    (tmp_path / "estate.toml").write_text(TEXT.replace("10.44.1.0/24", "10.44.0.0/25"))
    refused = run("render", "estate.toml")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr == "ranges.app: overlaps ranges.ingress\n"
    assert run("render", "nothing.toml").returncode == 2


def test_findings_are_exit_1_and_told_in_three_ways(run, tmp_path: Path) -> None:
    tree = template()
    put(AI, "disableLocalAuth", False)(tree)
    (tmp_path / "estate.json").write_text(json.dumps(tree, indent=2))
    told = run("check", "estate.json", "--sarif", "found.sarif")
    assert told.returncode == 1
    assert "HIGH    The account takes no keys  (foundry-local-auth)" in told.stdout
    assert "acme-ai: disableLocalAuth is false" in told.stdout
    shaped = run("check", "estate.json", "--json")
    assert shaped.returncode == 1
    (finding,) = json.loads(shaped.stdout)["findings"]
    assert list(finding) == ["rule", "severity", "resource", "reason", "fix"]
    sarif = json.loads((tmp_path / "found.sarif").read_text())
    (result,) = sarif["runs"][0]["results"]
    rules = sarif["runs"][0]["tool"]["driver"]["rules"]
    assert sarif["version"] == "2.1.0"
    assert rules[result["ruleIndex"]]["id"] == result["ruleId"] == "foundry-local-auth"
    place = result["locations"][0]["physicalLocation"]
    assert place["artifactLocation"] == {"uri": "estate.json"}
    line = (tmp_path / "estate.json").read_text().splitlines()[place["region"]["startLine"] - 1]
    assert line.strip() == '"name": "acme-ai",'


def test_a_clean_run_writes_sarif_too(run, tmp_path: Path) -> None:
    (tmp_path / "estate.json").write_text(json.dumps(template()))
    assert run("check", "estate.json", "--sarif", "found.sarif").returncode == 0
    assert json.loads((tmp_path / "found.sarif").read_text())["runs"][0]["results"] == []
    assert run("check", "estate.json", "--sarif", "no/where/found.sarif").returncode == 3


@pytest.mark.parametrize("text", ["", "{}", "[]", "nothing"])
def test_what_holds_no_resources_is_exit_2(run, tmp_path: Path, text: str) -> None:
    (tmp_path / "estate.json").write_text(text)
    refused = run("check", "estate.json", "--json")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr
    assert run("check", "nothing.json").returncode == 2
