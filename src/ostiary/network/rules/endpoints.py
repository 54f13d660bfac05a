"""Private endpoints: there for each service, with all zones, filled and linked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ostiary.network.inventory import Found, Inventory, member, reference, shown, type_of
from ostiary.network.private_link import BY_TYPE, PrivateService
from ostiary.network.rules.rule import Problem, Rule, switch
from ostiary.network.rules.subnets import endpoint_subnet

_ENDPOINT: Final = "Microsoft.Network/privateEndpoints"
_ZONE: Final = "Microsoft.Network/privateDnsZones"
_LINK: Final = "Microsoft.Network/privateDnsZones/virtualNetworkLinks"


def _connections(endpoint: Found) -> Iterator[tuple[str, list[str]]]:
    """Target id and group ids of each connection, in lower case."""
    for kind in ("privateLinkServiceConnections", "manualPrivateLinkServiceConnections"):
        for entry in endpoint.all(kind):
            groups = member(entry, "properties", "groupIds")
            listed = groups if isinstance(groups, list) else []
            yield (
                reference(member(entry, "properties", "privateLinkServiceId")),
                [str(group).lower() for group in listed],
            )


def _services(endpoint: Found) -> Iterator[PrivateService]:
    """The known services that an endpoint leads to, by its target's type, else by its group."""
    by_group = {service.group.lower(): service for service in BY_TYPE.values()}
    for target, groups in _connections(endpoint):
        known = BY_TYPE.get(type_of(target)) if target else None
        found = [known] if known else [by_group[group] for group in groups if group in by_group]
        yield from (service for service in found if service is not None)


def _zones_of(inventory: Inventory, endpoint: Found) -> list[str] | None:
    """The ids of the zones in an endpoint's zone groups; None where it has none."""
    groups = inventory.children(endpoint, "privateDnsZoneGroups")
    configs = [config for group in groups for config in group.all("privateDnsZoneConfigs")]
    if not configs:
        return None
    return [reference(member(config, "properties", "privateDnsZoneId")) for config in configs]


def _missing_endpoint(inventory: Inventory) -> Iterator[Problem]:
    reached = {
        target for endpoint in inventory.of(_ENDPOINT) for target, _ in _connections(endpoint)
    }
    for service in inventory.of(*BY_TYPE):
        injected = service.get("network", "delegatedSubnetResourceId")
        connected = service.all("privateEndpointConnections")
        if service.id not in reached and not connected and not injected:
            yield Problem(service, "no private endpoint leads to it")


def _unseen_target(inventory: Inventory) -> Iterator[Problem]:
    for endpoint in inventory.of(_ENDPOINT):
        for target, _ in _connections(endpoint):
            if type_of(target) in BY_TYPE and target not in inventory:
                yield Problem(
                    endpoint, "its target is not in the file: nothing shows its public door closed"
                )


def _wrong_group(inventory: Inventory) -> Iterator[Problem]:
    for endpoint in inventory.of(_ENDPOINT):
        for target, groups in _connections(endpoint):
            service = BY_TYPE.get(type_of(target)) if target else None
            if service and groups != [service.group.lower()]:
                named = ", ".join(groups) or "none"
                yield Problem(endpoint, f"groupIds is {named[:60]}, not {service.group}")


def _no_zone_group(inventory: Inventory) -> Iterator[Problem]:
    for endpoint in inventory.of(_ENDPOINT):
        if _zones_of(inventory, endpoint) is None:
            yield Problem(endpoint, "it has no privateDnsZoneGroups with a zone")


def _missing_zones(inventory: Inventory) -> Iterator[Problem]:
    """An endpoint without a zone group is measured by the zones that the file holds."""
    here = {zone.id for zone in inventory.of(_ZONE)}
    for endpoint in inventory.of(_ENDPOINT):
        ids = _zones_of(inventory, endpoint)
        known = here if ids is None else {id_ for id_ in ids if _exists(id_, endpoint, here)}
        names = {id_.rpartition("/")[2] for id_ in known}
        wanted = [zone for service in _services(endpoint) for zone in service.zones]
        missing = [zone for zone in wanted if zone not in names]
        if missing:
            yield Problem(endpoint, f"zones missing: {', '.join(missing)}")


def _exists(zone: str, endpoint: Found, here: set[str]) -> bool:
    """Whether a zone is in the file, or in another resource group, where central zones live."""
    group = endpoint.id.partition("/providers/")[0]
    return zone in here or (zone.startswith("/") and zone.partition("/providers/")[0] != group)


def _unlinked(inventory: Inventory) -> Iterator[Problem]:
    needing: dict[str, set[str]] = {}
    for endpoint in inventory.of(_ENDPOINT):
        subnet = endpoint_subnet(inventory, endpoint)
        for id_ in _zones_of(inventory, endpoint) or ():
            needing.setdefault(id_, set())
            if subnet is not None:
                needing[id_].add(subnet.parent)
    for zone in inventory.of(_ZONE):
        if not zone.name.startswith("privatelink."):
            continue
        linked = {
            reference(link.get("virtualNetwork", "id"))
            for link in inventory.children(zone, "virtualNetworkLinks")
        }
        if not linked:
            yield Problem(zone, "it is linked to no virtual network")
        elif needing.get(zone.id, set()) - linked:
            yield Problem(zone, "it is not linked to the network of its private endpoint")


def _registration(inventory: Inventory) -> Iterator[Problem]:
    for link in inventory.of(_LINK):
        value = link.get("registrationEnabled")
        if value not in (None, False):
            yield Problem(link, f"registrationEnabled is {shown(value)}")


RULES: Final = (
    Rule(
        "endpoint-missing",
        "high",
        "Every private service has a private endpoint",
        "A service without an endpoint is reached over its public address or not at all.",
        "Add a Microsoft.Network/privateEndpoints whose connection names the service.",
        _missing_endpoint,
    ),
    Rule(
        "endpoint-target-unseen",
        "high",
        "What an endpoint leads to is shown to be private",
        "An endpoint adds a private door; the public one stays open until the service closes it, "
        "and this file does not hold the service.",
        "Put the service into the file with publicNetworkAccess Disabled and without keys.",
        _unseen_target,
    ),
    Rule(
        "endpoint-group",
        "high",
        "An endpoint asks for the group of its service",
        "With another group the connection is refused or leads elsewhere.",
        "Set groupIds to the one group of the service.",
        _wrong_group,
    ),
    Rule(
        "endpoint-without-zone-group",
        "high",
        "Every endpoint writes its addresses into its zones",
        "A zone that is linked but lacks the record answers NXDOMAIN: the name breaks instead of "
        "going private.",
        "Add a privateDnsZoneGroups child that lists all zones of the service.",
        _no_zone_group,
    ),
    Rule(
        "endpoint-zones",
        "high",
        "An endpoint has all zones of its service",
        "Names under a missing zone resolve to the public address, or not at all.",
        "Add the missing zones, and list them in the endpoint's zone group.",
        _missing_zones,
    ),
    Rule(
        "zone-unlinked",
        "high",
        "Each zone is linked to the network that uses it",
        "Machines in a network without the link ask public DNS and get the public address.",
        "Add a virtualNetworkLinks child for the network of the endpoint.",
        _unlinked,
    ),
    Rule(
        "zone-registration",
        "low",
        "Machines do not register themselves in the zones of private endpoints",
        "A machine that names itself like a service would take the service's name.",
        "Set properties.registrationEnabled to false.",
        _registration,
    ),
    switch(
        "zone-public-fallback",
        "medium",
        "A missing private record does not fall back to public DNS",
        "NxDomainRedirect asks public DNS for what the zone lacks, so traffic leaves in silence "
        "where it should fail.",
        types=(_LINK,),
        path=("resolutionPolicy",),
        wanted=("Default",),
        default="Default",
    ),
)
