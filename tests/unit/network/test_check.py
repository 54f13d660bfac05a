"""One defect is one rule's finding, however the document is written."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from ostiary.errors import ConfigurationError
from ostiary.network.check import RULES, check_file
from tests.unit.network.estates import rules_broken, template
from tests.unit.network.mutations import AI, AKS_MUTATIONS, MUTATIONS, NSG, PE, Change, first, put

SEED = Path(__file__).with_name("seed_estate.json")
HERE = "/subscriptions/00000000-0000-0000-0000-00000000000a/resourceGroups/Acme-RG"

SEED_DEFECTS = {
    "nsg-inbound-any-source",
    "nsg-inbound-default",
    "nsg-outbound-default",
    "subnet-without-nsg",
    "subnet-endpoint-policies",
    "endpoint-without-zone-group",
    "endpoint-zones",
    "foundry-public-access",
    "foundry-network-acls",
    "foundry-local-auth",
    "foundry-identity",
    "foundry-outbound",
}
"""What the founding page's script leaves open; beside these it lacks what it never speaks of."""

UNSAID = {"subnet-default-outbound", "foundry-stored-completions", "diagnostics-missing"}


def seed() -> list[dict[str, Any]]:
    return json.loads(SEED.read_text("utf-8"))


def test_every_defect_of_the_founding_script_is_found() -> None:
    assert rules_broken(seed()) == SEED_DEFECTS | UNSAID


def test_an_account_that_is_not_shown_counts_as_open() -> None:
    without = [item for item in seed() if item["type"] != AI]
    account = {rule for rule in SEED_DEFECTS | UNSAID if rule.startswith("foundry")}
    left = (SEED_DEFECTS | UNSAID) - account - {"diagnostics-missing"}
    assert rules_broken(without) == left | {"endpoint-target-unseen"}


@pytest.mark.parametrize(
    ("change", "rule"), [pytest.param(c, r, id=name) for name, c, r in MUTATIONS]
)
def test_one_defect_is_one_rules_finding(change: Change, rule: str) -> None:
    tree = template()
    change(tree)
    assert rules_broken(tree) == {rule}


@pytest.mark.parametrize(
    ("change", "rule"), [pytest.param(c, r, id=name) for name, c, r in AKS_MUTATIONS]
)
def test_one_defect_of_a_cluster_is_one_rules_finding(change: Change, rule: str) -> None:
    tree = template(compute="aks")
    change(tree)
    assert rules_broken(tree) == {rule}


OLD_REDIS = {
    "type": "Microsoft.Cache/redis",
    "name": "acme-cache",
    "properties": {
        "publicNetworkAccess": "Disabled",
        "disableAccessKeyAuthentication": True,
        "minimumTlsVersion": "1.2",
        "enableNonSslPort": False,
        "privateEndpointConnections": [{"id": "x"}],
    },
}


@pytest.mark.parametrize(
    ("member", "value", "rule"),
    [
        ("enableNonSslPort", True, "redis-non-tls-port"),
        ("disableAccessKeyAuthentication", False, "redis-cache-access-keys"),
        ("minimumTlsVersion", "1.0", "redis-tls-version"),
        ("publicNetworkAccess", "Enabled", "redis-public-access"),
    ],
)
def test_the_older_redis_is_judged_too(member: str, value: Any, rule: str) -> None:
    tree = {"resources": [copy.deepcopy(OLD_REDIS)]}
    assert rules_broken(tree) == {"diagnostics-missing"}
    tree["resources"][0]["properties"][member] = value
    assert rules_broken(tree) == {"diagnostics-missing", rule}


def test_every_rule_is_shown_to_speak() -> None:
    spoken = {rule for _, _, rule in (*MUTATIONS, *AKS_MUTATIONS)}
    assert spoken | {"redis-non-tls-port", "redis-cache-access-keys"} == set(RULES)
    assert len(MUTATIONS) + len(AKS_MUTATIONS) >= 40


def test_every_rule_is_documented_in_its_own_words() -> None:
    page = (Path(__file__).resolve().parents[3] / "docs" / "network.md").read_text("utf-8")
    for rule in RULES.values():
        assert f"| `{rule.id}` | {rule.severity} | {rule.title} | {rule.what} |" in page


def test_a_finding_says_where_why_and_what_to_do() -> None:
    tree = template()
    put(AI, "disableLocalAuth", False)(tree)
    (finding,) = check_file(json.dumps(tree).encode())
    assert finding.as_json() == {
        "rule": "foundry-local-auth",
        "severity": "high",
        "resource": "Microsoft.CognitiveServices/accounts/acme-ai",
        "reason": "disableLocalAuth is false",
        "fix": "Set properties.disableLocalAuth to true.",
    }


def renamed(tree: Any) -> Any:
    """Other names, ranges and tags, in the opposite order."""
    text = json.dumps(tree).replace("acme", "contoso7").replace("10.44.", "10.99.")
    changed = json.loads(text)
    changed["resources"].reverse()
    for item in changed["resources"]:
        item["tags"] = {"owner": "somebody"}
    return changed


def shouted(value: Any) -> Any:
    """Names of members in another case."""
    if isinstance(value, dict):
        return {key.upper() if key.isalpha() else key: shouted(v) for key, v in value.items()}
    return [shouted(item) for item in value] if isinstance(value, list) else value


def apart(tree: Any) -> Any:
    """Subnets and security rules as resources of their own."""
    more = []
    for item in tree["resources"]:
        for member in ("subnets", "securityRules"):
            for child in item["properties"].pop(member, []):
                more.append(
                    {
                        "type": f"{item['type']}/{member}",
                        "name": f"{item['name']}/{child['name']}",
                        "properties": child["properties"],
                    }
                )
    tree["resources"] += more
    return tree


def nested(tree: Any) -> Any:
    """Children inside their parents, with relative types and names."""
    kept = []
    for item in tree["resources"]:
        above, _, kind = item["type"].rpartition("/")
        name, _, last = item["name"].rpartition("/")
        parents = [p for p in tree["resources"] if (p["type"], p["name"]) == (above, name)]
        if parents:
            parents[0].setdefault("resources", []).append({**item, "type": kind, "name": last})
        else:
            kept.append(item)
    return {**tree, "resources": kept}


def symbolic(tree: Any) -> Any:
    return {**tree, "resources": {f"r{n}": item for n, item in enumerate(tree["resources"])}}


def parametrised(tree: Any) -> Any:
    """Names put together from parameters and variables, as compilers write them."""
    text = json.dumps(tree).replace('"acme-kv"', "\"[concat(variables('prefix'), '-kv')]\"")
    text = text.replace("'acme-kv'", "format('{0}-kv', parameters('name'))")
    changed = json.loads(text)
    changed["parameters"]["name"] = {"type": "string", "defaultValue": "acme"}
    changed["variables"] = {"prefix": "[toLower(parameters('NAME'))]"}
    return changed


def answered(tree: Any) -> Any:
    """What the REST API would return: literal ids, no expression."""
    text = json.dumps(tree)
    items = []
    for item in json.loads(text)["resources"]:
        items.append(resolved({**item, "id": identified(item)}))
    return {"value": items}


def identified(item: Any) -> str:
    provider, *kinds = item["type"].split("/")
    names = ["a-guid"] if item["name"].startswith("[") else item["name"].split("/")
    levels = "".join(f"/{kind}/{name}" for kind, name in zip(kinds, names, strict=True))
    scope = resolved(item["scope"]) if "scope" in item else HERE
    return f"{scope}/providers/{provider}{levels}"


def resolved(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: resolved(item) for key, item in value.items()}
    if isinstance(value, list):
        return [resolved(item) for item in value]
    if isinstance(value, str) and value.startswith("[resourceId("):
        kind, *names = [part.strip(" '") for part in value[12:-2].split(",")]
        provider, *kinds = kind.split("/")
        levels = "".join(f"/{k}/{n}" for k, n in zip(kinds, names, strict=True))
        return f"{HERE}/providers/{provider}{levels}".upper()
    return value


WAYS = [
    renamed,
    shouted,
    apart,
    nested,
    symbolic,
    parametrised,
    answered,
    lambda tree: apart(nested(renamed(tree))),
    lambda tree: shouted(answered(apart(tree))),
    lambda tree: answered(tree)["value"],
    lambda tree: {"resources": [{"type": "Microsoft.Resources/deployments", "name": "inner",
                                 "properties": {"template": tree}}]},
]  # fmt: skip


# A name that is given twice inside a group cannot be written twice apart.
SAMPLE = [(c, r) for _, c, r in MUTATIONS[::8] if r != "nsg-rule-name"]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("change", "rule"), [(lambda _: None, ""), *SAMPLE])
def test_the_way_of_writing_does_not_matter(way: Any, change: Change, rule: str) -> None:
    tree = template()
    change(tree)
    assert rules_broken(way(tree)) == ({rule} if rule else set())


def test_what_only_a_deployment_knows_counts_as_open() -> None:
    tree = template()
    put(AI, "publicNetworkAccess", "[parameters('door')]")(tree)
    tree["parameters"]["door"] = {"type": "string"}
    assert rules_broken(tree) == {"foundry-public-access"}
    tree["parameters"]["door"]["defaultValue"] = "disabled"
    assert rules_broken(tree) == set()


def test_zones_in_another_resource_group_are_taken_as_there() -> None:
    tree = template(("keyvault",), "none")
    central = json.dumps(tree).replace(
        "resourceId('Microsoft.Network/privateDnsZones', 'priv",
        "resourceId('hub-dns', 'Microsoft.Network/privateDnsZones', 'priv",
    )
    changed = json.loads(central)
    changed["resources"] = [
        item for item in changed["resources"] if "privateDnsZones" not in item["type"]
    ]
    assert rules_broken(changed) == set()


def test_subnets_that_take_no_group_are_let_be() -> None:
    tree = template(("keyvault",), "none")
    vnet = first(tree, "Microsoft.Network/virtualNetworks")
    vnet["properties"]["subnets"].append(
        {"name": "GatewaySubnet", "properties": {"addressPrefix": "10.44.9.0/27"}}
    )
    assert rules_broken(tree) == set()


def test_a_group_for_several_subnets_is_measured_by_all_of_them() -> None:
    tree = template(("keyvault",), "none")
    group = first(tree, NSG, "endpoints")["properties"]["securityRules"]
    denial = next(r for r in group if r["name"] == "deny-all-inbound")["properties"]
    denial["destinationAddressPrefix"] = "10.44.2.0/24"
    assert rules_broken(tree) == set()
    denial["destinationAddressPrefix"] = "10.44.2.0/25"
    assert rules_broken(tree) == {"nsg-inbound-default"}


def test_an_older_extension_type_is_read() -> None:
    tree = template(("keyvault",), "none")
    for item in tree["resources"]:
        if item["name"] == "acme-diag-keyvault":
            item["type"] = "Microsoft.KeyVault/vaults/providers/diagnosticSettings"
            item["name"] = "acme-kv/Microsoft.Insights/acme-diag-keyvault"
            del item["scope"]
    assert rules_broken(tree) == set()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"nothing",
        b"[]",
        b"{}",
        b'{"value": []}',
        b'{"resources": []}',
        b'{"resources": {}}',
        b"[1]",
        b'{"resources": [1]}',
        b'{"resources": [{"name": "x"}]}',
        b'"text"',
        b"\xff\xfe",
    ],
)
def test_what_holds_no_resources_is_refused(data: bytes) -> None:
    with pytest.raises(ConfigurationError):
        check_file(data)


def test_a_byte_order_mark_is_read_over() -> None:
    assert check_file(b"\xef\xbb\xbf" + json.dumps(template()).encode()) == []


def test_an_endpoint_of_an_unknown_service_needs_a_zone_group_too() -> None:
    tree = template(("keyvault",), "none")
    endpoint = copy.deepcopy(first(tree, PE))
    endpoint["name"] = "acme-pe-other"
    link = endpoint["properties"]["privateLinkServiceConnections"][0]["properties"]
    link["privateLinkServiceId"] = "[resourceId('Microsoft.Example/things', 'a')]"
    link["groupIds"] = ["thing"]
    tree["resources"].append(endpoint)
    assert rules_broken(tree) == {"endpoint-without-zone-group"}
