"""Names, ids and API versions that more than one family needs."""

from __future__ import annotations

from typing import Final

from ostiary.network.estate import Estate
from ostiary.network.template import Id, Output, Resource, RoleId, Unique, Value

NETWORK_API: Final = "2024-05-01"
IDENTITY_API: Final = "2023-01-31"
_DIAGNOSTICS_API: Final = "2021-05-01-preview"
_ROLES_API: Final = "2022-04-01"

VNET: Final = "Microsoft.Network/virtualNetworks"
SUBNET: Final = "Microsoft.Network/virtualNetworks/subnets"
NSG: Final = "Microsoft.Network/networkSecurityGroups"
IDENTITY: Final = "Microsoft.ManagedIdentity/userAssignedIdentities"
WORKSPACE: Final = "Microsoft.OperationalInsights/workspaces"


def vnet_id(estate: Estate) -> Id:
    """The virtual network."""
    return Id(VNET, (f"{estate.name}-vnet",))


def subnet_id(estate: Estate, role: str) -> Id:
    """A subnet by its role: ingress, app or endpoints."""
    return Id(SUBNET, (f"{estate.name}-vnet", f"{estate.name}-{role}"))


def nsg_id(estate: Estate, role: str) -> Id:
    """The security group of a subnet."""
    return Id(NSG, (f"{estate.name}-nsg-{role}",))


def identity_id(estate: Estate) -> Id:
    """The identity that the gateway runs as."""
    return Id(IDENTITY, (f"{estate.name}-id",))


def workspace_id(estate: Estate) -> Id:
    """The Log Analytics workspace."""
    return Id(WORKSPACE, (f"{estate.name}-logs",))


def tenant(estate: Estate) -> Output:
    """The tenant, known by the gateway's identity."""
    return Output(identity_id(estate), IDENTITY_API, "tenantId")


def assume(identity: Id) -> dict[str, Value]:
    """The member `identity` of a resource that runs as a user-assigned identity."""
    return {"type": "UserAssigned", "userAssignedIdentities": {identity: {}}}


def diagnostics(
    estate: Estate, label: str, target: Id, groups: tuple[str, ...] = ("allLogs", "audit")
) -> Resource:
    """All logs of `target` to the workspace."""
    return Resource(
        "Microsoft.Insights/diagnosticSettings",
        _DIAGNOSTICS_API,
        f"{estate.name}-diag-{label}",
        {
            "workspaceId": workspace_id(estate),
            "logs": [{"categoryGroup": group, "enabled": True} for group in groups],
        },
        scope=target,
        depends=(target, workspace_id(estate)),
    )


def grant(role: str, principal: Id, target: Id, *, on: Id | None = None) -> Resource:
    """The role with this GUID, for one identity, on one resource and nothing beside it.

    `on` is the resource to wait for where `target` is a part of it, such as a subnet.
    """
    return Resource(
        "Microsoft.Authorization/roleAssignments",
        _ROLES_API,
        Unique((target, principal, role)),
        {
            "roleDefinitionId": RoleId(role),
            "principalId": Output(principal, IDENTITY_API, "principalId"),
            "principalType": "ServicePrincipal",
        },
        scope=target,
        depends=(on or target, principal),
    )
