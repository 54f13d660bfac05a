"""Resources of Azure Resource Manager and the few expressions in them, free of any notation.

A value is a str, bool, int, list, mapping, or one of the expressions below; `arm`, `az` and `bicep`
each write all of them. Everything that a reviewer must be able to read is a literal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias


@dataclass(frozen=True, slots=True)
class Id:
    """The id of a resource in the group: its full type and one name per level."""

    type: str
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RoleId:
    """The id of a built-in role, which lies in the subscription."""

    guid: str


@dataclass(frozen=True, slots=True)
class Output:
    """A property that exists only once the resource does: a principal, a tenant, an issuer."""

    of: Id
    api: str
    path: str


@dataclass(frozen=True, slots=True)
class Unique:
    """A GUID that is the same for the same ids (ARM's `guid`)."""

    parts: tuple[Id | RoleId | str, ...]


@dataclass(frozen=True, slots=True)
class SecureParameter:
    """A value that is given at deployment and never written down."""

    name: str


Expression: TypeAlias = Id | RoleId | Output | Unique | SecureParameter
Value: TypeAlias = Any
"""A tree: mappings (keys are names, or an Id), lists, texts, numbers, booleans and Expressions."""


@dataclass(frozen=True, slots=True)
class Resource:
    """One resource. `envelope` are members beside properties: sku, kind, identity.

    `scope` is set for what is attached to another resource: role assignments, diagnostic
    settings. `skips` maps a checkov check that does not hold on purpose to its reason.
    """

    type: str
    api: str
    name: str | Unique
    properties: Mapping[str, Value]
    location: str = ""
    envelope: Mapping[str, Value] = field(default_factory=dict)
    scope: Id | None = None
    depends: tuple[Id, ...] = ()
    skips: Mapping[str, str] = field(default_factory=dict)

    @property
    def id(self) -> Id:
        """Its id; only for resources with a literal name and no scope."""
        if not isinstance(self.name, str):
            raise TypeError("a resource with a computed name has no literal id")
        return Id(self.type, tuple(self.name.split("/")))
