"""Azure AI Foundry: an account without public door and keys, a content policy, the deployments."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ostiary.network.estate import Estate
from ostiary.network.private_link import FOUNDRY
from ostiary.network.resources.endpoints import service_id
from ostiary.network.resources.place import assume, diagnostics, grant, identity_id
from ostiary.network.template import Id, Resource, Value

_API: Final = "2025-09-01"
_OPENAI_USER: Final = "5e0bd9bd-7b93-4f28-af87-19fc36ad61bd"
_CAPACITY: Final = 10

_HARMS: Final = ("Hate", "Sexual", "Violence", "Selfharm")
_ATTACKS: Final = ("Jailbreak", "Indirect Attack")
_PROTECTED: Final = ("Protected Material Text", "Protected Material Code")


def resources(estate: Estate) -> Iterator[Resource]:
    """Account, policy, one deployment per model, role, logs; nothing without `foundry`."""
    if "foundry" not in estate.services:
        return
    account = service_id(estate, "foundry")
    identity = identity_id(estate)
    yield _account(estate, account, identity)
    guard = Id(f"{FOUNDRY.type}/raiPolicies", (*account.names, f"{estate.name}-guard"))
    yield Resource(
        guard.type,
        _API,
        "/".join(guard.names),
        {
            "basePolicyName": "Microsoft.DefaultV2",
            "mode": "Blocking",
            "contentFilters": list(_filters()),
        },
        depends=(account,),
    )
    before = guard
    for model in estate.models:
        deployment = Id(f"{FOUNDRY.type}/deployments", (*account.names, model.name))
        yield Resource(
            deployment.type,
            _API,
            "/".join(deployment.names),
            {
                "model": {"format": "OpenAI", "name": model.name, "version": model.version},
                "raiPolicyName": guard.names[1],
                "versionUpgradeOption": "NoAutoUpgrade",
            },
            envelope={"sku": {"name": "Standard", "capacity": _CAPACITY}},
            # An account takes one deployment at a time.
            depends=(account, before),
        )
        before = deployment
    yield grant(_OPENAI_USER, identity, account)
    yield diagnostics(estate, "foundry", account)


def _account(estate: Estate, account: Id, identity: Id) -> Resource:
    return Resource(
        FOUNDRY.type,
        _API,
        account.names[0],
        {
            "customSubDomainName": account.names[0],
            "publicNetworkAccess": "Disabled",
            "networkAcls": {
                "defaultAction": "Deny",
                "bypass": "None",
                "ipRules": [],
                "virtualNetworkRules": [],
            },
            "disableLocalAuth": True,
            # The account itself may fetch from nowhere: no URL in a prompt leads out.
            "restrictOutboundNetworkAccess": True,
            "allowedFqdnList": [],
            "storedCompletionsDisabled": True,
        },
        location=estate.region,
        envelope={"kind": "AIServices", "sku": {"name": "S0"}, "identity": assume(identity)},
        depends=(identity,),
        skips={
            "CKV2_AZURE_22": "Prompts are not stored (storedCompletionsDisabled), "
            "so a customer-managed key would protect nothing."
        },
    )


def _filters() -> Iterator[Value]:
    for name in _HARMS:
        for source in ("Prompt", "Completion"):
            yield {
                "name": name,
                "enabled": True,
                "blocking": True,
                "severityThreshold": "Medium",
                "source": source,
            }
    for names, source in ((_ATTACKS, "Prompt"), (_PROTECTED, "Completion")):
        for name in names:
            yield {"name": name, "enabled": True, "blocking": True, "source": source}
