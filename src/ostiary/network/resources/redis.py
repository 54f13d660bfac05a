"""Azure Managed Redis: TLS alone, no access keys, the gateway's identity as its one user."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ostiary.network.estate import Estate
from ostiary.network.private_link import REDIS
from ostiary.network.resources.endpoints import service_id
from ostiary.network.resources.place import IDENTITY_API, diagnostics, identity_id
from ostiary.network.template import Id, Output, Resource

_API: Final = "2025-07-01"


def resources(estate: Estate) -> Iterator[Resource]:
    """Cluster, database, access, logs; nothing without `redis`."""
    if "redis" not in estate.services:
        return
    cluster = service_id(estate, "redis")
    identity = identity_id(estate)
    yield Resource(
        REDIS.type,
        _API,
        cluster.names[0],
        {
            "minimumTlsVersion": "1.2",
            "publicNetworkAccess": "Disabled",
            "highAvailability": "Enabled",
        },
        location=estate.region,
        envelope={"sku": {"name": "Balanced_B1"}},
    )
    # Azure takes no other name than `default`.
    database = Id(f"{REDIS.type}/databases", (*cluster.names, "default"))
    yield Resource(
        database.type,
        _API,
        "/".join(database.names),
        {
            "clientProtocol": "Encrypted",
            "port": REDIS.port,
            "clusteringPolicy": "EnterpriseCluster",
            # An evicted counter would be a limit forgotten.
            "evictionPolicy": "NoEviction",
            "accessKeysAuthentication": "Disabled",
        },
        depends=(cluster,),
    )
    access = Id(f"{database.type}/accessPolicyAssignments", (*database.names, f"{estate.name}-id"))
    yield Resource(
        access.type,
        _API,
        "/".join(access.names),
        {
            "accessPolicyName": "default",
            "user": {"objectId": Output(identity, IDENTITY_API, "principalId")},
        },
        depends=(database, identity),
    )
    yield diagnostics(estate, "redis", database, ("allLogs",))
