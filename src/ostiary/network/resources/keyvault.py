"""Key Vault with the one key that the gateway needs: to wrap and unwrap its own keys."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ostiary.network.estate import Estate
from ostiary.network.private_link import KEY_VAULT
from ostiary.network.resources.endpoints import service_id
from ostiary.network.resources.place import diagnostics, grant, identity_id, tenant
from ostiary.network.template import Id, Resource

_API: Final = "2023-07-01"
_CRYPTO_USER: Final = "12338af0-0e69-4776-bea7-57ae8d297424"
_RETENTION_DAYS: Final = 90


def resources(estate: Estate) -> Iterator[Resource]:
    """Vault, key, role, logs; nothing without `keyvault`."""
    if "keyvault" not in estate.services:
        return
    vault = service_id(estate, "keyvault")
    identity = identity_id(estate)
    yield Resource(
        KEY_VAULT.type,
        _API,
        vault.names[0],
        {
            "tenantId": tenant(estate),
            "sku": {"family": "A", "name": "premium"},
            "enableRbacAuthorization": True,
            "enableSoftDelete": True,
            "softDeleteRetentionInDays": _RETENTION_DAYS,
            "enablePurgeProtection": True,
            "publicNetworkAccess": "Disabled",
            "networkAcls": {
                "defaultAction": "Deny",
                "bypass": "None",
                "ipRules": [],
                "virtualNetworkRules": [],
            },
        },
        location=estate.region,
        depends=(identity,),
    )
    key = Id(f"{KEY_VAULT.type}/keys", (*vault.names, f"{estate.name}-root"))
    yield Resource(
        key.type,
        _API,
        "/".join(key.names),
        {
            "kty": "RSA-HSM",
            "keySize": 3072,
            "keyOps": ["wrapKey", "unwrapKey"],
            "attributes": {"enabled": True, "exportable": False},
        },
        depends=(vault,),
        skips={
            "CKV_AZURE_40": "An expired root key would lock out every record; "
            "`ostiary rotate root` moves to a new version instead."
        },
    )
    yield grant(_CRYPTO_USER, identity, vault)
    yield diagnostics(estate, "keyvault", vault)
