"""The gateway on Azure Container Apps, in an environment without a public address."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final

from ostiary import __version__
from ostiary.network.estate import Estate
from ostiary.network.resources.place import (
    IDENTITY_API,
    assume,
    diagnostics,
    identity_id,
    subnet_id,
    vnet_id,
)
from ostiary.network.template import Id, Output, Resource, SecureParameter, Value

_API: Final = "2025-01-01"
_PORT: Final = 8787
_FOLDER: Final = "/etc/ostiary"
_SETTINGS: Final = "ostiary-toml"
_SHARED: Final = frozenset({"postgresql", "redis"})


def resources(estate: Estate) -> Iterator[Resource]:
    """Environment, app, logs; nothing with another compute."""
    if estate.compute != "container-apps":
        return
    environment = Id("Microsoft.App/managedEnvironments", (f"{estate.name}-env",))
    yield Resource(
        environment.type,
        _API,
        environment.names[0],
        {
            "vnetConfiguration": {
                "internal": True,
                "infrastructureSubnetId": subnet_id(estate, "app"),
            },
            "publicNetworkAccess": "Disabled",
            "appLogsConfiguration": {"destination": "azure-monitor"},
            "peerTrafficConfiguration": {"encryption": {"enabled": True}},
            "workloadProfiles": [
                {"name": "Consumption", "workloadProfileType": "Consumption"},
            ],
            "zoneRedundant": True,
        },
        location=estate.region,
        depends=(vnet_id(estate),),
    )
    yield _app(estate, environment)
    yield diagnostics(estate, "apps", environment, ("allLogs",))


def _app(estate: Estate, environment: Id) -> Resource:
    identity = identity_id(estate)
    registry = f"{estate.name}acr.azurecr.io"
    # More than one replica must share store and counters.
    replicas = 3 if set(estate.services) >= _SHARED else 1
    return Resource(
        "Microsoft.App/containerApps",
        _API,
        f"{estate.name}-gateway",
        {
            "managedEnvironmentId": environment,
            "workloadProfileName": "Consumption",
            "configuration": {
                "activeRevisionsMode": "Single",
                # External to the environment, which itself has no public address.
                "ingress": {
                    "external": True,
                    "allowInsecure": False,
                    "targetPort": _PORT,
                    "transport": "http",
                },
                "registries": [{"server": registry, "identity": identity}],
                "secrets": [{"name": _SETTINGS, "value": SecureParameter("ostiaryToml")}],
            },
            "template": {
                "containers": [_container(estate, f"{registry}/ostiary:{__version__}")],
                "scale": {"minReplicas": min(replicas, 2), "maxReplicas": replicas},
                "volumes": [
                    {
                        "name": "settings",
                        "storageType": "Secret",
                        "secrets": [{"secretRef": _SETTINGS, "path": "ostiary.toml"}],
                    }
                ],
            },
        },
        location=estate.region,
        envelope={"identity": assume(identity)},
        depends=(environment, identity),
    )


def _container(estate: Estate, image: str) -> Value:
    probes: list[Value] = [
        {
            "type": kind,
            "httpGet": {"path": path, "port": _PORT, "scheme": "HTTP"},
            "periodSeconds": 10,
        }
        for kind, path in (("Liveness", "/livez"), ("Readiness", "/readyz"))
    ]
    return {
        "name": "gateway",
        "image": image,
        "resources": {"cpu": 1, "memory": "2Gi"},
        "env": [
            {"name": "OSTIARY_CONFIG", "value": f"{_FOLDER}/ostiary.toml"},
            {"name": "OSTIARY_SERVER__HOST", "value": "0.0.0.0"},  # noqa: S104 - behind the ingress
            {"name": "OSTIARY_SERVER__TLS", "value": "proxy"},
            {
                "name": "OSTIARY_SERVER__TRUSTED_PROXIES",
                "value": json.dumps([str(estate.ranges.app), str(estate.ranges.ingress)]),
            },
            {
                "name": "AZURE_CLIENT_ID",
                "value": Output(identity_id(estate), IDENTITY_API, "clientId"),
            },
        ],
        "probes": probes,
        "volumeMounts": [{"volumeName": "settings", "mountPath": _FOLDER}],
    }
