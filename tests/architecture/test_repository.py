"""The whole repository: no place of one machine, skips that say why, true tables."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.architecture.source import ROOT, modules, shown, tracked, tree

# Put together from parts, so that this file does not hold what it looks for.
_HOSTS = ("py" + r"pi\.org", "python" + r"hosted\.org", "dev" + "pi", "art" + "ifactory")
_FOLDERS = (
    "/wo" + "rk/",
    "/o" + "pt/py",
    "/o" + "pt/wheels",
    r"(?<!\w)/ro" + "ot/",
    "/ho" + "me/[a-z]",
)
_PATHS = (
    "/sim" + r"ple/?\b",
    "file" + ":///(?:o" + "pt|ro" + "ot|ho" + "me)/",
    "--(?:extra-)?ind" + "ex-url",
    "--find-" + "links",
)
PLACES = re.compile("|".join((*_HOSTS, *_FOLDERS, *_PATHS)), re.IGNORECASE)

_TEST = re.compile(r"tests/[^\s`,;|]+::[^\s`,;|]+")
SKIPS = {"skip", "skipif", "importorskip", "xfail"}


@pytest.mark.parametrize(
    "text",
    [
        "https://" + "py" + "pi.org/sim" + "ple",
        "/wo" + "rk/somewhere",
        "-" + "-find-links x",
        "file:" + "///o" + "pt/py" + "pi",
    ],
)
def test_a_place_is_seen(text: str) -> None:
    assert PLACES.search(text)


def test_no_tracked_file_names_an_index_host_or_a_place_of_one_machine() -> None:
    found = []
    for path in tracked():
        try:
            text = path.read_text("utf-8")
        except UnicodeDecodeError:
            continue
        for number, line in enumerate(text.splitlines(), 1):
            if PLACES.search(line):
                found.append(f"{shown(path)}:{number}")
    assert not found


def unexplained(parsed: ast.Module) -> list[int]:
    """Lines that skip a test without a reason."""
    lines = []
    for node in ast.walk(parsed):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if node.func.attr not in SKIPS or "pytest" not in ast.unparse(node.func):
                continue
            explained = any(word.arg == "reason" for word in node.keywords)
            first = node.func.attr == "skip" and "mark" not in ast.unparse(node.func) and node.args
            lines += [] if explained or first else [node.lineno]
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            bare = {"pytest.mark.skip", "pytest.mark.xfail"}
            lines += [d.lineno for d in node.decorator_list if ast.unparse(d) in bare]
    return lines


@pytest.mark.parametrize(
    "source",
    [
        "@pytest.mark.skip\ndef test_x(): ...",
        "@pytest.mark.skipif(True)\ndef test_x(): ...",
        "pytest.skip()",
        "pytest.importorskip('x')",
    ],
)
def test_a_skip_without_reason_is_seen(source: str) -> None:
    assert unexplained(ast.parse(source))


def test_every_skip_says_why() -> None:
    tests = modules(ROOT / "tests")
    assert not [f"{shown(path)}:{line}" for path in tests for line in unexplained(tree(path))]


def named_tests(table: Path) -> list[str]:
    """What the column Test of a document's tables names."""
    names: list[str] = []
    column: int | None = None
    for line in table.read_text("utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if not line.lstrip().startswith("|"):
            column = None
        elif "Test" in cells:
            column = cells.index("Test")
        elif column is not None and not set(line) <= set("|-: "):
            cell = cells[column] if column < len(cells) else ""
            names += _TEST.findall(cell) or [cell]
    return names


def exists(name: str) -> bool:
    """Whether `tests/….py::name` (or `::Class::name`) is a test."""
    file, _, rest = name.partition("::")
    path = ROOT / file
    if not (file.startswith("tests/") and rest and path.is_file()):
        return False
    functions = ast.FunctionDef | ast.AsyncFunctionDef
    defined = {n.name for n in ast.walk(tree(path)) if isinstance(n, functions)}
    return rest.split("::")[-1].partition("[")[0] in defined


def test_a_table_names_its_tests(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "| T | Test |\n|-|-|\n| a | `tests/a.py::b`, `tests/a.py::c` |\n| d | |\n\nx | y\n"
    )
    assert named_tests(page) == ["tests/a.py::b", "tests/a.py::c", ""]
    assert not exists("tests/architecture/test_repository.py::nothing")
    assert exists("tests/architecture/test_repository.py::test_a_table_names_its_tests")


@pytest.mark.parametrize("name", ["threat-model.md", "divergences.md"])
def test_every_row_of_the_table_names_a_test_that_exists(name: str) -> None:
    page = ROOT / "docs" / name
    rows = named_tests(page)
    assert rows
    assert not [row for row in rows if not exists(row)]
