"""Where the gateway runs: no public address, no plain HTTP, an identity."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ostiary.network.inventory import Inventory, member
from ostiary.network.rules.rule import Problem, Rule, switch

_ENVIRONMENT: Final = ("Microsoft.App/managedEnvironments",)
_APP: Final = ("Microsoft.App/containerApps",)
_CLUSTER: Final = ("Microsoft.ContainerService/managedClusters",)


def _without_identity(inventory: Inventory) -> Iterator[Problem]:
    for app in inventory.of(*_APP):
        if "assigned" not in str(member(app.body, "identity", "type")).lower():
            yield Problem(app, "it has no managed identity")


def _without_network(inventory: Inventory) -> Iterator[Problem]:
    for environment in inventory.of(*_ENVIRONMENT):
        if not environment.get("vnetConfiguration", "infrastructureSubnetId"):
            yield Problem(environment, "vnetConfiguration.infrastructureSubnetId is not set")


RULES: Final = (
    switch(
        "environment-public",
        "high",
        "The Container Apps environment has no public address",
        "An app with external ingress would answer the Internet.",
        types=_ENVIRONMENT,
        path=("vnetConfiguration", "internal"),
        wanted=(True,),
    ),
    switch(
        "environment-public-access",
        "high",
        "The Container Apps environment takes no public traffic",
        "The public door beside the network's would be open.",
        types=_ENVIRONMENT,
        path=("publicNetworkAccess",),
        wanted=("Disabled",),
        default="Disabled",
    ),
    Rule(
        "environment-network",
        "high",
        "The Container Apps environment is in the network",
        "Outside of it no security group applies and no private endpoint is in reach.",
        "Set properties.vnetConfiguration.infrastructureSubnetId.",
        _without_network,
    ),
    switch(
        "app-insecure-ingress",
        "high",
        "The container app takes no plain HTTP",
        "Tokens and prompts would cross the network readable.",
        types=_APP,
        path=("configuration", "ingress", "allowInsecure"),
        wanted=(False,),
        default=False,
    ),
    Rule(
        "app-identity",
        "medium",
        "The container app has an identity",
        "Without one it needs keys and passwords.",
        'Set identity.type to "UserAssigned".',
        _without_identity,
    ),
    switch(
        "cluster-public-api",
        "high",
        "The cluster's API server is private",
        "Whoever steals a credential could command the cluster from anywhere.",
        types=_CLUSTER,
        path=("apiServerAccessProfile", "enablePrivateCluster"),
        wanted=(True,),
    ),
    switch(
        "cluster-local-accounts",
        "high",
        "The cluster has no local accounts",
        "The local administrator's certificate cannot be taken back.",
        types=_CLUSTER,
        path=("disableLocalAccounts",),
        wanted=(True,),
    ),
    switch(
        "cluster-network-policy",
        "medium",
        "The cluster enforces network policies",
        "Every pod reaches the gateway's pods and their metadata.",
        types=_CLUSTER,
        path=("networkProfile", "networkPolicy"),
        wanted=("cilium", "azure", "calico"),
    ),
)
