"""Subnets: guarded, without an implicit way out, and fit for what is in them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ostiary.network.inventory import Found, Inventory, member, reference, shown
from ostiary.network.rules.rule import Problem, Rule
from ostiary.network.traffic import guarding

_SUBNET: Final = "Microsoft.Network/virtualNetworks/subnets"
_WITHOUT_GROUP: Final = frozenset(
    {
        "gatewaysubnet",
        "azurefirewallsubnet",
        "azurefirewallmanagementsubnet",
        "routeserversubnet",
    }
)
"""Azure refuses a security group on these."""


def _without_group(inventory: Inventory) -> Iterator[Problem]:
    for subnet in inventory.of(_SUBNET):
        if subnet.name not in _WITHOUT_GROUP and not guarding(subnet):
            yield Problem(subnet, "networkSecurityGroup is not set")


def _implicit_outbound(inventory: Inventory) -> Iterator[Problem]:
    for subnet in inventory.of(_SUBNET):
        value = subnet.get("defaultOutboundAccess")
        if subnet.name not in _WITHOUT_GROUP and value is not False:
            yield Problem(subnet, f"defaultOutboundAccess is {shown(value)}")


def endpoint_subnet(inventory: Inventory, endpoint: Found) -> Found | None:
    """The subnet of a private endpoint, where the file holds it."""
    return inventory.find(reference(endpoint.get("subnet", "id")))


def _endpoint_policies(inventory: Inventory) -> Iterator[Problem]:
    holding = {
        subnet.id: subnet
        for endpoint in inventory.of("Microsoft.Network/privateEndpoints")
        if (subnet := endpoint_subnet(inventory, endpoint)) is not None
    }
    for subnet in holding.values():
        value = subnet.get("privateEndpointNetworkPolicies")
        if str(value).lower() not in ("enabled", "networksecuritygroupenabled"):
            yield Problem(subnet, f"privateEndpointNetworkPolicies is {shown(value)}")


def _delegation(inventory: Inventory) -> Iterator[Problem]:
    for environment in inventory.of("Microsoft.App/managedEnvironments"):
        id_ = reference(environment.get("vnetConfiguration", "infrastructureSubnetId"))
        subnet = inventory.find(id_)
        if subnet is None:
            continue
        services = [
            str(member(item, "properties", "serviceName")).lower()
            for item in subnet.all("delegations")
        ]
        if "microsoft.app/environments" not in services:
            yield Problem(subnet, "not delegated to Microsoft.App/environments")


RULES: Final = (
    Rule(
        "subnet-without-nsg",
        "high",
        "Every subnet has a security group",
        "Without a group everything in the network reaches every port of the subnet, and "
        "everything in the subnet reaches the Internet.",
        "Set properties.networkSecurityGroup.id to a group that denies what it does not name.",
        _without_group,
    ),
    Rule(
        "subnet-endpoint-policies",
        "high",
        "Security groups apply to private endpoints",
        "Azure's default, Disabled, exempts private endpoints from the subnet's security group and "
        "routes: the group is there and guards nothing.",
        'Set properties.privateEndpointNetworkPolicies to "Enabled".',
        _endpoint_policies,
    ),
    Rule(
        "subnet-default-outbound",
        "medium",
        "No subnet has an implicit way to the Internet",
        "Unless it is switched off, Azure lends machines without an address of their own one that "
        "nobody chose and no log names.",
        "Set properties.defaultOutboundAccess to false.",
        _implicit_outbound,
    ),
    Rule(
        "subnet-delegation",
        "medium",
        "A Container Apps subnet is delegated to Container Apps",
        "The environment cannot be placed in the subnet, or shares it with others.",
        "Add a delegation with serviceName Microsoft.App/environments.",
        _delegation,
    ),
)
