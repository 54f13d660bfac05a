"""The house limits: modules, functions and lines one can still read; telling names."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.architecture.source import PACKAGE, ROOT, modules, shown, tree

FILES = [*modules(PACKAGE), *modules(ROOT / "tests")]
VAGUE = {"utils", "util", "helpers", "helper", "manager", "managers", "common", "misc"}


def vague(name: str) -> bool:
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)
    return any(word.lower() in VAGUE for word in words)


@pytest.mark.parametrize("name", ["utils", "TokenManager", "http_helpers", "JSONUtil", "common"])
def test_vague_names_are_seen(name: str) -> None:
    assert vague(name)


@pytest.mark.parametrize("name", ["forms", "commonplace", "Managed", "envelope"])
def test_other_names_are_not_vague(name: str) -> None:
    assert not vague(name)


def test_no_module_is_longer_than_600_lines() -> None:
    long = {shown(f): n for f in FILES if (n := len(f.read_text("utf-8").splitlines())) > 600}
    assert not long


def test_no_line_is_longer_than_100_characters() -> None:
    assert not [
        f"{shown(f)}:{number}"
        for f in FILES
        for number, line in enumerate(f.read_text("utf-8").splitlines(), 1)
        if len(line) > 100
    ]


def test_no_function_is_longer_than_80_lines() -> None:
    assert not [
        f"{shown(f)}:{node.lineno} {node.name}"
        for f in FILES
        for node in ast.walk(tree(f))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or node.lineno) - node.lineno + 1 > 80
    ]


def test_no_module_folder_or_class_has_a_vague_name() -> None:
    named: list[tuple[Path, str]] = [
        (f, part) for f in FILES for part in f.relative_to(ROOT).with_suffix("").parts
    ]
    named += [
        (f, node.name)
        for f in FILES
        for node in ast.walk(tree(f))
        if isinstance(node, ast.ClassDef)
    ]
    assert not [f"{shown(f)}: {name}" for f, name in named if vague(name)]


def test_every_module_says_what_it_is() -> None:
    assert not [
        shown(f)
        for f in modules(PACKAGE)
        if f.stat().st_size > 0 and ast.get_docstring(tree(f)) is None
    ]


def test_no_work_is_left_for_later() -> None:
    marks = re.compile("|".join(("TO" + "DO", "FIX" + "ME", "X" + "XX")))
    assert not [shown(f) for f in FILES if marks.search(f.read_text("utf-8"))]
