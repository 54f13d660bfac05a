"""Third-party vectors are read where they are (see `folder`), never committed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.absent import absent

_ROOT = Path(__file__).resolve().parents[2]


def folder() -> Path:
    """The folder of third-party vectors; skips where it is missing, fails in CI."""
    path = Path(os.environ.get("OSTIARY_VECTORS") or _ROOT.parent / "shared" / "vectors")
    if not path.is_dir():
        absent(f"third-party vectors are not at {path}; set OSTIARY_VECTORS")
    return path


def load(name: str) -> object:
    """One JSON vector file, decoded."""
    return json.loads((folder() / name).read_text("utf-8"))


def parameters(name: str, *, wanted: Callable[[Any], bool] = lambda _: True) -> list[Any]:
    """The cases of a file as pytest parameters under their ids; without the file, one skip."""
    try:
        document: Any = load(name)
    except pytest.skip.Exception as missing:
        return [pytest.param(None, marks=pytest.mark.skip(reason=str(missing)))]
    cases = [case for case in document["cases"] if wanted(case)]
    return [pytest.param(case, id=case["id"]) for case in cases]
