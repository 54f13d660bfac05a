"""Our rendering under the eyes of others: Microsoft's packages and checkov. Opt-in, minutes.

An environment with azure-mgmt-appcontainers, -applicationinsights, -authorization,
-cognitiveservices, -containerservice, -keyvault, -loganalytics, -msi, -network,
-postgresqlflexibleservers, -privatedns and -redisenterprise, another one with checkov, then:

    OSTIARY_AZURE_SDK=sdk/bin/python OSTIARY_CHECKOV=scan/bin/checkov pytest -m slow …
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ostiary.network.render import render
from tests.unit.network.estates import estate, template
from tests.unit.network.sdk_names import MODELS

SDK = os.environ.get("OSTIARY_AZURE_SDK", "")
CHECKOV = os.environ.get("OSTIARY_CHECKOV", "")
COMPUTES = ("container-apps", "aks")
WALKER = Path(__file__).with_name("sdk_names.py")


def unknown_members(tree: Any) -> list[str]:
    answer = subprocess.run(
        [SDK, str(WALKER)],
        input=json.dumps(tree).encode(),
        capture_output=True,
        check=True,
        timeout=300,
    )
    return json.loads(answer.stdout)


def test_every_type_that_is_rendered_is_looked_at_or_excused() -> None:
    rendered = {item["type"] for c in COMPUTES for item in template(compute=c)["resources"]}
    assert rendered == set(MODELS)


@pytest.mark.slow
@pytest.mark.skipif(not SDK, reason="OSTIARY_AZURE_SDK names no Python with azure-mgmt packages")
@pytest.mark.parametrize("compute", COMPUTES)
def test_microsofts_models_know_every_member(compute: str) -> None:
    tree = template(compute=compute)
    assert unknown_members(tree) == []
    tables = misspell([i["properties"] for i in tree["resources"] if MODELS[i["type"]]])
    assert len(unknown_members(tree)) >= tables * 0.9


def misspell(value: Any) -> int:
    """Plant an unheard-of member in every table, free maps too; return how many there are."""
    if isinstance(value, list):
        return sum(misspell(item) for item in value)
    if not isinstance(value, dict):
        return 0
    planted = 1 + sum(misspell(item) for item in value.values())
    value["unheardOf"] = 1
    return planted


@pytest.mark.slow
@pytest.mark.skipif(not CHECKOV, reason="OSTIARY_CHECKOV names no checkov")
@pytest.mark.parametrize("compute", COMPUTES)
def test_checkov_finds_nothing_that_is_not_explained(tmp_path: Path, compute: str) -> None:
    (tmp_path / "estate.json").write_text(render(estate(compute=compute), "arm"))
    (tmp_path / "estate.bicep").write_text(render(estate(compute=compute), "bicep"))
    answer = subprocess.run(
        [CHECKOV, "--skip-download", "-d", ".", "--framework", "arm", "bicep", "-o", "json"],
        cwd=tmp_path,
        capture_output=True,
        check=False,
        timeout=600,
    )
    reports = json.loads(answer.stdout)
    assert {report["check_type"] for report in reports} == {"arm", "bicep"}
    for report in reports:
        failed = report["results"]["failed_checks"]
        assert [(item["check_id"], item["resource"]) for item in failed] == []
        assert report["results"]["parsing_errors"] == []
        assert report["summary"]["passed"] > 20
