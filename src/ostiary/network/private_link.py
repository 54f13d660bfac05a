"""What Azure Private Link needs of each service: group, zones, ports, addresses.

A records appear by themselves only in zones of exactly these names; a zone that is linked but
lacks the record answers NXDOMAIN, so one missing zone breaks names instead of leaking them.
Source: Microsoft Learn, "Azure Private Endpoint private DNS zone values".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final


@dataclass(frozen=True, slots=True)
class PrivateService:
    """One kind of target of a private endpoint.

    `port` is what its clients dial, `addresses` how many addresses its endpoint takes about.
    """

    type: str
    group: str
    zones: tuple[str, ...]
    port: int = 443
    addresses: int = 1


FOUNDRY: Final = PrivateService(
    "Microsoft.CognitiveServices/accounts",
    "account",
    (
        "privatelink.cognitiveservices.azure.com",
        "privatelink.openai.azure.com",
        "privatelink.services.ai.azure.com",
    ),
    addresses=3,
)
KEY_VAULT: Final = PrivateService(
    "Microsoft.KeyVault/vaults", "vault", ("privatelink.vaultcore.azure.net",)
)
POSTGRESQL: Final = PrivateService(
    "Microsoft.DBforPostgreSQL/flexibleServers",
    "postgresqlServer",
    ("privatelink.postgres.database.azure.com",),
    port=5432,
)
REDIS: Final = PrivateService(
    "Microsoft.Cache/redisEnterprise",
    "redisEnterprise",
    ("privatelink.redis.azure.net",),
    port=10000,
)
MONITOR: Final = PrivateService(
    "Microsoft.Insights/privateLinkScopes",
    "azuremonitor",
    (
        "privatelink.monitor.azure.com",
        "privatelink.oms.opinsights.azure.com",
        "privatelink.ods.opinsights.azure.com",
        "privatelink.agentsvc.azure-automation.net",
        "privatelink.blob.core.windows.net",
    ),
    addresses=11,
)
OLD_REDIS: Final = PrivateService(
    "Microsoft.Cache/redis", "redisCache", ("privatelink.redis.cache.windows.net",), port=6380
)

SERVICES: Final[Mapping[str, PrivateService]] = MappingProxyType(
    {
        "foundry": FOUNDRY,
        "keyvault": KEY_VAULT,
        "postgresql": POSTGRESQL,
        "redis": REDIS,
        "monitor": MONITOR,
    }
)
"""The services that an estate may name, in the order in which they are written."""

BY_TYPE: Final[Mapping[str, PrivateService]] = MappingProxyType(
    {service.type.lower(): service for service in (*SERVICES.values(), OLD_REDIS)}
)
"""Every private service that the rules know, by resource type in lower case."""
