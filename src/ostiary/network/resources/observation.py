"""Where the logs of Azure's own services go, and with `monitor` the private way to them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ostiary.network.estate import Estate
from ostiary.network.private_link import MONITOR
from ostiary.network.resources.place import (
    WORKSPACE,
    diagnostics,
    grant,
    identity_id,
    workspace_id,
)
from ostiary.network.template import Id, Resource

_COMPONENT: Final = "Microsoft.Insights/components"
_SCOPE_API: Final = "2021-07-01-preview"
_METRICS_PUBLISHER: Final = "3913510d-42f4-4e42-8a64-420c390055eb"
_RETENTION_DAYS: Final = 90


def resources(estate: Estate) -> Iterator[Resource]:
    """The workspace, always; private link scope and Application Insights with `monitor`.

    Diagnostic settings arrive over Azure's own network, so ingestion from public networks is
    never open. Queries must be, where no private link scope would let anybody read.
    """
    private = "monitor" in estate.services
    workspace = workspace_id(estate)
    yield Resource(
        WORKSPACE,
        "2023-09-01",
        workspace.names[0],
        {
            "sku": {"name": "PerGB2018"},
            "retentionInDays": _RETENTION_DAYS,
            "publicNetworkAccessForIngestion": "Disabled",
            "publicNetworkAccessForQuery": "Disabled" if private else "Enabled",
            "features": {
                "disableLocalAuth": True,
                "enableLogAccessUsingOnlyResourcePermissions": True,
            },
        },
        location=estate.region,
    )
    yield diagnostics(estate, "logs", workspace)
    if private:
        yield from _private(estate, workspace)


def _private(estate: Estate, workspace: Id) -> Iterator[Resource]:
    component = Id(_COMPONENT, (f"{estate.name}-insights",))
    yield Resource(
        _COMPONENT,
        "2020-02-02",
        component.names[0],
        {
            "Application_Type": "web",
            "WorkspaceResourceId": workspace,
            "IngestionMode": "LogAnalytics",
            "publicNetworkAccessForIngestion": "Disabled",
            "publicNetworkAccessForQuery": "Disabled",
            "DisableLocalAuth": True,
        },
        location=estate.region,
        envelope={"kind": "web"},
        depends=(workspace,),
    )
    yield grant(_METRICS_PUBLISHER, identity_id(estate), component)
    scope = Id(MONITOR.type, (f"{estate.name}-scope",))
    yield Resource(
        MONITOR.type,
        _SCOPE_API,
        scope.names[0],
        {
            "accessModeSettings": {
                "ingestionAccessMode": "PrivateOnly",
                "queryAccessMode": "PrivateOnly",
                "exclusions": [],
            }
        },
        location="global",
    )
    for label, linked in (("logs", workspace), ("insights", component)):
        yield Resource(
            f"{MONITOR.type}/scopedResources",
            _SCOPE_API,
            f"{scope.names[0]}/{estate.name}-{label}",
            {"linkedResourceId": linked},
            depends=(scope, linked),
        )
