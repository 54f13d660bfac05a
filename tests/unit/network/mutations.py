"""Single defects: each changes one thing of our own rendering and names the rule that it breaks."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

Tree = dict[str, Any]
Change = Callable[[Tree], None]

AI = "Microsoft.CognitiveServices/accounts"
PG = "Microsoft.DBforPostgreSQL/flexibleServers"
REDIS = "Microsoft.Cache/redisEnterprise"
VAULT = "Microsoft.KeyVault/vaults"
NSG = "Microsoft.Network/networkSecurityGroups"
PE = "Microsoft.Network/privateEndpoints"
ZONE = "Microsoft.Network/privateDnsZones"
ENV = "Microsoft.App/managedEnvironments"
APP = "Microsoft.App/containerApps"
AKS = "Microsoft.ContainerService/managedClusters"
ROLE = "Microsoft.Authorization/roleAssignments"
LOGS = "Microsoft.Insights/diagnosticSettings"
WORKSPACE = "Microsoft.OperationalInsights/workspaces"
SCOPE = "Microsoft.Insights/privateLinkScopes"
CONTRIBUTOR = "b24988ac-6180-42a0-ab88-20f7382dd24c"


def first(tree: Tree, kind: str, part: str = "") -> Tree:
    return next(r for r in tree["resources"] if r["type"] == kind and part in r["name"])


def put(kind: str, path: str, value: Any, part: str = "") -> Change:
    """Set (or, with None, remove) a member of the first such resource's properties."""

    def change(tree: Tree) -> None:
        at = first(tree, kind, part)["properties"]
        *way, last = path.split(".")
        for name in way:
            at = at[name]
        if value is None:
            del at[last]
        else:
            at[last] = value

    return change


def drop(kind: str, part: str = "") -> Change:
    return lambda tree: tree["resources"].remove(first(tree, kind, part))


def rule(group: str, name: str, **members: Any) -> Change:
    """Change a security rule, or remove it where nothing is given."""

    def change(tree: Tree) -> None:
        rules = first(tree, NSG, group)["properties"]["securityRules"]
        found = next(item for item in rules if item["name"] == name)
        if members:
            found["properties"].update(members)
        else:
            rules.remove(found)

    return change


def add_rule(group: str, *, name: str = "added", **members: Any) -> Change:
    def change(tree: Tree) -> None:
        whole = {
            "priority": 300,
            "direction": "Inbound",
            "access": "Allow",
            "protocol": "Tcp",
            "sourcePortRange": "*",
            "sourceAddressPrefix": "10.20.0.0/16",
            "destinationAddressPrefix": "*",
            "destinationPortRange": "443",
        } | members
        rules = first(tree, NSG, group)["properties"]["securityRules"]
        rules.append({"name": name, "properties": whole})

    return change


def subnet(name: str, member: str, value: Any) -> Change:
    def change(tree: Tree) -> None:
        vnet = first(tree, "Microsoft.Network/virtualNetworks")
        found = next(s for s in vnet["properties"]["subnets"] if s["name"] == f"acme-{name}")
        if value is None:
            del found["properties"][member]
        else:
            found["properties"][member] = value

    return change


def without_zone(tree: Tree) -> None:
    group = first(tree, f"{PE}/privateDnsZoneGroups", "foundry")
    del group["properties"]["privateDnsZoneConfigs"][1]


def weak_filter(name: str, member: str, value: Any) -> Change:
    def change(tree: Tree) -> None:
        filters = first(tree, f"{AI}/raiPolicies")["properties"]["contentFilters"]
        next(entry for entry in filters if entry["name"] == name)[member] = value

    return change


def envelope(kind: str, member: str) -> Change:
    return lambda tree: first(tree, kind).pop(member)


def wide_role(tree: Tree) -> None:
    kind = "Microsoft.Authorization/roleDefinitions"
    assignment = first(tree, ROLE)
    assignment["properties"]["roleDefinitionId"] = (
        f"[subscriptionResourceId('{kind}', '{CONTRIBUTOR}')]"
    )


def wrong_zone(tree: Tree) -> None:
    """The zone under the name that people guess."""
    whole = json.dumps(tree).replace(
        "privatelink.vaultcore.azure.net", "privatelink.vault.azure.net"
    )
    tree.clear()
    tree.update(json.loads(whole))


def other_network(tree: Tree) -> None:
    link = first(tree, f"{ZONE}/virtualNetworkLinks", "openai")
    link["properties"]["virtualNetwork"]["id"] = (
        "[resourceId('Microsoft.Network/virtualNetworks', 'other-vnet')]"
    )


def connection(part: str, member: str, value: Any) -> Change:
    def change(tree: Tree) -> None:
        links = first(tree, PE, f"pe-{part}")["properties"]["privateLinkServiceConnections"]
        links[0]["properties"][member] = value

    return change


def firewall_rule(tree: Tree) -> None:
    tree["resources"].append(
        {
            "type": f"{PG}/firewallRules",
            "name": "acme-pg/all",
            "properties": {"startIpAddress": "0.0.0.0", "endIpAddress": "255.255.255.255"},
        }
    )


MUTATIONS: list[tuple[str, Change, str]] = [
    (
        "anybody reaches the ingress",
        rule("ingress", "allow-https-from-clients", sourceAddressPrefixes=["*"]),
        "nsg-inbound-any-source",
    ),
    (
        "the Internet reaches the ingress",
        rule("ingress", "allow-https-from-clients", sourceAddressPrefixes=["Internet"]),
        "nsg-inbound-any-source",
    ),
    (
        "the Internet, in two halves",
        rule(
            "ingress",
            "allow-https-from-clients",
            sourceAddressPrefixes=["0.0.0.0/1", "128.0.0.0/1"],
        ),
        "nsg-inbound-any-source",
    ),
    (
        "a denial that allows",
        rule("app", "deny-all-inbound", access="Allow"),
        "nsg-inbound-any-source",
    ),
    ("no denial inbound", rule("app", "deny-all-inbound"), "nsg-inbound-default"),
    (
        "a denial of TCP alone",
        rule("app", "deny-all-inbound", protocol="Tcp"),
        "nsg-inbound-default",
    ),
    (
        "a denial of the Internet alone",
        rule("endpoints", "deny-all-inbound", sourceAddressPrefix="Internet"),
        "nsg-inbound-default",
    ),
    (
        "a denial of some ports",
        rule("app", "deny-all-inbound", destinationPortRange="0-1023"),
        "nsg-inbound-default",
    ),
    (
        "all ports from the clients",
        rule("ingress", "allow-https-from-clients", destinationPortRange="*"),
        "nsg-inbound-risky-port",
    ),
    (
        "SSH from the clients",
        add_rule("app", destinationPortRange="22"),
        "nsg-inbound-risky-port",
    ),
    (
        "plain HTTP from the clients",
        rule("ingress", "allow-https-from-clients", destinationPortRange="80"),
        "nsg-inbound-risky-port",
    ),
    ("no denial outbound", rule("app", "deny-all-outbound"), "nsg-outbound-default"),
    (
        "a denial of one destination",
        rule("ingress", "deny-all-outbound", destinationAddressPrefix="10.0.0.0/8"),
        "nsg-outbound-default",
    ),
    (
        "out to the Internet",
        rule("app", "allow-entra", destinationAddressPrefix="Internet"),
        "nsg-outbound-any-destination",
    ),
    (
        "out to all of Azure",
        rule("app", "allow-entra", destinationAddressPrefix="AzureCloud.westeurope"),
        "nsg-outbound-any-destination",
    ),
    (
        "a priority twice",
        rule("app", "allow-among-nodes-in", priority=100),
        "nsg-priority",
    ),
    ("a priority too low", rule("app", "allow-entra", priority=99), "nsg-priority"),
    ("a priority too high", rule("app", "deny-all-inbound", priority=4097), "nsg-priority"),
    ("a name twice", add_rule("ingress", name="deny-all-inbound"), "nsg-rule-name"),
    (
        "a denial that comes too late",
        add_rule("ingress", access="Deny", sourceAddressPrefix="10.20.3.0/24"),
        "nsg-shadowed-rule",
    ),
    (
        "a denial that comes too early",
        rule("app", "deny-all-inbound", priority=105),
        "nsg-shadowed-rule",
    ),
    ("no group", subnet("endpoints", "networkSecurityGroup", None), "subnet-without-nsg"),
    ("no group at the app", subnet("app", "networkSecurityGroup", None), "subnet-without-nsg"),
    (
        "endpoints exempt from the group",
        subnet("endpoints", "privateEndpointNetworkPolicies", "Disabled"),
        "subnet-endpoint-policies",
    ),
    (
        "endpoints exempt by default",
        subnet("endpoints", "privateEndpointNetworkPolicies", None),
        "subnet-endpoint-policies",
    ),
    (
        "an implicit way out",
        subnet("app", "defaultOutboundAccess", True),
        "subnet-default-outbound",
    ),
    (
        "the same by default",
        subnet("app", "defaultOutboundAccess", None),
        "subnet-default-outbound",
    ),
    ("no delegation", subnet("app", "delegations", []), "subnet-delegation"),
    ("no endpoint", drop(PE, "pe-keyvault"), "endpoint-missing"),
    ("no account", drop(AI), "endpoint-target-unseen"),
    ("another group", connection("keyvault", "groupIds", ["account"]), "endpoint-group"),
    ("no zone group", drop(f"{PE}/privateDnsZoneGroups", "redis"), "endpoint-without-zone-group"),
    ("one zone left out", without_zone, "endpoint-zones"),
    ("one zone not made", drop(ZONE, "services.ai"), "endpoint-zones"),
    ("a zone of a likely name", wrong_zone, "endpoint-zones"),
    ("a zone without link", drop(f"{ZONE}/virtualNetworkLinks", "postgres"), "zone-unlinked"),
    ("a link elsewhere", other_network, "zone-unlinked"),
    (
        "registration",
        put(f"{ZONE}/virtualNetworkLinks", "registrationEnabled", True),
        "zone-registration",
    ),
    (
        "public fallback",
        put(f"{ZONE}/virtualNetworkLinks", "resolutionPolicy", "NxDomainRedirect"),
        "zone-public-fallback",
    ),
    ("account public", put(AI, "publicNetworkAccess", "Enabled"), "foundry-public-access"),
    ("account public by default", put(AI, "publicNetworkAccess", None), "foundry-public-access"),
    ("account open", put(AI, "networkAcls.defaultAction", "Allow"), "foundry-network-acls"),
    ("account with keys", put(AI, "disableLocalAuth", False), "foundry-local-auth"),
    ("account without identity", envelope(AI, "identity"), "foundry-identity"),
    ("account without name", put(AI, "customSubDomainName", None), "foundry-subdomain"),
    ("account may fetch", put(AI, "restrictOutboundNetworkAccess", False), "foundry-outbound"),
    ("account may fetch all", put(AI, "allowedFqdnList", ["*"]), "foundry-outbound"),
    ("account without a list", put(AI, "allowedFqdnList", None), "foundry-outbound"),
    ("account stores", put(AI, "storedCompletionsDisabled", False), "foundry-stored-completions"),
    ("late verdict", put(f"{AI}/raiPolicies", "mode", "Asynchronous_filter"), "model-policy-mode"),
    ("no shield", weak_filter("Indirect Attack", "enabled", False), "model-policy-shields"),
    ("shield that notes", weak_filter("Jailbreak", "blocking", False), "model-policy-shields"),
    ("filter off", weak_filter("Violence", "enabled", False), "model-policy-filters"),
    ("filter lax", weak_filter("Hate", "severityThreshold", "High"), "model-policy-filters"),
    (
        "a model without policy",
        put(f"{AI}/deployments", "raiPolicyName", None),
        "deployment-without-policy",
    ),
    (
        "a model with the default policy",
        put(f"{AI}/deployments", "raiPolicyName", "Microsoft.DefaultV2"),
        "deployment-without-policy",
    ),
    ("no policy", drop(f"{AI}/raiPolicies"), "deployment-without-policy"),
    ("vault public", put(VAULT, "publicNetworkAccess", "Enabled"), "keyvault-public-access"),
    ("vault open", put(VAULT, "networkAcls.defaultAction", "Allow"), "keyvault-network-acls"),
    ("vault by policies", put(VAULT, "enableRbacAuthorization", False), "keyvault-rbac"),
    ("vault purgeable", put(VAULT, "enablePurgeProtection", None), "keyvault-purge-protection"),
    ("vault forgets", put(VAULT, "enableSoftDelete", False), "keyvault-soft-delete"),
    (
        "database public",
        put(PG, "network.publicNetworkAccess", "Enabled"),
        "postgresql-public-access",
    ),
    ("database by password", put(PG, "authConfig.passwordAuth", "Enabled"), "postgresql-password"),
    (
        "database without Entra",
        put(PG, "authConfig.activeDirectoryAuth", "Disabled"),
        "postgresql-entra",
    ),
    (
        "database in clear",
        put(f"{PG}/configurations", "value", "off", "require_secure_transport"),
        "postgresql-tls",
    ),
    (
        "database over TLS 1.0",
        put(f"{PG}/configurations", "value", "TLSv1", "ssl_min_protocol_version"),
        "postgresql-tls",
    ),
    ("database firewall", firewall_rule, "data-firewall-rule"),
    ("Redis public", put(REDIS, "publicNetworkAccess", "Enabled"), "redis-public-access"),
    ("Redis TLS 1.0", put(REDIS, "minimumTlsVersion", "1.0"), "redis-tls-version"),
    ("Redis in clear", put(f"{REDIS}/databases", "clientProtocol", "Plaintext"), "redis-plaintext"),
    (
        "Redis by key",
        put(f"{REDIS}/databases", "accessKeysAuthentication", "Enabled"),
        "redis-access-keys",
    ),
    ("no logs of the account", drop(LOGS, "foundry"), "diagnostics-missing"),
    ("no logs of Redis", drop(LOGS, "redis"), "diagnostics-missing"),
    ("no logs in the setting", put(LOGS, "logs", [], "keyvault"), "diagnostics-missing"),
    ("logs to nowhere", put(LOGS, "workspaceId", None, "postgresql"), "diagnostics-missing"),
    (
        "logs from anywhere",
        put(WORKSPACE, "publicNetworkAccessForIngestion", "Enabled"),
        "monitor-public-access",
    ),
    (
        "logs for anybody",
        put(WORKSPACE, "publicNetworkAccessForQuery", "Enabled"),
        "monitor-public-access",
    ),
    (
        "logs by key",
        put("Microsoft.Insights/components", "DisableLocalAuth", False),
        "monitor-local-auth",
    ),
    (
        "an open scope",
        put(SCOPE, "accessModeSettings.ingestionAccessMode", "Open"),
        "monitor-access-mode",
    ),
    ("outside the scope", drop(f"{SCOPE}/scopedResources", "insights"), "monitor-scope"),
    (
        "environment public",
        put(ENV, "vnetConfiguration.internal", False),
        "environment-public",
    ),
    (
        "environment takes public traffic",
        put(ENV, "publicNetworkAccess", "Enabled"),
        "environment-public-access",
    ),
    (
        "environment elsewhere",
        put(ENV, "vnetConfiguration.infrastructureSubnetId", None),
        "environment-network",
    ),
    (
        "app over plain HTTP",
        put(APP, "configuration.ingress.allowInsecure", True),
        "app-insecure-ingress",
    ),
    ("app without identity", envelope(APP, "identity"), "app-identity"),
    ("a wide role", wide_role, "role-too-wide"),
    ("a role on the group", envelope(ROLE, "scope"), "role-scope"),
    ("a role for whom?", put(ROLE, "principalType", None), "role-principal-type"),
]
"""What is changed, how, and the one rule that must speak."""

AKS_MUTATIONS: list[tuple[str, Change, str]] = [
    (
        "API for everybody",
        put(AKS, "apiServerAccessProfile.enablePrivateCluster", False),
        "cluster-public-api",
    ),
    ("local accounts", put(AKS, "disableLocalAccounts", False), "cluster-local-accounts"),
    ("no policies", put(AKS, "networkProfile.networkPolicy", "none"), "cluster-network-policy"),
    ("no logs of the cluster", drop(LOGS, "aks"), "diagnostics-missing"),
]
"""The same for an estate with a cluster."""
