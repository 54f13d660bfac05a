"""What is rendered: complete, literal, the same every time, and clean under our own rules."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from itertools import chain, combinations
from typing import Any

import pytest

from ostiary.network.private_link import SERVICES
from ostiary.network.render import FORMATS, render, resources_of
from tests.unit.network.estates import TEXT, estate, rules_broken, template

SETS = list(chain.from_iterable(combinations(SERVICES, n) for n in range(len(SERVICES) + 1)))
COMPUTES = ("container-apps", "aks", "none")
ALLOWED = re.compile(r"\[(resourceId|subscriptionResourceId|reference|guid|parameters)\(")
TRACES = {
    "foundry": ("cognitiveservices", "openai", "raipolic"),
    "keyvault": ("vault",),
    "postgresql": ("postgres", "5432"),
    "redis": ("redis", "10000"),
    "monitor": ("privatelinkscopes", "opinsights", "insights/components"),
    "container-apps": ("microsoft.app/",),
    "aks": ("containerservice",),
}


def of(tree: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return [item for item in tree["resources"] if item["type"] == kind]


def texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for key, item in value.items() for text in (key, *texts(item))]
    if isinstance(value, list):
        return [text for item in value for text in texts(item)]
    return [value] if isinstance(value, str) else []


@pytest.mark.parametrize("compute", COMPUTES)
def test_every_combination_is_clean_and_leaves_no_trace_of_the_rest(compute: str) -> None:
    for services in SETS:
        tree = template(services, compute)
        assert rules_broken(tree) == set(), services
        written = json.dumps(tree).lower()
        for name in {*TRACES} - {*services, compute}:
            assert not [mark for mark in TRACES[name] if mark in written], (services, name)


@pytest.mark.parametrize("notation", FORMATS)
def test_the_same_estate_is_the_same_bytes(notation: str) -> None:
    assert render(estate(), notation) == render(estate(), notation)
    assert render(estate(), notation).endswith("\n")


def test_only_ids_and_secrets_are_expressions() -> None:
    for compute in COMPUTES:
        found = [text for text in texts(template(compute=compute)) if text.startswith("[")]
        expressions = [text for text in found if not text.startswith("[[")]
        assert expressions
        assert not [text for text in expressions if not ALLOWED.match(text)]


def test_the_list_is_flat_with_full_types_and_no_double() -> None:
    for compute in COMPUTES:
        tree = template(compute=compute)
        keys = [(item["type"], item["name"], item.get("scope")) for item in tree["resources"]]
        assert len(set(keys)) == len(keys)
        for item in tree["resources"]:
            assert "resources" not in item
            levels = item["type"].count("/")
            assert item["name"].startswith("[guid(") or item["name"].count("/") == levels - 1


def test_every_name_begins_with_the_estates_or_is_a_zones() -> None:
    for compute in COMPUTES:
        for item in template(compute=compute)["resources"]:
            assert item["name"].startswith(("acme", "privatelink.", "[guid("))


def test_whatever_is_waited_for_is_there_before() -> None:
    for compute in COMPUTES:
        seen: set[Any] = set()
        for item in resources_of(estate(compute=compute)):
            assert set(item.depends) <= seen, item.name
            if isinstance(item.name, str) and item.scope is None:
                seen.add(item.id)


@pytest.mark.parametrize("service", SERVICES)
def test_each_service_has_an_endpoint_with_all_its_zones_linked(service: str) -> None:
    tree = template((service,), "none")
    wanted = set(SERVICES[service].zones)
    assert {item["name"] for item in of(tree, "Microsoft.Network/privateDnsZones")} == wanted
    links = of(tree, "Microsoft.Network/privateDnsZones/virtualNetworkLinks")
    assert {item["name"].split("/")[0] for item in links} == wanted
    (endpoint,) = of(tree, "Microsoft.Network/privateEndpoints")
    (connection,) = endpoint["properties"]["privateLinkServiceConnections"]
    assert connection["properties"]["groupIds"] == [SERVICES[service].group]
    (group,) = of(tree, "Microsoft.Network/privateEndpoints/privateDnsZoneGroups")
    assert len(group["properties"]["privateDnsZoneConfigs"]) == len(wanted)


def allowed(tree: dict[str, Any], group: str, direction: str) -> list[dict[str, Any]]:
    (found,) = [item for item in tree["resources"] if item["name"] == f"acme-nsg-{group}"]
    rules = [rule["properties"] for rule in found["properties"]["securityRules"]]
    return [r for r in rules if r["direction"] == direction and r["access"] == "Allow"]


def test_clients_alone_reach_the_ingress_on_443() -> None:
    (rule,) = allowed(template(), "ingress", "Inbound")
    assert rule["sourceAddressPrefixes"] == ["10.20.0.0/16", "192.168.7.0/24"]
    assert rule["destinationPortRange"] == "443"
    (onward,) = allowed(template(), "ingress", "Outbound")
    assert (onward["destinationAddressPrefix"], onward["destinationPortRange"]) == (
        "10.44.1.0/24",
        "443",
    )


@pytest.mark.parametrize(
    ("services", "ports"),
    [
        ((), set()),
        (("foundry",), {"443"}),
        (("postgresql",), {"5432"}),
        (("redis",), {"10000"}),
        (tuple(SERVICES), {"443", "5432", "10000"}),
    ],
)
def test_endpoints_open_the_ports_of_their_services_to_the_app_alone(
    services: tuple[str, ...], ports: set[str]
) -> None:
    rules = allowed(template(services, "none"), "endpoints", "Inbound")
    found = {
        port
        for rule in rules
        for port in rule.get("destinationPortRanges", [rule.get("destinationPortRange")])
    }
    assert found == ports
    assert {rule["sourceAddressPrefix"] for rule in rules} <= {"10.44.1.0/24"}
    assert allowed(template(services, "none"), "endpoints", "Outbound") == []


def test_each_group_denies_the_rest_both_ways() -> None:
    for group in of(template(), "Microsoft.Network/networkSecurityGroups"):
        last = [
            rule["properties"]
            for rule in group["properties"]["securityRules"]
            if rule["properties"]["priority"] == 4096
        ]
        assert {rule["direction"] for rule in last} == {"Inbound", "Outbound"}
        for rule in last:
            assert rule["access"] == "Deny"
            assert rule["protocol"] == rule["sourceAddressPrefix"] == "*"
            assert rule["destinationAddressPrefix"] == rule["destinationPortRange"] == "*"


def test_a_rules_name_is_given_once_in_its_group() -> None:
    for compute in COMPUTES:
        for group in of(template(compute=compute), "Microsoft.Network/networkSecurityGroups"):
            names = [rule["name"] for rule in group["properties"]["securityRules"]]
            assert len(set(names)) == len(names)


def test_the_policy_shields_and_each_model_has_it() -> None:
    tree = template(("foundry",), "none")
    (policy,) = of(tree, "Microsoft.CognitiveServices/accounts/raiPolicies")
    on = {
        entry["name"]
        for entry in policy["properties"]["contentFilters"]
        if entry["enabled"] and entry["blocking"]
    }
    assert on >= {"Jailbreak", "Indirect Attack"}
    deployments = of(tree, "Microsoft.CognitiveServices/accounts/deployments")
    assert [item["name"] for item in deployments] == ["acme-ai/gpt-4o", "acme-ai/gpt-4o-mini"]
    assert {item["properties"]["raiPolicyName"] for item in deployments} == {"acme-guard"}


def test_roles_and_diagnostics_stand_apart_with_their_scope() -> None:
    for compute in COMPUTES:
        tree = template(compute=compute)
        attached = [
            *of(tree, "Microsoft.Authorization/roleAssignments"),
            *of(tree, "Microsoft.Insights/diagnosticSettings"),
        ]
        assert attached
        assert all(item["scope"].startswith("[resourceId(") for item in attached)
    written = json.dumps(template())
    for role in ("5e0bd9bd-7b93-4f28-af87-19fc36ad61bd", "12338af0-0e69-4776-bea7-57ae8d297424"):
        assert role in written


def test_the_settings_are_a_secure_parameter_mounted_as_a_file() -> None:
    tree = template()
    assert tree["parameters"]["ostiaryToml"]["type"] == "secureString"
    (app,) = of(tree, "Microsoft.App/containerApps")
    assert app["properties"]["configuration"]["ingress"]["external"] is True
    names = [entry["name"] for entry in app["properties"]["template"]["containers"][0]["env"]]
    assert not [name for name in names if "KEY" in name or "SECRET" in name]
    assert "ostiaryToml" not in json.dumps(template(compute="none"))


def test_more_than_one_replica_only_with_shared_store_and_counters() -> None:
    for services, most in ((("redis",), 1), (("postgresql", "redis"), 3)):
        (app,) = of(template(services), "Microsoft.App/containerApps")
        assert app["properties"]["template"]["scale"]["maxReplicas"] == most


def names_in(tree: dict[str, Any]) -> set[str]:
    whole = [item["name"] for item in tree["resources"] if not item["name"].startswith("[")]
    return {part for name in whole for part in name.split("/")}


@pytest.mark.parametrize("compute", COMPUTES)
def test_the_script_and_the_bicep_have_the_names_of_the_template(compute: str) -> None:
    names = names_in(template(compute=compute))
    for notation in ("az", "bicep"):
        text = render(estate(compute=compute), notation)
        assert not [name for name in names if name not in text], notation


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.parametrize("compute", COMPUTES)
def test_the_script_parses_and_stops_at_the_first_failure(compute: str) -> None:
    text = render(estate(compute=compute), "az")
    assert "\nset -euo pipefail\n" in text
    subprocess.run(["bash", "-n"], input=text.encode(), check=True, timeout=10)


def test_the_bicep_says_that_it_was_not_compiled_and_balances() -> None:
    text = render(estate(), "bicep")
    assert "not compiled" in text
    assert text.count("{") == text.count("}")
    symbols = re.findall(r"^resource (\w+) ", text, re.MULTILINE)
    assert len(set(symbols)) == len(symbols)


def test_a_model_named_by_no_service_leaves_no_trace() -> None:
    assert "gpt-4o" in TEXT
    assert "gpt-4o" not in json.dumps(template((), "none"))
