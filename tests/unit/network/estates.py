"""Estates that the tests of this folder render."""

from __future__ import annotations

import json
from typing import Any

from ostiary.network.arm import arm_template
from ostiary.network.check import check_file
from ostiary.network.estate import Estate, read_estate
from ostiary.network.private_link import SERVICES
from ostiary.network.render import resources_of

TEXT = """\
name = "acme"
region = "westeurope"
services = ["foundry", "keyvault", "postgresql", "redis", "monitor"]
compute = "container-apps"
clients = ["10.20.0.0/16", "192.168.7.0/24"]

[ranges]
vnet = "10.44.0.0/16"
ingress = "10.44.0.0/24"
app = "10.44.1.0/24"
endpoints = "10.44.2.0/24"

[models."gpt-4o"]
version = "2024-11-20"

[models."gpt-4o-mini"]
version = "2024-07-18"
"""


def estate(services: tuple[str, ...] = tuple(SERVICES), compute: str = "container-apps") -> Estate:
    """The estate of TEXT with other services and another compute."""
    listed = ", ".join(f'"{name}"' for name in services)
    lines = [
        f"services = [{listed}]" if line.startswith("services") else line
        for line in TEXT.splitlines()
    ]
    return read_estate("\n".join(lines).replace('"container-apps"', f'"{compute}"'))


def template(
    services: tuple[str, ...] = tuple(SERVICES), compute: str = "container-apps"
) -> dict[str, Any]:
    """Its ARM template as a tree of its own."""
    tree = arm_template(resources_of(estate(services, compute)))
    return json.loads(json.dumps(tree))


def rules_broken(tree: Any) -> set[str]:
    """The ids of the rules that a document breaks."""
    return {finding.rule for finding in check_file(json.dumps(tree).encode())}
