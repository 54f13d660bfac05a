"""An estate's resources → what is wrong with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Final

from ostiary.network.inventory import Inventory, read_inventory
from ostiary.network.rules import (
    compute,
    data_services,
    endpoints,
    foundry,
    observation,
    roles,
    security_groups,
    subnets,
)
from ostiary.network.rules.rule import Rule, Severity

RULES: Final[Mapping[str, Rule]] = MappingProxyType(
    {
        rule.id: rule
        for family in (
            security_groups,
            subnets,
            endpoints,
            foundry,
            data_services,
            observation,
            compute,
            roles,
        )
        for rule in family.RULES
    }
)
"""Every rule by its id, in the order in which findings are told."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One defect. `resource` is the type and name as the file writes them."""

    rule: str
    severity: Severity
    resource: str
    reason: str
    fix: str

    def as_json(self) -> dict[str, str]:
        """The finding as the contract shapes it."""
        return asdict(self)


def check(inventory: Inventory) -> list[Finding]:
    """Every finding, by rule and then in the file's order."""
    return [
        Finding(rule.id, rule.severity, problem.resource.label, problem.reason, rule.fix)
        for rule in RULES.values()
        for problem in rule.find(inventory)
    ]


def check_file(data: bytes) -> list[Finding]:
    """Check the bytes of a file; raise ConfigurationError as `read_inventory` does."""
    return check(read_inventory(data))
