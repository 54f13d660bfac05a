"""The three sources of settings, laid over each other: flags over variables over the file."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any, Final

from ostiary.config.decode import expectation, from_text, is_list, reason
from ostiary.config.keys import Path, Problems, is_table, meant, members, named_values, variable
from ostiary.config.tree import Sections

PREFIX: Final = "OSTIARY_"
_FILE_ENDING: Final = "_file"
_VARIABLE_NAME: Final = re.compile(r"[a-z0-9_-]+")
_PLACE: Final = re.compile(r"line \d+, column \d+")
_SHOWN: Final = re.compile(r"[^!-~]")

# A secret is a value or a file. Whichever the stronger source names replaces the other.
_RIVALS: Final = {"api_key": "api_key_file", "api_key_file": "api_key"}


class UnreadableError(ValueError):
    """A file of settings cannot be used; the text says why and quotes nothing of it."""


def read_toml(path: FilePath) -> dict[str, Any]:
    """The decoded file; raise UnreadableError with the place of what is wrong, never the text."""
    try:
        return tomllib.loads(path.read_bytes().decode("utf-8"))
    except OSError as error:
        raise UnreadableError(f"cannot be read: {reason(error)}") from None
    except UnicodeDecodeError:
        raise UnreadableError("not UTF-8") from None
    except (ValueError, RecursionError) as error:
        place = _PLACE.search(str(error))
        raise UnreadableError(f"not TOML{f' at {place[0]}' if place else ''}") from None


@dataclass(frozen=True, slots=True)
class Layers:
    """What the sources gave so far, as one raw tree; `problems.labels` knows who gave what."""

    problems: Problems
    known_kinds: frozenset[str]
    folder: FilePath
    raw: dict[str, Any] = field(default_factory=dict)

    def add_file(self, content: Mapping[str, Any]) -> None:
        """Lay the file's tables down; names that differ in case alone are refused."""
        self.raw.update(self._copied(Sections, content, ()))

    def add_variables(self, environ: Mapping[str, str]) -> None:
        """Lay every `OSTIARY_…__…` variable over what is there, in the order of their names."""
        for name in sorted(environ):
            if name.startswith(PREFIX) and "__" in name[len(PREFIX) :]:
                self._add_variable(name, environ[name])

    def add_flags(self, flags: Mapping[str, object]) -> None:
        """Lay flags over all; a key is dotted (`server.port`), None means not given."""
        for key, value in flags.items():
            if value is not None:
                self._set(tuple(key.split(".")), value, key)

    def _copied(self, kind: Any, content: Mapping[str, Any], path: Path) -> dict[str, Any]:
        """Tables copied, so that later layers do not write into the caller's; names canonical."""
        copy: dict[str, Any] = {}
        named = named_values(kind)
        for written, value in content.items():
            name = written if named is None else self._spelled(path, written, copy)
            if name in copy:
                self.problems.add((*path, written), "given twice: names compare without case")
                continue
            below = named if named is not None else members(kind).get(name)
            nested = is_table(below) or named_values(below) is not None
            if nested and isinstance(value, Mapping):
                copy[name] = self._copied(below, value, (*path, name))
            else:
                copy[name] = value
        return copy

    def _spelled(self, path: Path, name: str, there: Iterable[str]) -> str:
        """The spelling of a free name: a finding's own, else the one that is there already."""
        known = self.known_kinds if path == ("policy", "kinds") else ()
        candidates: Iterable[str] = (*known, *there)
        for candidate in candidates:
            if candidate.casefold() == name.casefold():
                return candidate
        return name

    def _add_variable(self, name: str, text: str) -> None:
        label = _SHOWN.sub("?", name)[:128]
        parts = tuple(name[len(PREFIX) :].lower().split("__"))
        found = self._resolved(parts)
        if found is None:
            guess = meant(parts)
            hint = f"; did you mean {variable(guess)}?" if guess else ""
            self.problems.add(parts, f"unknown variable{hint}", label=label)
            return
        path, kind, from_file = found
        if path in self.problems.labels:
            other = self.problems.labels[path]
            self.problems.add(path, f"sets the same key as {other}; keep one", label=label)
            return
        self.problems.labels[path] = label
        try:
            value = from_text(self._file_text(text) if from_file else text, kind)
        except OSError as error:
            self.problems.add(path, f"the file cannot be read: {reason(error)}")
        except ValueError:
            as_json = " as JSON" if is_list(kind) else ""
            self.problems.expected(path, expectation(kind) + as_json)
        else:
            self._set(path, value, label)

    def _file_text(self, path: str) -> str:
        return (self.folder / path).read_text("utf-8").rstrip("\r\n")

    def _resolved(self, parts: Path) -> tuple[Path, Any, bool] | None:
        """The key of a variable, its type, and whether the variable names a file."""
        exact = self._leaf(parts)
        stripped = (*parts[:-1], parts[-1].removesuffix(_FILE_ENDING))
        indirect = self._leaf(stripped) if parts[-1].endswith(_FILE_ENDING) else None
        if exact is not None and (indirect is None or self._certain(exact[0])):
            return (*exact, False)
        return None if indirect is None else (*indirect, True)

    def _certain(self, path: Path) -> bool:
        """Whether a key is one of the schema: a fixed one, or a kind of finding that exists."""
        return path[:-1] != ("policy", "kinds") or path[-1] in self.known_kinds

    def _leaf(self, parts: Path) -> tuple[Path, Any] | None:
        kind: Any = Sections
        path: Path = ()
        there: Any = self.raw
        for part in parts:
            if is_table(kind):
                name, kind = part, members(kind).get(part)
            elif (below := named_values(kind)) is not None and _VARIABLE_NAME.fullmatch(part):
                name = self._spelled(path, part, there if isinstance(there, Mapping) else ())
                kind = below
            else:
                return None
            path = (*path, name)
            there = there.get(name) if isinstance(there, Mapping) else None
        if kind is None or is_table(kind) or named_values(kind) is not None:
            return None
        return path, kind

    def _set(self, path: Path, value: object, label: str) -> None:
        table = self.raw
        for part in path[:-1]:
            below = table.setdefault(part, {})
            if not isinstance(below, dict):
                return  # the file has no table there; decoding says so
            table = below
        table.pop(_RIVALS.get(path[-1], ""), None)
        table[path[-1]] = value
        self.problems.labels[path] = label
