"""The virtual network with its three subnets."""

from __future__ import annotations

from collections.abc import Iterator

from ostiary.network.estate import Estate
from ostiary.network.resources.place import NETWORK_API, VNET, nsg_id, subnet_id, vnet_id
from ostiary.network.template import Resource, Value


def resources(estate: Estate) -> Iterator[Resource]:
    """One network; every subnet has its security group and no implicit way out."""
    roles = ("ingress", "app", "endpoints")
    yield Resource(
        VNET,
        NETWORK_API,
        vnet_id(estate).names[0],
        {
            "addressSpace": {"addressPrefixes": [str(estate.ranges.vnet)]},
            "subnets": [_subnet(estate, role) for role in roles],
        },
        location=estate.region,
        depends=tuple(nsg_id(estate, role) for role in roles),
    )


def _subnet(estate: Estate, role: str) -> Value:
    properties: dict[str, Value] = {
        "addressPrefix": str(getattr(estate.ranges, role)),
        "networkSecurityGroup": {"id": nsg_id(estate, role)},
        "defaultOutboundAccess": False,
        # Disabled, Azure's default, would exempt private endpoints from the security group.
        "privateEndpointNetworkPolicies": "Enabled",
    }
    if role == "app" and estate.compute == "container-apps":
        service = "Microsoft.App/environments"
        properties["delegations"] = [
            {"name": "container-apps", "properties": {"serviceName": service}}
        ]
    return {"name": subnet_id(estate, role).names[1], "properties": properties}
