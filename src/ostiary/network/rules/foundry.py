"""The account of the models, and what its content policies must stop."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from ostiary.network.inventory import Found, Inventory, member, shown
from ostiary.network.private_link import FOUNDRY
from ostiary.network.rules.rule import Problem, Rule, switch

_ACCOUNT: Final = (FOUNDRY.type,)
_POLICY: Final = f"{FOUNDRY.type}/raiPolicies"
_SHIELDS: Final = {"jailbreak": "jailbreak", "indirectattack": "indirect attack"}
_HARMS: Final = ("hate", "sexual", "violence", "selfharm")


def _identity(inventory: Inventory) -> Iterator[Problem]:
    for account in inventory.of(*_ACCOUNT):
        kind = str(member(account.body, "identity", "type")).lower()
        if "assigned" not in kind:
            yield Problem(account, "it has no managed identity")


def _subdomain(inventory: Inventory) -> Iterator[Problem]:
    for account in inventory.of(*_ACCOUNT):
        if not account.get("customSubDomainName"):
            yield Problem(account, "customSubDomainName is not set")


def _outbound(inventory: Inventory) -> Iterator[Problem]:
    for account in inventory.of(*_ACCOUNT):
        restricted = account.get("restrictOutboundNetworkAccess")
        allowed = account.get("allowedFqdnList")
        if restricted is not True:
            yield Problem(account, f"restrictOutboundNetworkAccess is {shown(restricted)}")
        elif not isinstance(allowed, list):
            yield Problem(account, f"allowedFqdnList is {shown(allowed)}")
        elif any("*" in str(name) for name in allowed):
            yield Problem(account, "allowedFqdnList names more than hosts")


def _filters(policy: Found) -> dict[tuple[str, str], Any]:
    """A policy's filters by name (letters alone, in lower case) and source."""
    return {
        (_letters(member(entry, "name")), _letters(member(entry, "source"))): entry
        for entry in policy.all("contentFilters")
    }


def _letters(value: Any) -> str:
    return "".join(letter for letter in str(value).lower() if letter.isalpha())


def _stops(entry: Any) -> bool:
    return member(entry, "enabled") is True and member(entry, "blocking") is True


def _shields(inventory: Inventory) -> Iterator[Problem]:
    for policy in inventory.of(_POLICY):
        stopped = {name for (name, _), entry in _filters(policy).items() if _stops(entry)}
        missing = [title for name, title in _SHIELDS.items() if name not in stopped]
        if missing:
            yield Problem(policy, f"does not block {' nor '.join(missing)}")


def _harms(inventory: Inventory) -> Iterator[Problem]:
    for policy in inventory.of(_POLICY):
        weak = [
            f"{name} in {source}s"
            for (name, source), entry in _filters(policy).items()
            if name in _HARMS
            and (not _stops(entry) or str(member(entry, "severityThreshold")).lower() == "high")
        ]
        if weak:
            yield Problem(policy, f"weaker than the default for {', '.join(weak)}")


def _without_policy(inventory: Inventory) -> Iterator[Problem]:
    for deployment in inventory.of(f"{FOUNDRY.type}/deployments"):
        name = deployment.get("raiPolicyName")
        if not isinstance(name, str) or not name:
            yield Problem(deployment, f"raiPolicyName is {shown(name)}")
        elif f"{deployment.parent}/raipolicies/{name.lower()}" not in inventory:
            yield Problem(deployment, "raiPolicyName names a policy that the file does not show")


RULES: Final = (
    switch(
        "foundry-public-access",
        "high",
        "The account has no public door",
        "A private endpoint alone leaves the public one open to whoever has a key or token.",
        types=_ACCOUNT,
        path=("publicNetworkAccess",),
        wanted=("Disabled",),
    ),
    switch(
        "foundry-network-acls",
        "high",
        "The account's own firewall denies by default",
        "Should the public door ever be opened, it would be open to all.",
        types=_ACCOUNT,
        path=("networkAcls", "defaultAction"),
        wanted=("Deny",),
    ),
    switch(
        "foundry-local-auth",
        "high",
        "The account takes no keys",
        "A key is a password that works for everybody and is logged as nobody.",
        types=_ACCOUNT,
        path=("disableLocalAuth",),
        wanted=(True,),
    ),
    Rule(
        "foundry-identity",
        "medium",
        "The account has an identity of its own",
        "Without one it reaches storage and vaults by keys.",
        'Set identity.type to "UserAssigned" or "SystemAssigned".',
        _identity,
    ),
    Rule(
        "foundry-subdomain",
        "medium",
        "The account has a name of its own",
        "Private endpoints and tokens of Entra ID work only with a custom subdomain.",
        "Set properties.customSubDomainName.",
        _subdomain,
    ),
    Rule(
        "foundry-outbound",
        "high",
        "The account reaches only hosts that are named",
        "A prompt that names a URL makes the account fetch it: a way out for data.",
        "Set properties.restrictOutboundNetworkAccess to true and properties.allowedFqdnList to "
        "the hosts that are needed, or to [].",
        _outbound,
    ),
    switch(
        "foundry-stored-completions",
        "medium",
        "Prompts and answers are not stored by the account",
        "Stored completions are readable by everybody who shares the account.",
        types=_ACCOUNT,
        path=("storedCompletionsDisabled",),
        wanted=(True,),
    ),
    switch(
        "model-policy-mode",
        "high",
        "Content policies block before text goes out",
        "In deferred and asynchronous mode the verdict comes after the text.",
        types=(_POLICY,),
        path=("mode",),
        wanted=("Blocking", "Default"),
    ),
    Rule(
        "model-policy-shields",
        "high",
        "Content policies block jailbreaks and indirect attacks",
        "The shield against attacks in documents is off by default.",
        "Add the filters Jailbreak and Indirect Attack for Prompt, enabled and blocking.",
        _shields,
    ),
    Rule(
        "model-policy-filters",
        "medium",
        "Content policies are no weaker than Azure's default",
        "A filter that is off, only annotates, or waits for High lets harmful text through.",
        'Set enabled and blocking to true and severityThreshold to "Medium" or "Low".',
        _harms,
    ),
    Rule(
        "deployment-without-policy",
        "high",
        "Each deployment names a content policy that is shown",
        "Without a name the default policy applies, which does not shield from indirect attacks.",
        "Set properties.raiPolicyName to a policy in the same file.",
        _without_policy,
    ),
)
