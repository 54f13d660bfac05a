"""ARM template expressions → values, as far as a file alone can tell.

Source: "ARM template functions" and "Syntax and expressions in ARM templates", Microsoft Learn.
What only a deployment knows (a GUID, a principal, a parameter without default) becomes a text in
braces that is the same wherever the same is meant. As a name it still tells resources apart; as the
position of a switch it is none that a rule accepts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

HERE: Final = "/subscriptions/~/resourceGroups/~"
"""Stands for the resource group that a template is deployed to."""

_TOKEN: Final = re.compile(
    r"\s*(?:(?P<text>'(?:[^']|'')*')|(?P<number>-?\d+)|(?P<name>[A-Za-z_][A-Za-z0-9_]*)"
    r"|(?P<mark>[()\[\],.]))"
)
_DEEPEST: Final = 32
_SLOT: Final = re.compile(r"\{(\d+)\}")


def _unknown(text: str) -> str:
    return "{" + text.replace("/", "|") + "}"


class _Unreadable(Exception):
    """The text is no expression that we read."""


@dataclass(slots=True)
class Scope:
    """Parameters' defaults and variables of one template."""

    parameters: Mapping[str, Any] = field(default_factory=dict)
    variables: Mapping[str, Any] = field(default_factory=dict)
    _depth: int = 0

    def resolve(self, value: Any) -> Any:
        """A tree with every expression in it replaced by its value, or by a text in braces."""
        if isinstance(value, dict):
            return {self._key(key): self.resolve(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.resolve(item) for item in value]
        if isinstance(value, str) and value.startswith("[") and value.endswith("]"):
            return value[1:] if value.startswith("[[") else self._evaluate(value)
        return value

    def _key(self, key: str) -> str:
        resolved = self.resolve(key)
        return resolved if isinstance(resolved, str) else key

    def _evaluate(self, text: str) -> Any:
        try:
            reader = _Reader(text[1:-1], self)
            value = reader.expression()
            reader.end()
        except _Unreadable:
            return _unknown(text[1:-1])
        return value

    def named(self, kind: str, name: Any) -> Any:
        """A variable, or a parameter's default."""
        table = self.variables if kind == "variables" else self.parameters
        found = {key.lower(): item for key, item in table.items()}
        if not isinstance(name, str) or name.lower() not in found or self._depth > _DEEPEST:
            return _unknown(f"{kind}({name})")
        self._depth += 1
        try:
            return self.resolve(found[name.lower()])
        finally:
            self._depth -= 1


class _Reader:
    """A recursive descent over one expression."""

    def __init__(self, text: str, scope: Scope) -> None:
        self._scope = scope
        self._tokens = list(_tokens(text))
        self._at = 0
        self._depth = 0

    def end(self) -> None:
        if self._at < len(self._tokens):
            raise _Unreadable

    def expression(self) -> Any:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise _Unreadable
        kind, text = self._next()
        if kind == "text":
            value: Any = text[1:-1].replace("''", "'")
        elif kind == "number":
            value = int(text)
        elif kind == "name":
            value = self._call(text.lower())
        else:
            raise _Unreadable
        value = self._members(value)
        self._depth -= 1
        return value

    def _call(self, name: str) -> Any:
        self._expect("(")
        arguments = []
        while self._peek() != ")":
            arguments.append(self.expression())
            if self._peek() == ",":
                self._next()
        self._expect(")")
        if name in ("parameters", "variables") and len(arguments) == 1:
            return self._scope.named(name, arguments[0])
        unknown = _unknown(f"{name}({', '.join(map(str, arguments))})")
        function = _FUNCTIONS.get(name)
        if function is None:
            return unknown
        try:
            return function(*arguments)
        except (TypeError, ValueError, IndexError, AttributeError):
            return unknown

    def _members(self, value: Any) -> Any:
        while self._peek() in (".", "["):
            _, mark = self._next()
            if mark == ".":
                key: Any = self._next()[1]
            else:
                key = self.expression()
                self._expect("]")
            value = _member(value, key)
        return value

    def _peek(self) -> str:
        return self._tokens[self._at][1] if self._at < len(self._tokens) else ""

    def _next(self) -> tuple[str, str]:
        if self._at >= len(self._tokens):
            raise _Unreadable
        self._at += 1
        return self._tokens[self._at - 1]

    def _expect(self, mark: str) -> None:
        if self._next()[1] != mark:
            raise _Unreadable


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    at, end = 0, len(text.rstrip())
    while at < end:
        found = _TOKEN.match(text, at)
        if found is None or found.lastgroup is None:
            raise _Unreadable
        yield found.lastgroup, found.group(found.lastgroup)
        at = found.end()


def _member(value: Any, key: Any) -> Any:
    if isinstance(value, dict) and isinstance(key, str):
        found = {name.lower(): item for name, item in value.items()}
        if key.lower() in found:
            return found[key.lower()]
    if isinstance(value, list) and isinstance(key, int) and 0 <= key < len(value):
        return value[key]
    return _unknown(f"{value}.{key}" if isinstance(value, str) else str(key))


def _resource_id(*arguments: Any) -> str:
    """`resourceId([subscription], [group], type, name, …)`: only the type holds a slash."""
    texts = [str(item) for item in arguments]
    at = _first_type(texts)
    if at > 2:
        raise ValueError
    group = texts[at - 1] if at else "~"
    subscription = texts[0] if at == 2 else "~"
    return f"/subscriptions/{subscription}/resourceGroups/{group}{_tail(texts[at:])}"


def _first_type(texts: list[str]) -> int:
    return texts.index(next((text for text in texts if "/" in text), ""))


def _subscription_id(*arguments: Any) -> str:
    texts = [str(item) for item in arguments]
    at = _first_type(texts)
    return f"/subscriptions/{texts[0] if at else '~'}{_tail(texts[at:])}"


def _extension_id(scope: Any, *arguments: Any) -> str:
    return f"{scope}{_tail([str(item) for item in arguments])}"


def _tail(texts: list[str]) -> str:
    provider, *kinds = texts[0].split("/")
    levels = zip(kinds, texts[1:], strict=True)
    return f"/providers/{provider}" + "".join(f"/{kind}/{name}" for kind, name in levels)


def _concat(*arguments: Any) -> Any:
    if arguments and all(isinstance(item, list) for item in arguments):
        return [item for part in arguments for item in part]
    return "".join(_text(item) for item in arguments)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, str | int):
        return str(value)
    raise TypeError


def _format(pattern: Any, *arguments: Any) -> str:
    return _SLOT.sub(lambda found: _text(arguments[int(found.group(1))]), pattern)


_GROUP: Final = {"id": HERE, "name": "~"}
_SUBSCRIPTION: Final = {"id": "/subscriptions/~", "subscriptionId": "~"}

_FUNCTIONS: Final[Mapping[str, Callable[..., Any]]] = {
    "resourceid": _resource_id,
    "subscriptionresourceid": _subscription_id,
    "extensionresourceid": _extension_id,
    "concat": _concat,
    "format": _format,
    "tolower": lambda text: text.lower(),
    "toupper": lambda text: text.upper(),
    "createarray": lambda *items: list(items),
    "true": lambda: True,
    "false": lambda: False,
    "bool": lambda value: str(value).lower() == "true",
    "string": _text,
    "if": lambda condition, yes, no: yes if condition is True else no,
    "resourcegroup": lambda: _GROUP,
    "subscription": lambda: _SUBSCRIPTION,
}
