"""Resources as Bicep, in the plain subset that offline parsers read too."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from ostiary.network.arm import secrets_in
from ostiary.network.estate import Estate
from ostiary.network.resources.place import NETWORK_API
from ostiary.network.template import (
    Id,
    Output,
    Resource,
    RoleId,
    SecureParameter,
    Unique,
    Value,
)

_HEAD: Final = """\
// The network of {name}. Written by `ostiary network render --format bicep`.
// It was not compiled: the tested artefact is the ARM JSON of `--format arm`, which holds the same
// resources. Run `az bicep build` before you rely on this one.
targetScope = 'resourceGroup'
"""
_BARE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def bicep_text(estate: Estate, resources: Sequence[Resource]) -> str:
    """The same resources as the ARM JSON, in the same order."""
    writer = _Writer(resources)
    parts = [_HEAD.format(name=estate.name)]
    names = dict.fromkeys(s.name for item in resources for s in secrets_in(item.properties))
    parts += [f"@secure()\nparam {name} string\n" for name in names]
    parts += ["\n".join(writer.resource(item)) + "\n" for item in resources]
    return "\n".join(parts)


class _Writer:
    """Knows the symbol of each resource."""

    def __init__(self, resources: Sequence[Resource]) -> None:
        self._symbols = {
            resource.id: _camel(*resource.id.names, resource.type)
            for resource in resources
            if isinstance(resource.name, str) and resource.scope is None
        }
        self._number = 0

    def resource(self, resource: Resource) -> Iterator[str]:
        """The lines of one resource."""
        scope = ""
        if resource.scope:
            yield from self._existing(resource.scope)
            scope = self._symbols[resource.scope]
        yield f"resource {self._symbol(resource)} '{resource.type}@{resource.api}' = {{"
        for check, why in resource.skips.items():
            yield f"  // checkov:skip={check}:{why}"
        yield f"  name: {self._value(resource.name, 1)}"
        if scope:
            yield f"  scope: {scope}"
        if resource.location:
            yield f"  location: {_quoted(resource.location)}"
        for member, value in resource.envelope.items():
            yield f"  {member}: {self._value(value, 1)}"
        if resource.depends:
            yield "  dependsOn: ["
            yield from (f"    {self._symbols[item]}" for item in dict.fromkeys(resource.depends))
            yield "  ]"
        yield f"  properties: {self._value(resource.properties, 1)}"
        yield "}"

    def _symbol(self, resource: Resource) -> str:
        if resource.scope is None:
            return self._symbols[resource.id]
        self._number += 1
        kind = "roleAssignment" if isinstance(resource.name, Unique) else "diagnosticSetting"
        return f"{kind}{self._number}"

    def _existing(self, scope: Id) -> Iterator[str]:
        """Name what is written inside another resource: Bicep takes no ids as scopes."""
        if scope not in self._symbols:
            self._symbols[scope] = _camel(*scope.names, scope.type)
            yield f"resource {self._symbols[scope]} '{scope.type}@{NETWORK_API}' existing = {{"
            yield f"  name: {_quoted('/'.join(scope.names))}"
            yield "}\n"

    def _value(self, value: Value, depth: int) -> str:
        inner, end = "  " * (depth + 1), "  " * depth
        if isinstance(value, Mapping):
            if not value:
                return "{}"
            rows = [f"{inner}{self._key(k)}: {self._value(v, depth + 1)}" for k, v in value.items()]
            return "{\n" + "\n".join(rows) + f"\n{end}}}"
        if isinstance(value, str):
            return _quoted(value)
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, int):
            return str(value)
        if isinstance(value, Sequence):
            if not value:
                return "[]"
            rows = [f"{inner}{self._value(item, depth + 1)}" for item in value]
            return "[\n" + "\n".join(rows) + f"\n{end}]"
        return self._expression(value)

    def _expression(self, value: Id | RoleId | Output | Unique | SecureParameter) -> str:
        match value:
            case Id():
                if value in self._symbols:
                    return f"{self._symbols[value]}.id"
                texts = ", ".join(_quoted(text) for text in (value.type, *value.names))
                return f"resourceId({texts})"
            case RoleId():
                kind = _quoted("Microsoft.Authorization/roleDefinitions")
                return f"subscriptionResourceId({kind}, {_quoted(value.guid)})"
            case Output():
                return f"{self._symbols[value.of]}.properties.{value.path}"
            case Unique():
                parts = (
                    _quoted(part) if isinstance(part, str) else self._expression(part)
                    for part in value.parts
                )
                return f"guid({', '.join(parts)})"
            case SecureParameter():
                return value.name

    def _key(self, key: str | Id) -> str:
        if isinstance(key, Id):
            return f"'${{{self._expression(key)}}}'"
        return key if _BARE.fullmatch(key) else _quoted(key)


def _camel(*texts: str) -> str:
    """A symbol from a name and a type, such as acmeVnetVirtualNetworks."""
    last = texts[-1].rpartition("/")[2]
    words = re.findall(r"[A-Za-z0-9]+", " ".join((*texts[:-1], last)))
    symbol = "".join(word[0].upper() + word[1:] for word in words)
    symbol = symbol[0].lower() + symbol[1:]
    return symbol if symbol[0].isalpha() else f"r{symbol}"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'").replace("${", "\\${")
    return f"'{escaped}'"
