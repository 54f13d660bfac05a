"""Findings as SARIF 2.1.0 (OASIS), the form that code hosts show beside the lines."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import quote

from ostiary import __version__
from ostiary.network.check import RULES, Finding
from ostiary.network.rules.rule import Rule

_SCHEMA: Final = "https://json.schemastore.org/sarif-2.1.0.json"
_LEVELS: Final = {"high": "error", "medium": "warning", "low": "note"}
_SCORES: Final = {"high": "8.0", "medium": "5.0", "low": "2.0"}


def sarif_text(findings: Sequence[Finding], file: str, data: bytes) -> str:
    """One run with every rule; each result points at the line that names its resource."""
    numbers = {rule: number for number, rule in enumerate(RULES)}
    lines = data.decode("utf-8", "replace").splitlines()
    run = {
        "tool": {
            "driver": {
                "name": "ostiary network check",
                "version": __version__,
                "rules": [_rule(rule) for rule in RULES.values()],
            }
        },
        "results": [_result(item, numbers[item.rule], file, lines) for item in findings],
        "columnKind": "unicodeCodePoints",
    }
    return json.dumps({"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2) + "\n"


def _rule(rule: Rule) -> dict[str, Any]:
    return {
        "id": rule.id,
        "shortDescription": {"text": f"{rule.title}."},
        "fullDescription": {"text": rule.what},
        "help": {"text": rule.fix},
        "defaultConfiguration": {"level": _LEVELS[rule.severity]},
        "properties": {"security-severity": _SCORES[rule.severity], "tags": ["security"]},
    }


def _result(finding: Finding, number: int, file: str, lines: Sequence[str]) -> dict[str, Any]:
    mark = hashlib.sha256(f"{finding.rule}\n{finding.resource}\n{finding.reason}".encode())
    return {
        "ruleId": finding.rule,
        "ruleIndex": number,
        "level": _LEVELS[finding.severity],
        "message": {"text": f"{finding.resource}: {finding.reason}. {finding.fix}"},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": quote(file.replace("\\", "/"))},
                    "region": {"startLine": _line(finding.resource, lines)},
                },
                "logicalLocations": [{"fullyQualifiedName": finding.resource, "kind": "resource"}],
            }
        ],
        "partialFingerprints": {"ostiaryFinding/v1": mark.hexdigest()[:32]},
    }


def _line(resource: str, lines: Sequence[str]) -> int:
    """The first line that names the resource, counted from 1; 1 where none does."""
    names = resource.partition("/")[2]
    wanted = {f'"{names.split("/", n)[-1]}"' for n in range(1, names.count("/") + 1)}
    for number, line in enumerate(lines, 1):
        if '"name"' in line.lower() and any(text in line for text in wanted):
            return number
    return 1
