"""A private Kubernetes cluster for the gateway's Helm chart."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ostiary.network.estate import Estate
from ostiary.network.resources.place import (
    IDENTITY,
    IDENTITY_API,
    assume,
    diagnostics,
    grant,
    identity_id,
    subnet_id,
    vnet_id,
)
from ostiary.network.template import Id, Output, Resource, Value

_API: Final = "2024-09-01"
_NETWORK_CONTRIBUTOR: Final = "4d97b98b-1d4f-4787-a291-c67834d212e7"


def resources(estate: Estate) -> Iterator[Resource]:
    """Cluster with an identity of its own, federation for the gateway's pods, logs."""
    if estate.compute != "aks":
        return
    control = Id(IDENTITY, (f"{estate.name}-aks-id",))
    yield Resource(IDENTITY, IDENTITY_API, control.names[0], {}, location=estate.region)
    # The one right that the cluster cannot do without: to join nodes to its own subnet.
    joining = grant(_NETWORK_CONTRIBUTOR, control, subnet_id(estate, "app"), on=vnet_id(estate))
    yield joining
    cluster = Id("Microsoft.ContainerService/managedClusters", (f"{estate.name}-aks",))
    yield Resource(
        cluster.type,
        _API,
        cluster.names[0],
        _properties(estate),
        location=estate.region,
        envelope={"sku": {"name": "Base", "tier": "Standard"}, "identity": assume(control)},
        depends=(vnet_id(estate), control),
        skips={
            "CKV_AZURE_4": "The control plane's logs go by a diagnostic setting; an agent on the "
            "nodes would need a way out of the subnet.",
            "CKV_AZURE_6": "The API server has no public address, so there is no range to list.",
            "CKV_AZURE_117": "Node disks hold no user text; the platform's key encrypts them.",
            "CKV_AZURE_172": "Where the add-on is there, rotation is on: the API takes the text "
            "`true`, and the check looks for a boolean.",
        },
    )
    gateway = identity_id(estate)
    yield Resource(
        f"{IDENTITY}/federatedIdentityCredentials",
        IDENTITY_API,
        f"{gateway.names[0]}/{estate.name}-gateway",
        {
            "issuer": Output(cluster, _API, "oidcIssuerProfile.issuerURL"),
            "subject": "system:serviceaccount:ostiary:ostiary",
            "audiences": ["api://AzureADTokenExchange"],
        },
        depends=(gateway, cluster),
    )
    yield diagnostics(estate, "aks", cluster, ("allLogs",))


def _properties(estate: Estate) -> dict[str, Value]:
    return {
        "dnsPrefix": f"{estate.name}-aks",
        "enableRBAC": True,
        "disableLocalAccounts": True,
        "publicNetworkAccess": "Disabled",
        "aadProfile": {"managed": True, "enableAzureRBAC": True},
        "apiServerAccessProfile": {
            "enablePrivateCluster": True,
            "enablePrivateClusterPublicFQDN": False,
            "privateDNSZone": "system",
            "disableRunCommand": True,
        },
        "networkProfile": {
            "networkPlugin": "azure",
            "networkPluginMode": "overlay",
            "networkPolicy": "cilium",
            "networkDataplane": "cilium",
            "outboundType": "loadBalancer",
            "loadBalancerSku": "standard",
        },
        "oidcIssuerProfile": {"enabled": True},
        "securityProfile": {"workloadIdentity": {"enabled": True}},
        "addonProfiles": _addons(estate),
        "autoUpgradeProfile": {"upgradeChannel": "patch", "nodeOSUpgradeChannel": "NodeImage"},
        "agentPoolProfiles": [
            {
                "name": "system",
                "mode": "System",
                "count": 3,
                "vmSize": "Standard_D4ds_v5",
                "osType": "Linux",
                "osSKU": "AzureLinux",
                "osDiskType": "Ephemeral",
                "type": "VirtualMachineScaleSets",
                "availabilityZones": ["1", "2", "3"],
                "enableEncryptionAtHost": True,
                "enableNodePublicIP": False,
                "maxPods": 50,
                "vnetSubnetID": subnet_id(estate, "app"),
            }
        ],
    }


def _addons(estate: Estate) -> dict[str, Value]:
    addons: dict[str, Value] = {
        "azurepolicy": {"enabled": True},
        "kubeDashboard": {"enabled": False},
    }
    if "keyvault" in estate.services:
        addons["azureKeyvaultSecretsProvider"] = {
            "enabled": True,
            "config": {"enableSecretRotation": "true"},
        }
    return addons
