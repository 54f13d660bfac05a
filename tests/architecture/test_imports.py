"""No import cycle, imports for types included, and no import of our own inside a function."""

from __future__ import annotations

import ast
import textwrap
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests.architecture.source import PACKAGE, dotted, modules, shown, tree

KNOWN = {dotted(path): path for path in modules(PACKAGE)}


def imported(node: ast.AST, module: str, is_package: bool, known: set[str]) -> set[str]:
    """The modules of ours that an import statement names."""
    if isinstance(node, ast.Import):
        return {alias.name for alias in node.names if alias.name in known}
    if not isinstance(node, ast.ImportFrom):
        return set()
    base = node.module or ""
    if node.level:
        parts = module.split(".")
        kept = len(parts) - node.level + (1 if is_package else 0)
        base = ".".join([*parts[:kept], *([node.module] if node.module else [])])
    found = {f"{base}.{alias.name}" for alias in node.names} & known
    names_of_base = any(f"{base}.{alias.name}" not in known for alias in node.names)
    return found | ({base} & known if names_of_base else set())


def graph(sources: dict[str, tuple[ast.Module, bool]]) -> dict[str, set[str]]:
    known = set(sources)
    return {
        module: {
            name
            for node in ast.walk(parsed)
            for name in imported(node, module, is_package, known)
            if name != module
        }
        for module, (parsed, is_package) in sources.items()
    }


def cycle(edges: dict[str, set[str]]) -> list[str]:
    try:
        TopologicalSorter(edges).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("from p.b import x", "import p.a"),
        ("from p import b", "from . import a"),
        ("from .b import x", "if TYPE_CHECKING:\n    from p.a import y"),
        ("def f():\n    from p import b", "from p.a import y"),
    ],
)
def test_a_cycle_is_seen_however_it_is_written(a: str, b: str) -> None:
    sources = {"p": ("", True), "p.a": (a, False), "p.b": (b, False)}
    edges = graph({name: (ast.parse(text), package) for name, (text, package) in sources.items()})
    assert cycle(edges)


def test_there_is_no_import_cycle() -> None:
    sources = {name: (tree(path), path.name == "__init__.py") for name, path in KNOWN.items()}
    assert not cycle(graph(sources))


def inner_imports(parsed: ast.Module) -> list[int]:
    return [
        node.lineno
        for function in ast.walk(parsed)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
        if (isinstance(node, ast.ImportFrom) and (node.level or "ostiary" in str(node.module)))
        or (isinstance(node, ast.Import) and any("ostiary" in item.name for item in node.names))
    ]


def test_an_import_inside_a_function_is_seen() -> None:
    source = """
        async def f():
            if True:
                from ostiary import errors
    """
    assert inner_imports(ast.parse(textwrap.dedent(source)))


def allowed_inside(path: Path) -> bool:
    return any(PACKAGE / room in path.parents for room in ("assemble", "cli"))


def test_our_own_code_is_imported_at_the_top() -> None:
    assert not [
        f"{shown(path)}:{line}"
        for path in KNOWN.values()
        if not allowed_inside(path)
        for line in inner_imports(tree(path))
    ]
