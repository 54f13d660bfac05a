"""Catching everything belongs to the three places of last resort; elsewhere it hides faults."""

from __future__ import annotations

import ast

import pytest

from tests.architecture.source import PACKAGE, modules, shown, tree

LAST_RESORTS = {
    PACKAGE / "pipeline.py",
    PACKAGE / "edge" / "problem.py",
    PACKAGE / "background.py",
}
BROAD = {"Exception", "BaseException"}


def broad(node: ast.expr | None) -> set[str]:
    """The broad names in an expression such as `Exception` or `(OSError, builtins.Exception)`."""
    if node is None:
        return {"BaseException"}
    names = {item.id for item in ast.walk(node) if isinstance(item, ast.Name)}
    names |= {item.attr for item in ast.walk(node) if isinstance(item, ast.Attribute)}
    return names & BROAD


def raises_again(handler: ast.ExceptHandler) -> bool:
    last = handler.body[-1]
    return isinstance(last, ast.Raise) and last.exc is None


def catches(parsed: ast.Module) -> list[int]:
    """Lines that catch everything and do not pass it on."""
    lines = []
    for node in ast.walk(parsed):
        if isinstance(node, ast.ExceptHandler) and (names := broad(node.type)):
            passes_on = "Exception" not in names and node.type is not None and raises_again(node)
            lines += [] if passes_on else [node.lineno]
        elif isinstance(node, ast.Call):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else ""
            called = node.func.id if isinstance(node.func, ast.Name) else called
            if called == "suppress" and any(broad(item) for item in node.args):
                lines.append(node.lineno)
    return lines


@pytest.mark.parametrize(
    "source",
    [
        "try:\n    f()\nexcept:\n    pass",
        "try:\n    f()\nexcept Exception:\n    raise",
        "try:\n    f()\nexcept (OSError, Exception) as e:\n    pass",
        "try:\n    f()\nexcept BaseException:\n    g()",
        "try:\n    f()\nexcept builtins.Exception:\n    pass",
        "with suppress(OSError, Exception):\n    f()",
        "with contextlib.suppress(BaseException):\n    f()",
    ],
)
def test_catching_everything_is_seen(source: str) -> None:
    assert catches(ast.parse(source))


@pytest.mark.parametrize(
    "source",
    [
        "try:\n    f()\nexcept BaseException:\n    g()\n    raise",
        "try:\n    f()\nexcept OSError:\n    pass",
        "with suppress(OSError):\n    f()",
    ],
)
def test_other_handlers_pass(source: str) -> None:
    assert not catches(ast.parse(source))


def test_everything_is_caught_only_where_the_last_resort_is() -> None:
    assert not [
        f"{shown(path)}:{line}"
        for path in modules(PACKAGE)
        if path not in LAST_RESORTS
        for line in catches(tree(path))
    ]
