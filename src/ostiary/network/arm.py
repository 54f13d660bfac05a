"""Resources as an ARM JSON template: one flat list, literals but for ids and secrets."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from ostiary.network.estate import Estate
from ostiary.network.template import (
    Id,
    Output,
    Resource,
    RoleId,
    SecureParameter,
    Unique,
    Value,
)

_SCHEMA: Final = "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#"
_SETTINGS_HELP: Final = "The gateway's ostiary.toml, mounted as a file and never logged."


def arm_text(_estate: Estate, resources: Sequence[Resource]) -> str:
    """The template as JSON text that ends with a line feed."""
    return json.dumps(arm_template(resources), indent=2, ensure_ascii=False) + "\n"


def arm_template(resources: Sequence[Resource]) -> dict[str, Any]:
    """The template as a tree."""
    parameters = {
        secret.name: {"type": "secureString", "metadata": {"description": _SETTINGS_HELP}}
        for resource in resources
        for secret in secrets_in(resource.properties)
    }
    return {
        "$schema": _SCHEMA,
        "contentVersion": "1.0.0.0",
        "parameters": parameters,
        "resources": [_resource(resource) for resource in resources],
    }


def secrets_in(value: Value) -> list[SecureParameter]:
    """Every secure parameter inside a value."""
    if isinstance(value, SecureParameter):
        return [value]
    if isinstance(value, Mapping):
        return [secret for item in value.values() for secret in secrets_in(item)]
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [secret for item in value for secret in secrets_in(item)]
    return []


def _resource(resource: Resource) -> dict[str, Any]:
    written: dict[str, Any] = {
        "type": resource.type,
        "apiVersion": resource.api,
        "name": _tree(resource.name),
    }
    if resource.skips:
        notes = [f"checkov:skip={check}:{why}" for check, why in resource.skips.items()]
        written["metadata"] = {"checkov": notes}
    if resource.scope:
        written["scope"] = _tree(resource.scope)
    if resource.location:
        written["location"] = resource.location
    for member, value in resource.envelope.items():
        written[member] = _tree(value)
    if resource.depends:
        written["dependsOn"] = [_tree(item) for item in dict.fromkeys(resource.depends)]
    written["properties"] = _tree(resource.properties)
    return written


def _tree(value: Value) -> Any:
    if isinstance(value, Id | RoleId | Output | Unique | SecureParameter):
        return f"[{_call(value)}]"
    if isinstance(value, Mapping):
        return {key if isinstance(key, str) else _tree(key): _tree(v) for key, v in value.items()}
    if isinstance(value, str):
        # A text that begins with a bracket would be read as an expression.
        return f"[{value}" if value.startswith("[") else value
    if isinstance(value, Sequence):
        return [_tree(item) for item in value]
    return value


def _call(value: Id | RoleId | Output | Unique | SecureParameter | str) -> str:
    match value:
        case Id():
            return f"resourceId({_quoted(value.type, *value.names)})"
        case RoleId():
            kind = "Microsoft.Authorization/roleDefinitions"
            return f"subscriptionResourceId({_quoted(kind, value.guid)})"
        case Output():
            return f"reference({_call(value.of)}, {_quoted(value.api)}).{value.path}"
        case Unique():
            return f"guid({', '.join(_call(part) for part in value.parts)})"
        case SecureParameter():
            return f"parameters({_quoted(value.name)})"
        case str():
            return _quoted(value)


def _quoted(*texts: str) -> str:
    return ", ".join("'" + text.replace("'", "''") + "'" for text in texts)
