"""The keys of the settings tree: how they are walked, spelled and guessed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Final, get_args, get_origin

from msgspec import Struct
from msgspec.structs import fields

from ostiary.config.tree import Sections

Path = tuple[str, ...]

_BARE: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_LONGEST_SHOWN: Final = 64


def is_table(kind: Any) -> bool:
    """Whether this type is a table with fixed keys."""
    return isinstance(kind, type) and issubclass(kind, Struct)


def named_values(kind: Any) -> Any:
    """What a table with free names holds; None for every other type."""
    return get_args(kind)[1] if get_origin(kind) is Mapping else None


def members(table: Any) -> dict[str, Any]:
    """The fixed keys of a table and their types."""
    return {field.name: field.type for field in fields(table)}


def dotted(path: Path) -> str:
    """A key as it would stand in TOML. Odd or long names are quoted, escaped and cut."""
    return ".".join(
        part if _BARE.fullmatch(part) else json.dumps(part[:_LONGEST_SHOWN]) for part in path
    )


def variable(path: Path) -> str:
    """The environment variable that sets a key."""
    return "OSTIARY_" + "__".join(path).upper()


def nearest(name: str, candidates: Iterable[str]) -> str | None:
    """The candidate that was probably meant, if any is close."""
    found = get_close_matches(name.lower(), list(candidates), n=1, cutoff=0.6)
    return found[0] if found else None


def meant(path: Path) -> Path | None:
    """The key that was probably meant by an unknown one, or None where nothing is close.

    Every level is mended by itself; where one cannot be, a key of the same last name elsewhere
    in the tree is taken.
    """
    mended = _mended(Sections, path)
    if mended is None:
        known = {leaf[-1]: leaf for leaf in _leaves(Sections, ()) if "" not in leaf}
        last = nearest(path[-1], known) if path else None
        mended = known[last] if last else None
    return None if mended == path else mended


def _mended(kind: Any, path: Path) -> Path | None:
    if not path:
        return ()
    if is_table(kind):
        known = members(kind)
        name = path[0] if path[0] in known else nearest(path[0], known)
        below = known[name] if name else None
    else:
        name, below = path[0], named_values(kind)
    if name is None or below is None:
        return None
    rest = _mended(below, path[1:])
    return None if rest is None else (name, *rest)


def _leaves(kind: Any, path: Path) -> Iterator[Path]:
    if is_table(kind):
        for name, below in members(kind).items():
            yield from _leaves(below, (*path, name))
    elif (below := named_values(kind)) is not None:
        yield from _leaves(below, (*path, ""))
    else:
        yield path


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: `label` names the key or the variable, `text` never its value."""

    path: Path
    label: str
    text: str


class Problems:
    """Collects everything that is wrong, so that one run names all of it."""

    def __init__(self) -> None:
        self.found: list[Problem] = []
        self.labels: dict[Path, str] = {}

    def add(self, path: Path, text: str, *, label: str | None = None) -> None:
        """Note a problem with a key, under the name of the source that set it."""
        self.found.append(Problem(path, label or self.labels.get(path) or dotted(path), text))

    def expected(self, path: Path, what: str) -> None:
        """Note that a value is not what its key takes."""
        self.add(path, f"expected {what}")

    def unknown(self, path: Path) -> None:
        """Note a key that does not exist, with the one that was probably meant."""
        guess = meant(path)
        self.add(path, f"unknown key{f'; did you mean {dotted(guess)}?' if guess else ''}")

    def concerns(self, *paths: Path) -> bool:
        """Whether one of these keys, or a key above or below it, is wrong already."""
        return any(
            problem.path[: len(path)] == path or path[: len(problem.path)] == problem.path
            for problem in self.found
            for path in paths
        )

    def report(self) -> str:
        """All of them, one a line, in the order in which they were found, none twice."""
        return "\n".join(dict.fromkeys(f"{item.label}: {item.text}" for item in self.found))
