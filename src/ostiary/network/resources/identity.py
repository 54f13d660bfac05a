"""The identity that the gateway runs as; it has no secret that could leak."""

from __future__ import annotations

from collections.abc import Iterator

from ostiary.network.estate import Estate
from ostiary.network.resources.place import IDENTITY, IDENTITY_API, identity_id
from ostiary.network.template import Resource


def resources(estate: Estate) -> Iterator[Resource]:
    """One user-assigned identity, always."""
    name = identity_id(estate).names[0]
    yield Resource(IDENTITY, IDENTITY_API, name, {}, location=estate.region)
