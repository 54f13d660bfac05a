"""Logs: kept for every service, taken in and read over private ways."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ostiary.network.inventory import Found, Inventory, member, reference, shown
from ostiary.network.private_link import FOUNDRY, KEY_VAULT, MONITOR, OLD_REDIS, POSTGRESQL, REDIS
from ostiary.network.rules.rule import Problem, Rule

_LOGGED: Final = (
    FOUNDRY.type,
    KEY_VAULT.type,
    POSTGRESQL.type,
    REDIS.type,
    OLD_REDIS.type,
    "Microsoft.App/managedEnvironments",
    "Microsoft.ContainerService/managedClusters",
    "Microsoft.OperationalInsights/workspaces",
)
_WORKSPACE: Final = "Microsoft.OperationalInsights/workspaces"
_COMPONENT: Final = "Microsoft.Insights/components"
_DESTINATIONS: Final = (
    "workspaceId",
    "storageAccountId",
    "eventHubAuthorizationRuleId",
    "marketplacePartnerId",
)


def _unlogged(inventory: Inventory) -> Iterator[Problem]:
    logged = {
        setting.scope
        for setting in inventory.of("Microsoft.Insights/diagnosticSettings")
        if _keeps_logs(setting)
    }
    for service in inventory.of(*_LOGGED):
        own = {service.id, *(child.id for child in inventory.children(service, "databases"))}
        if not own & logged:
            yield Problem(service, "no diagnostic setting keeps its logs")


def _keeps_logs(setting: Found) -> bool:
    enabled = any(member(entry, "enabled") is True for entry in setting.all("logs"))
    return enabled and any(setting.get(name) for name in _DESTINATIONS)


def _public_way(inventory: Inventory) -> Iterator[Problem]:
    """Queries may be public only where no private link scope would carry them."""
    private = any(inventory.of(MONITOR.type))
    for resource in inventory.of(_WORKSPACE, _COMPONENT):
        ways = ("Ingestion", "Query") if private else ("Ingestion",)
        members = [f"publicNetworkAccessFor{way}" for way in ways]
        open_ = [name for name in members if str(resource.get(name)).lower() != "disabled"]
        if open_:
            yield Problem(resource, f"{open_[0]} is {shown(resource.get(open_[0]))}")


def _keys(inventory: Inventory) -> Iterator[Problem]:
    for kind, path in (
        (_WORKSPACE, ("features", "disableLocalAuth")),
        (_COMPONENT, ("DisableLocalAuth",)),
    ):
        for resource in inventory.of(kind):
            if resource.get(*path) is not True:
                yield Problem(resource, f"{'.'.join(path)} is {shown(resource.get(*path))}")


def _access_mode(inventory: Inventory) -> Iterator[Problem]:
    for scope in inventory.of(MONITOR.type):
        for name in ("ingestionAccessMode", "queryAccessMode"):
            value = scope.get("accessModeSettings", name)
            if str(value).lower() != "privateonly":
                yield Problem(scope, f"accessModeSettings.{name} is {shown(value)}")


def _outside_scope(inventory: Inventory) -> Iterator[Problem]:
    """What is in the file beside a private link scope must be reached through it."""
    scopes = list(inventory.of(MONITOR.type))
    linked = {
        reference(child.get("linkedResourceId"))
        for scope in scopes
        for child in inventory.children(scope, "scopedResources")
    }
    for resource in inventory.of(_WORKSPACE, _COMPONENT) if scopes else ():
        if resource.id not in linked and not resource.all("privateLinkScopedResources"):
            yield Problem(resource, "it is not in the private link scope")


RULES: Final = (
    Rule(
        "diagnostics-missing",
        "medium",
        "The logs of every service are kept",
        "What happened at the service itself can be told afterwards by nobody.",
        "Add a Microsoft.Insights/diagnosticSettings in the service's scope with categoryGroup "
        "allLogs enabled and a workspaceId.",
        _unlogged,
    ),
    Rule(
        "monitor-public-access",
        "medium",
        "Logs come in, and where they can go out, over private ways",
        "Anybody with a token writes into the logs, or reads them, from anywhere.",
        "Set publicNetworkAccessForIngestion, and beside a private link scope ForQuery, to "
        '"Disabled".',
        _public_way,
    ),
    Rule(
        "monitor-local-auth",
        "medium",
        "Logs are written by identities",
        "With the shared key, which every client holds, anybody forges entries.",
        "Set disableLocalAuth to true.",
        _keys,
    ),
    Rule(
        "monitor-access-mode",
        "medium",
        "A private link scope is private",
        "In Open mode machines in the network reach everybody's workspaces: a way out for data.",
        'Set both access modes in accessModeSettings to "PrivateOnly".',
        _access_mode,
    ),
    Rule(
        "monitor-scope",
        "medium",
        "Workspaces and components are in the private link scope",
        "What is outside of the scope cannot be reached from the network.",
        "Add a scopedResources child whose linkedResourceId is the resource.",
        _outside_scope,
    ),
)
