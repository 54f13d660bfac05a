"""PostgreSQL flexible server: reached by its private endpoint, signed in to by Entra ID alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ostiary.network.estate import Estate
from ostiary.network.private_link import POSTGRESQL
from ostiary.network.resources.endpoints import service_id
from ostiary.network.resources.place import diagnostics, identity_id, tenant
from ostiary.network.template import Id, Resource

_API: Final = "2024-08-01"
_SETTINGS: Final = (
    ("log_connections", "on"),
    ("log_disconnections", "on"),
    ("require_secure_transport", "on"),
    ("ssl_min_protocol_version", "TLSv1.2"),
)


def resources(estate: Estate) -> Iterator[Resource]:
    """Server, database, settings, logs; nothing without `postgresql`."""
    if "postgresql" not in estate.services:
        return
    server = service_id(estate, "postgresql")
    yield Resource(
        POSTGRESQL.type,
        _API,
        server.names[0],
        {
            "createMode": "Default",
            "version": "16",
            "network": {"publicNetworkAccess": "Disabled"},
            "authConfig": {
                "activeDirectoryAuth": "Enabled",
                "passwordAuth": "Disabled",
                "tenantId": tenant(estate),
            },
            "storage": {"storageSizeGB": 64, "autoGrow": "Enabled"},
            "backup": {"backupRetentionDays": 14, "geoRedundantBackup": "Enabled"},
            "highAvailability": {"mode": "ZoneRedundant"},
        },
        location=estate.region,
        envelope={"sku": {"name": "Standard_D2ds_v5", "tier": "GeneralPurpose"}},
        depends=(identity_id(estate),),
    )
    before = server
    for kind, name, properties in (
        ("databases", f"{estate.name}-ostiary", {"charset": "UTF8", "collation": "en_US.utf8"}),
        *(
            ("configurations", name, {"value": value, "source": "user-override"})
            for name, value in _SETTINGS
        ),
    ):
        child = Id(f"{POSTGRESQL.type}/{kind}", (*server.names, name))
        # A server makes one change at a time.
        yield Resource(
            child.type, _API, "/".join(child.names), properties, depends=(server, before)
        )
        before = child
    yield diagnostics(estate, "postgresql", server)
