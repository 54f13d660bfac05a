"""What a rule is, and the commonest kind: a switch that must stand in one position."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from ostiary.network.inventory import Found, Inventory, shown

Severity: TypeAlias = Literal["high", "medium", "low"]


@dataclass(frozen=True, slots=True)
class Problem:
    """Where a rule is broken, and by what."""

    resource: Found
    reason: str


Find: TypeAlias = Callable[[Inventory], Iterable[Problem]]


@dataclass(frozen=True, slots=True)
class Rule:
    """One thing that must be true.

    `title` says it in a line, `what` says what happens where it is not, `fix` what to write.
    """

    id: str
    severity: Severity
    title: str
    what: str
    fix: str
    find: Find


def switch(
    id_: str,
    severity: Severity,
    title: str,
    what: str,
    *,
    types: tuple[str, ...],
    path: tuple[str, ...],
    wanted: tuple[object, ...],
    default: object = None,
    unless: Callable[[Found], bool] = lambda _: False,
) -> Rule:
    """A rule that a member of `properties` has one of the `wanted` values.

    Texts compare without case. A missing member counts as `default`, which is Azure's own.
    """

    def find(inventory: Inventory) -> Iterator[Problem]:
        for resource in inventory.of(*types):
            value = resource.get(*path)
            if not _among(default if value is None else value, wanted) and not unless(resource):
                yield Problem(resource, f"{'.'.join(path)} is {shown(value)}")

    fix = f"Set properties.{'.'.join(path)} to {_written(wanted[0])}."
    return Rule(id_, severity, title, what, fix, find)


def _among(value: Any, wanted: tuple[object, ...]) -> bool:
    if isinstance(value, str):
        texts = {str(item).lower() for item in wanted}
        return value.lower() in texts
    return any(value is item or (type(value) is type(item) and value == item) for item in wanted)


def _written(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else f'"{value}"'
