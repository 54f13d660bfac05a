"""An estate → its resources, in an order in which each could be made after those before it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from ostiary.network.arm import arm_text
from ostiary.network.az import az_text
from ostiary.network.bicep import bicep_text
from ostiary.network.estate import Estate
from ostiary.network.resources import (
    aks,
    container_apps,
    endpoints,
    foundry,
    identity,
    keyvault,
    observation,
    postgresql,
    redis,
    security_groups,
    virtual_network,
)
from ostiary.network.template import Resource

_FAMILIES: Final = (
    identity,
    observation,
    security_groups,
    virtual_network,
    foundry,
    keyvault,
    postgresql,
    redis,
    endpoints,
    aks,
    container_apps,
)

_WRITERS: Final[Mapping[str, Callable[[Estate, tuple[Resource, ...]], str]]] = MappingProxyType(
    {"arm": arm_text, "az": az_text, "bicep": bicep_text}
)

FORMATS: Final = tuple(_WRITERS)
"""The notations that `render` writes."""


def resources_of(estate: Estate) -> tuple[Resource, ...]:
    """Every resource of the estate; none of a service or compute that it does not name."""
    return tuple(resource for family in _FAMILIES for resource in family.resources(estate))


def render(estate: Estate, notation: str) -> str:
    """The estate in one of FORMATS; the same estate gives the same text."""
    return _WRITERS[notation](estate, resources_of(estate))
