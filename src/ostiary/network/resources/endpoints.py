"""Private endpoints: one per service, with every zone that the service needs, linked and filled."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ostiary.network.estate import Estate
from ostiary.network.private_link import SERVICES, PrivateService
from ostiary.network.resources.place import NETWORK_API, subnet_id, vnet_id
from ostiary.network.template import Id, Resource

_ZONE: Final = "Microsoft.Network/privateDnsZones"
_ZONE_API: Final = "2024-06-01"
_ENDPOINT: Final = "Microsoft.Network/privateEndpoints"

TARGET_NAMES: Final = {
    "foundry": "ai",
    "keyvault": "kv",
    "postgresql": "pg",
    "redis": "redis",
    "monitor": "scope",
}
"""The last part of each service's name."""


def service_id(estate: Estate, service: str) -> Id:
    """The resource that a service's endpoint leads to."""
    return Id(SERVICES[service].type, (f"{estate.name}-{TARGET_NAMES[service]}",))


def resources(estate: Estate) -> Iterator[Resource]:
    """Zones and links of every service, then endpoint and zone group of each."""
    for service in estate.services:
        for zone in SERVICES[service].zones:
            yield from _zone(estate, zone)
    for service in estate.services:
        yield from _endpoint(estate, service, SERVICES[service])


def _zone(estate: Estate, zone: str) -> Iterator[Resource]:
    vnet = vnet_id(estate)
    yield Resource(_ZONE, _ZONE_API, zone, {}, location="global")
    yield Resource(
        f"{_ZONE}/virtualNetworkLinks",
        _ZONE_API,
        f"{zone}/{estate.name}-link",
        {
            "registrationEnabled": False,
            # NxDomainRedirect would ask public DNS where the private record is missing.
            "resolutionPolicy": "Default",
            "virtualNetwork": {"id": vnet},
        },
        location="global",
        depends=(Id(_ZONE, (zone,)), vnet),
    )


def _endpoint(estate: Estate, label: str, service: PrivateService) -> Iterator[Resource]:
    name = f"{estate.name}-pe-{label}"
    target = service_id(estate, label)
    endpoint = Id(_ENDPOINT, (name,))
    scoped = ("logs", "insights") if label == "monitor" else ()
    yield Resource(
        _ENDPOINT,
        NETWORK_API,
        name,
        {
            "subnet": {"id": subnet_id(estate, "endpoints")},
            "customNetworkInterfaceName": f"{name}-nic",
            "privateLinkServiceConnections": [
                {
                    "name": name,
                    "properties": {"privateLinkServiceId": target, "groupIds": [service.group]},
                }
            ],
        },
        location=estate.region,
        # What is linked to a scope after its endpoint would be missing from the endpoint.
        depends=(
            vnet_id(estate),
            target,
            *(
                Id(f"{service.type}/scopedResources", (*target.names, f"{estate.name}-{part}"))
                for part in scoped
            ),
        ),
    )
    zones = tuple(Id(_ZONE, (zone,)) for zone in service.zones)
    yield Resource(
        f"{_ENDPOINT}/privateDnsZoneGroups",
        NETWORK_API,
        f"{name}/{estate.name}-zones",
        {
            "privateDnsZoneConfigs": [
                {
                    "name": zone.names[0].replace(".", "-"),
                    "properties": {"privateDnsZoneId": zone},
                }
                for zone in zones
            ]
        },
        depends=(endpoint, *zones),
    )
