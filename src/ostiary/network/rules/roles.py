"""Role assignments: narrow roles, on one resource."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from ostiary.network.inventory import Inventory, shown
from ostiary.network.rules.rule import Problem, Rule, switch

_ASSIGNMENT: Final = ("Microsoft.Authorization/roleAssignments",)
_WIDE: Final = {
    "8e3af657-a8ff-443c-a75c-2fe8c4bcb635": "Owner",
    "b24988ac-6180-42a0-ab88-20f7382dd24c": "Contributor",
    "18d7d88d-d35e-4fb5-a5c3-7773c20a72d9": "User Access Administrator",
    "f58310d9-a9f6-439a-9e8d-f62e7b41a168": "Role Based Access Control Administrator",
    "00482a5a-887f-4fb3-b363-3b7fe8e74483": "Key Vault Administrator",
    "25fbc0a9-bd7c-42a3-aa1a-3b75d497ee68": "Cognitive Services Contributor",
    "a001fd3d-188f-4b5b-821b-7da978bf7442": "Cognitive Services OpenAI Contributor",
}
_GROUP: Final = re.compile(r"(/subscriptions/[^/]+)?(/resourcegroups/[^/]+)?/?")
_MANAGEMENT: Final = "/providers/microsoft.management/"


def _too_wide(inventory: Inventory) -> Iterator[Problem]:
    for assignment in inventory.of(*_ASSIGNMENT):
        role = str(assignment.get("roleDefinitionId")).lower().rpartition("/")[2]
        if role in _WIDE:
            yield Problem(assignment, f"the role is {_WIDE[role]}")


def _scope_too_wide(inventory: Inventory) -> Iterator[Problem]:
    for assignment in inventory.of(*_ASSIGNMENT):
        if _GROUP.fullmatch(assignment.scope) or assignment.scope.startswith(_MANAGEMENT):
            yield Problem(assignment, f"the scope is {shown(_kind(assignment.scope))}")


def _kind(scope: str) -> str:
    if "/resourcegroups/" in scope:
        return "a whole resource group"
    return "a whole subscription or more"


RULES: Final = (
    Rule(
        "role-too-wide",
        "high",
        "No identity holds a role that grants rights or reads keys",
        "Whoever takes over the gateway takes over what its role may change.",
        "Use the narrow role: Cognitive Services OpenAI User, Key Vault Crypto User.",
        _too_wide,
    ),
    Rule(
        "role-scope",
        "medium",
        "A role is given on one resource",
        "A role on a group or subscription counts for everything that will ever be put there.",
        "Set scope to the resourceId of the one resource.",
        _scope_too_wide,
    ),
    switch(
        "role-principal-type",
        "low",
        "A role assignment says what kind of principal it is for",
        "A new identity is not found in the directory at once, and the deployment fails by chance.",
        types=_ASSIGNMENT,
        path=("principalType",),
        wanted=("ServicePrincipal", "Group", "User", "ForeignGroup", "Device"),
    ),
)
