"""Resources as a shell script for `az`, with the names of the ARM JSON.

Network, zones, endpoints, identities, roles and logs use az's own commands. `az` has no flag for
what matters most elsewhere (public access, local authentication, content policies, Azure Managed
Redis), so those bodies go out whole with `az rest`. Every step may be run again: what `az` would
make anew or refuse the second time is looked up first.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from ostiary.network.arm import secrets_in
from ostiary.network.estate import Estate
from ostiary.network.resources.place import IDENTITY, NSG, VNET
from ostiary.network.template import (
    Id,
    Output,
    Resource,
    RoleId,
    SecureParameter,
    Unique,
    Value,
)

_HEAD: Final = """\
#!/usr/bin/env bash
# The network of {name}. Written by `ostiary network render --format az`.
# Run it as often as you like. RESOURCE_GROUP may name another group; the subscription is az's own.
set -euo pipefail
umask 077

group="${{RESOURCE_GROUP:-{name}-rg}}"
region={region}
subscription="$(az account show --query id --output tsv)"
root="/subscriptions/$subscription/resourceGroups/$group/providers"

missing() {{ ! "$@" --output none 2>/dev/null; }}

# The name that ARM's function guid gives: the same for the same parts, so a second run finds it.
guid() {{
  python3 -c 'import sys, uuid
namespace = uuid.UUID("11fb06fb-712d-4ddd-98c7-e71bbd588830")
print(uuid.uuid5(namespace, "-".join(sys.argv[1:])))' "$@"
}}

# The body on stdin goes through a file, since arguments are seen by everybody on the machine.
put() {{
  local body
  body="$(mktemp)"
  cat >"$body"
  if ! az rest --method put --url "$1?api-version=$2" --body "@$body" --output none; then
    rm -f "$body"
    return 1
  fi
  rm -f "$body"
  az resource wait --ids "$1" --api-version "$2" --created
}}

az group create --name "$group" --location "$region" --output none
"""

_READ_SETTINGS: Final = """\
: "${{OSTIARY_TOML:?names the file with the settings of the gateway}}"
{name}="$(python3 -c 'import json, sys; print(json.dumps(sys.stdin.read()))' <"$OSTIARY_TOML")"
"""


def az_text(estate: Estate, resources: Sequence[Resource]) -> str:
    """The script, which stops at the first step that fails."""
    parts = [_HEAD.format(name=estate.name, region=shlex.quote(estate.region))]
    names = dict.fromkeys(s.name for item in resources for s in secrets_in(item.properties))
    parts += [_READ_SETTINGS.format(name=name) for name in names]
    for resource in resources:
        lines = _COMMANDS.get(resource.type, _put)(resource)
        parts.append("\n".join((f"# {resource.type}", *lines)) + "\n")
    return "\n".join(parts)


def _identity(resource: Resource) -> Iterator[str]:
    name = str(resource.name)
    yield _command("az identity create", name=name, location="$region")
    shell = _variable(resource.id)
    for member in ("principalId", "clientId", "tenantId"):
        query = _words("az identity show", name=name, query=member, output="tsv")
        yield f'{shell}_{member}="$({query})"'


def _security_group(resource: Resource) -> Iterator[str]:
    name = str(resource.name)
    yield _unless_there("az network nsg", name=name, location="$region")
    rules: Any = resource.properties["securityRules"]
    # Denials first, so that a group is never open while it is made.
    for rule in sorted(rules, key=lambda rule: rule["properties"]["access"] != "Deny"):
        properties = rule["properties"]
        yield _command(
            "az network nsg rule create",
            nsg_name=name,
            name=rule["name"],
            priority=properties["priority"],
            direction=properties["direction"],
            access=properties["access"],
            protocol=properties["protocol"],
            source_address_prefixes=_either(properties, "sourceAddressPrefix"),
            source_port_ranges="*",
            destination_address_prefixes=_either(properties, "destinationAddressPrefix"),
            destination_port_ranges=_either(properties, "destinationPortRange"),
            description=properties["description"],
        )


def _either(properties: Mapping[str, Any], singular: str) -> list[str]:
    plural = f"{singular}es" if singular.endswith("Prefix") else f"{singular}s"
    return properties[plural] if plural in properties else [properties[singular]]


def _virtual_network(resource: Resource) -> Iterator[str]:
    properties: Any = resource.properties
    name = str(resource.name)
    yield _unless_there(
        "az network vnet",
        name=name,
        location="$region",
        address_prefixes=properties["addressSpace"]["addressPrefixes"],
    )
    for subnet in properties["subnets"]:
        inside = subnet["properties"]
        delegated = [item["properties"]["serviceName"] for item in inside.get("delegations", ())]
        yield _command(
            "az network vnet subnet create",
            vnet_name=name,
            name=subnet["name"],
            address_prefixes=[inside["addressPrefix"]],
            network_security_group=inside["networkSecurityGroup"]["id"].names[0],
            private_endpoint_network_policies=inside["privateEndpointNetworkPolicies"],
            default_outbound_access="false",
            delegations=delegated,
        )


def _zone(resource: Resource) -> Iterator[str]:
    yield _unless_there("az network private-dns zone", name=str(resource.name))


def _link(resource: Resource) -> Iterator[str]:
    zone, name = resource.id.names
    properties: Any = resource.properties
    yield _unless_there(
        "az network private-dns link vnet",
        found_by=("name", "zone_name"),
        zone_name=zone,
        name=name,
        virtual_network=properties["virtualNetwork"]["id"],
        registration_enabled="false",
        resolution_policy=properties["resolutionPolicy"],
    )


def _endpoint(resource: Resource) -> Iterator[str]:
    properties: Any = resource.properties
    connection = properties["privateLinkServiceConnections"][0]
    yield _command(
        "az network private-endpoint create",
        name=str(resource.name),
        location="$region",
        subnet=properties["subnet"]["id"],
        private_connection_resource_id=connection["properties"]["privateLinkServiceId"],
        group_id=connection["properties"]["groupIds"][0],
        connection_name=connection["name"],
        nic_name=properties["customNetworkInterfaceName"],
    )


def _zone_group(resource: Resource) -> Iterator[str]:
    endpoint, name = resource.id.names
    properties: Any = resource.properties
    first, *others = properties["privateDnsZoneConfigs"]
    group = "az network private-endpoint dns-zone-group"
    yield _unless_there(group, found_by=("endpoint_name", "name"), **_config(endpoint, name, first))
    for config in others:
        yield _command(f"{group} add", **_config(endpoint, name, config))


def _config(endpoint: str, name: str, config: Any) -> dict[str, Any]:
    return {
        "endpoint_name": endpoint,
        "name": name,
        "zone_name": config["name"],
        "private_dns_zone": config["properties"]["privateDnsZoneId"],
    }


def _role(resource: Resource) -> Iterator[str]:
    properties: Any = resource.properties
    yield _words(
        "az role assignment create",
        name=resource.name,
        assignee_object_id=properties["principalId"],
        assignee_principal_type=properties["principalType"],
        role=properties["roleDefinitionId"].guid,
        scope=resource.scope,
        output="none",
    )


def _diagnostics(resource: Resource) -> Iterator[str]:
    properties: Any = resource.properties
    yield _words(
        "az monitor diagnostic-settings create",
        name=str(resource.name),
        resource=resource.scope,
        workspace=properties["workspaceId"],
        logs=json.dumps(properties["logs"]),
        output="none",
    )


def _put(resource: Resource) -> Iterator[str]:
    """The whole body; what the shell expands in it are ids alone."""
    body: dict[str, Value] = {"location": resource.location} if resource.location else {}
    body |= {**resource.envelope, "properties": resource.properties}
    url = _expanded(resource.id)
    yield f'put "{url}" {resource.api} <<JSON'
    yield from _json(body, 0).splitlines()
    yield "JSON"


def _json(value: Value, depth: int) -> str:
    inner, end = "  " * (depth + 1), "  " * depth
    if isinstance(value, SecureParameter):
        return f"${value.name}"  # JSON already, with its quotes
    if isinstance(value, Id | RoleId | Output | Unique):
        return f'"{_expanded(value)}"'
    if isinstance(value, Mapping) and value:
        rows = []
        for key, item in value.items():
            name = f'"{_expanded(key)}"' if isinstance(key, Id) else _plain(key)
            rows.append(f"{inner}{name}: {_json(item, depth + 1)}")
        return "{\n" + ",\n".join(rows) + f"\n{end}}}"
    if isinstance(value, Sequence) and not isinstance(value, str) and value:
        rows = [f"{inner}{_json(item, depth + 1)}" for item in value]
        return "[\n" + ",\n".join(rows) + f"\n{end}]"
    return _plain(value)


def _plain(value: Any) -> str:
    """JSON in which a here-document expands nothing."""
    text = json.dumps(dict(value) if isinstance(value, Mapping) else value)
    return text.replace("\\", "\\\\").replace("$", "\\$").replace("`", "\\`")


def _expanded(value: Id | RoleId | Output | Unique) -> str:
    """An expression as text that the shell completes inside double quotes."""
    match value:
        case Id():
            provider, *kinds = value.type.split("/")
            levels = "/".join(
                f"{kind}/{name}" for kind, name in zip(kinds, value.names, strict=True)
            )
            return f"$root/{provider}/{levels}"
        case Output():
            # Only an identity's outputs are read by a variable; others are asked for in place.
            if value.of.type == IDENTITY:
                return f"${{{_variable(value.of)}_{value.path}}}"
            query = f"properties.{value.path}"
            return (
                f"$(az resource show --ids {_expanded(value.of)} --api-version {value.api}"
                f" --query {query} --output tsv)"
            )
        case RoleId():
            kind = "Microsoft.Authorization/roleDefinitions"
            return f"/subscriptions/$subscription/providers/{kind}/{value.guid}"
        case Unique():
            parts = (p if isinstance(p, str) else _expanded(p) for p in value.parts)
            return "$(guid " + " ".join(f'"{part}"' for part in parts) + ")"


def _variable(identity: Id) -> str:
    return (
        identity.names[0].replace("-", "_")
        if identity.names[0][0].isalpha()
        else ("n" + identity.names[0].replace("-", "_"))
    )


def _unless_there(noun: str, found_by: Sequence[str] = ("name",), **options: Any) -> str:
    """Make it where `show` does not find it: the command refuses or empties what is there."""
    shown = _words(f"missing {noun} show", group=True, **{k: options[k] for k in found_by})
    return f"if {shown}; then\n  {_command(f'{noun} create', **options)}\nfi"


def _command(verb: str, **options: Any) -> str:
    return _words(verb, group=True, **options, output="none")


def _words(verb: str, *, group: bool = False, **options: Any) -> str:
    if verb.startswith("az identity"):
        group = True
    words = [verb, *(['--resource-group "$group"'] if group else [])]
    for option, value in options.items():
        values = value if isinstance(value, list | tuple) else [value]
        if values:
            words.append(f"--{option.replace('_', '-')} {' '.join(map(_word, values))}")
    return " \\\n  ".join(words)


def _word(value: Any) -> str:
    if isinstance(value, Id | Output | RoleId | Unique):
        return f'"{_expanded(value)}"'
    text = str(value)
    return f'"{text}"' if text == "$region" else shlex.quote(text)


_COMMANDS: Final[Mapping[str, Callable[[Resource], Iterator[str]]]] = MappingProxyType(
    {
        IDENTITY: _identity,
        NSG: _security_group,
        VNET: _virtual_network,
        "Microsoft.Network/privateDnsZones": _zone,
        "Microsoft.Network/privateDnsZones/virtualNetworkLinks": _link,
        "Microsoft.Network/privateEndpoints": _endpoint,
        "Microsoft.Network/privateEndpoints/privateDnsZoneGroups": _zone_group,
        "Microsoft.Authorization/roleAssignments": _role,
        "Microsoft.Insights/diagnosticSettings": _diagnostics,
    }
)
"""az's own commands by type; every other type is put whole."""
