"""From what a source gave to what the tree holds, with every wrong value noted and none quoted."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path as FilePath
from types import MappingProxyType
from typing import Any, NoReturn, TypeVar, get_args

import msgspec
from msgspec.structs import fields

from ostiary.config.keys import Path, Problems, is_table, members, named_values
from ostiary.config.pem import PemFile
from ostiary.config.secret import Secret, SecretFile
from ostiary.config.tree import Form

Table = TypeVar("Table", bound=msgspec.Struct)


def leaf_schema(kind: Any) -> dict[str, Any]:
    """The JSON Schema of one setting; secrets and their files are texts."""
    schema = msgspec.json.schema(kind, schema_hook=text_schema)
    if "$ref" in schema:
        return dict(next(iter(schema["$defs"].values())))
    for choice in schema.get("anyOf", ()):
        if choice.get("type") != "null":
            return {**schema, **choice}
    return schema


def text_schema(kind: type) -> dict[str, Any]:
    """What a secret or a path looks like in a file; NotImplementedError for every other type."""
    if kind in (Secret, SecretFile, PemFile):
        return {"type": "string", "minLength": 1}
    raise NotImplementedError


def takes_text(kind: Any) -> bool:
    """Whether a setting is one text, so that a variable's value is taken as it stands."""
    schema = leaf_schema(kind)
    return schema.get("type") == "string" or "enum" in schema


def is_list(kind: Any) -> bool:
    """Whether a setting is a list, which a variable writes as JSON."""
    return leaf_schema(kind).get("type") == "array"


def from_text(text: str, kind: Any) -> Any:
    """The value that a variable's text stands for: itself, or JSON for every other type.

    Raise ValueError where the text is no such JSON, or no Unicode.
    """
    text.encode("utf-8")
    if takes_text(kind):
        return text
    if leaf_schema(kind).get("type") == "boolean":
        text = text.lower()
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("too deep") from None


def expectation(kind: Any) -> str:
    """What a setting takes, in words."""
    schema = leaf_schema(kind)
    if "enum" in schema:
        return _choices(schema["enum"])
    for items in schema.get("$defs", {}).values():
        return f"a list, not empty, of {_choices(items['enum'])}"
    least = schema.get("minimum", schema.get("exclusiveMinimum"))
    most = schema.get("maximum")
    bound = f" of at least {least}" if "minimum" in schema else f" above {least}"
    limits = ("" if least is None else bound) + ("" if most is None else f" and at most {most}")
    words = {
        "integer": f"a whole number{limits}",
        "number": f"a number{limits}",
        "boolean": "true or false",
        "array": "a list of texts" + (", not empty" if schema.get("minItems") else ""),
    }
    longest = schema.get("maxLength")
    text = "a text" + (f" of 1 to {longest} characters" if longest else ", not empty")
    return words.get(str(schema.get("type")), text)


@dataclass(frozen=True, slots=True)
class Decoder:
    """Decodes tables. Relative paths of secret files are taken from `folder`."""

    problems: Problems
    folder: FilePath

    def table(self, kind: type[Table], raw: object, path: Path = ()) -> Table | None:
        """A table; wrong members are noted and left at their default, None where that fails."""
        if not isinstance(raw, Mapping):
            self.problems.expected(path, "a table")
            raw = {}
        known = members(kind)
        for key in raw:
            if key not in known:
                self.problems.unknown((*path, key))
        values: dict[str, Any] = {}
        whole = True
        for field in fields(kind):
            if field.name in raw:
                value = self._value(field.type, raw[field.name], (*path, field.name))
                if value is not None:
                    values[field.name] = value
                    continue
            elif field.required:
                self.problems.add((*path, field.name), f"missing: {expectation(field.type)}")
            whole = whole and not field.required
        return kind(**values) if whole else None

    def _value(self, kind: Any, raw: object, path: Path) -> Any:
        if is_table(kind):
            return self.table(kind, raw, path)
        if named_values(kind) is not None:
            return self._named(kind, raw, path)
        return self._leaf(kind, raw, path)

    def _named(self, kind: Any, raw: object, path: Path) -> Mapping[str, Any]:
        name_kind, value_kind = get_args(kind)
        if not isinstance(raw, Mapping):
            self.problems.expected(path, "a table")
            return {}
        values = {}
        for name, item in raw.items():
            try:
                msgspec.convert(name, name_kind)
            except msgspec.ValidationError:
                self.problems.add(
                    (*path, name),
                    "a name is 1 to 128 letters, digits or . _ : / @ + -, the first not a sign",
                )
                continue
            value = self._value(value_kind, item, (*path, name))
            if value is not None:
                values[name] = value
        return MappingProxyType(values)

    def _leaf(self, kind: Any, raw: object, path: Path) -> Any:
        try:
            value = msgspec.convert(raw, kind, dec_hook=self._text_type)
        except msgspec.ValidationError as error:
            cause = error.__cause__
            says = isinstance(cause, ValueError) and not isinstance(cause, UnicodeError)
            self.problems.expected(path, str(cause) if says else expectation(kind))
            return None
        except OSError as error:
            self.problems.add(path, f"the file cannot be read: {reason(error)}")
            return None
        for mark in get_args(kind):
            if isinstance(mark, Form):
                value = self._formed(mark, value, path)
        return value

    def _formed(self, form: Form, value: str | tuple[str, ...], path: Path) -> Any:
        items = (value,) if isinstance(value, str) else value
        formed = []
        for number, item in enumerate(items, 1):
            try:
                formed.append(form.check(item))
            except ValueError as error:
                which = "" if isinstance(value, str) else f"item {number}: "
                self.problems.add(path, f"{which}expected {error}")
        if len(formed) < len(items):
            return None
        return formed[0] if isinstance(value, str) else tuple(formed)

    def _text_type(self, kind: type, raw: object) -> Secret | SecretFile | PemFile:
        if not isinstance(raw, str):
            raise TypeError
        if kind is PemFile:
            return PemFile(raw, folder=self.folder)
        return Secret(raw) if kind is Secret else SecretFile(raw, folder=self.folder)


def _choices(values: list[str]) -> str:
    quoted = ", ".join(f'"{value}"' for value in values)
    return quoted if len(values) == 1 else f"one of {quoted}"


def _refuse_constant(_name: str) -> NoReturn:
    raise ValueError("NaN and infinities are not JSON")


def reason(error: OSError) -> str:
    """Why a file cannot be used, without its name."""
    return (error.strerror or "unknown reason").lower()
