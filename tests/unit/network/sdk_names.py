"""Run by a Python that has Microsoft's azure-mgmt packages: which members of a template they lack.

Reads an ARM template on stdin and writes a JSON list of paths, "[]" where every member is known.
The packages' models are generated from Azure's own specifications, with the names on the wire.
"""

import importlib
import json
import re
import sys

MODELS = {
    "Microsoft.Network/networkSecurityGroups": "network:NetworkSecurityGroup",
    "Microsoft.Network/virtualNetworks": "network:VirtualNetwork",
    "Microsoft.Network/privateEndpoints": "network:PrivateEndpoint",
    "Microsoft.Network/privateEndpoints/privateDnsZoneGroups": "network:PrivateDnsZoneGroup",
    "Microsoft.Network/privateDnsZones": "privatedns:PrivateZone",
    "Microsoft.Network/privateDnsZones/virtualNetworkLinks": "privatedns:VirtualNetworkLink",
    "Microsoft.CognitiveServices/accounts": "cognitiveservices:Account",
    "Microsoft.CognitiveServices/accounts/raiPolicies": "cognitiveservices:RaiPolicy",
    "Microsoft.CognitiveServices/accounts/deployments": "cognitiveservices:Deployment",
    "Microsoft.KeyVault/vaults": "keyvault:VaultCreateOrUpdateParameters",
    "Microsoft.KeyVault/vaults/keys": "keyvault:KeyCreateParameters",
    "Microsoft.DBforPostgreSQL/flexibleServers": "postgresqlflexibleservers:Server",
    "Microsoft.DBforPostgreSQL/flexibleServers/databases": "postgresqlflexibleservers:Database",
    "Microsoft.DBforPostgreSQL/flexibleServers/configurations": (
        "postgresqlflexibleservers:Configuration"
    ),
    "Microsoft.Cache/redisEnterprise": "redisenterprise:Cluster",
    "Microsoft.Cache/redisEnterprise/databases": "redisenterprise:Database",
    "Microsoft.Cache/redisEnterprise/databases/accessPolicyAssignments": (
        "redisenterprise:AccessPolicyAssignment"
    ),
    "Microsoft.OperationalInsights/workspaces": "loganalytics:Workspace",
    "Microsoft.Insights/components": "applicationinsights:ApplicationInsightsComponent",
    "Microsoft.ManagedIdentity/userAssignedIdentities": "msi:Identity",
    "Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials": (
        "msi:FederatedIdentityCredential"
    ),
    "Microsoft.Authorization/roleAssignments": "authorization:RoleAssignmentCreateParameters",
    "Microsoft.App/managedEnvironments": "appcontainers:ManagedEnvironment",
    "Microsoft.App/containerApps": "appcontainers:ContainerApp",
    "Microsoft.ContainerService/managedClusters": "containerservice:ManagedCluster",
    # No package in use holds diagnostic settings or private link scopes any more.
    "Microsoft.Insights/diagnosticSettings": "",
    "Microsoft.Insights/privateLinkScopes": "",
    "Microsoft.Insights/privateLinkScopes/scopedResources": "",
}
OF_TEMPLATES = {"type", "apiVersion", "name", "location", "dependsOn", "scope", "metadata"}


def known(module, name):
    """Members of a model: name on the wire → type's name, or a table of the same."""
    model = getattr(module, name, None)
    if hasattr(model, "_attribute_map"):
        table = {}
        for entry in model._attribute_map.values():
            *way, last = entry["key"].split(".")
            at = table
            for part in way:
                at = at.setdefault(part, {})
            at[last] = entry["type"]
        return table
    table = {}
    for base in reversed(getattr(model, "__mro__", ())):
        for attribute, field in vars(base).items():
            if type(field).__name__ == "_RestField":
                wire = field._rest_name_input or attribute
                table[wire] = str(base.__annotations__.get(attribute, ""))
    return table


def missing(tree, kind, module, path):
    """Paths of members that the type does not have."""
    if isinstance(tree, list):
        return [found for item in tree for found in missing(item, kind, module, path)]
    if not isinstance(tree, dict):
        return []
    table = kind
    if isinstance(kind, str):
        names = re.findall(r"\w+", kind)
        free = kind.startswith("{") or re.search(r"\b[dD]ict\[", kind)
        models = [name for name in names if known(module, name)]
        if free or not models:
            return []
        table = known(module, models[0])
    found = []
    for member, value in tree.items():
        if member in table:
            found += missing(value, table[member], module, f"{path}.{member}")
        else:
            found.append(f"{path}.{member}")
    return found


def main():
    """Check every resource of the template on stdin."""
    found = []
    for resource in json.load(sys.stdin)["resources"]:
        where = MODELS[resource["type"]]
        if where:
            package, _, name = where.partition(":")
            module = importlib.import_module(f"azure.mgmt.{package}.models")
            tree = {key: item for key, item in resource.items() if key not in OF_TEMPLATES}
            assert known(module, name), where
            found += missing(tree, name, module, resource["type"])
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
