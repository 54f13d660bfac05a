"""What each subnet lets through: the ports that are needed, and a deny of all else, both ways.

Address prefixes and service tags only: a rule must be readable without looking up who carries
which application security group.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from ostiary.network.estate import Estate
from ostiary.network.private_link import SERVICES
from ostiary.network.resources.place import NETWORK_API, NSG, nsg_id
from ostiary.network.template import Resource, Value

_LAST_PRIORITY: Final = 4096
_HTTPS: Final = ("443",)


@dataclass(frozen=True, slots=True)
class _Rule:
    name: str
    source: tuple[str, ...]
    destination: tuple[str, ...]
    ports: tuple[str, ...]
    why: str
    protocol: str = "Tcp"


def resources(estate: Estate) -> Iterator[Resource]:
    """One security group per subnet."""
    ingress, app = str(estate.ranges.ingress), str(estate.ranges.app)
    clients = tuple(str(network) for network in estate.clients)
    yield _group(
        estate,
        "ingress",
        inbound=[
            _Rule("allow-https-from-clients", clients, (ingress,), _HTTPS, "The clients named.")
        ],
        outbound=[_Rule("allow-https-to-app", (ingress,), (app,), _HTTPS, "On to the gateway.")],
    )
    yield _group(estate, "app", inbound=_into_app(estate), outbound=_out_of_app(estate))
    yield _group(estate, "endpoints", inbound=_to_endpoints(estate), outbound=[])


def _into_app(estate: Estate) -> list[_Rule]:
    app, ingress = str(estate.ranges.app), str(estate.ranges.ingress)
    # The environment's load balancer hands HTTPS to its proxies on 31443.
    ports = ("443", "31443") if estate.compute == "container-apps" else _HTTPS
    rules = [_Rule("allow-https-from-ingress", (ingress,), (app,), ports, "From the ingress.")]
    if estate.compute != "none":
        rules.append(_among_nodes(app, "in"))
        rules.append(
            _Rule(
                "allow-health-probes",
                ("AzureLoadBalancer",),
                (app,),
                ("30000-32767",),
                "The platform's load balancer asks its back ends for their health.",
            )
        )
    return rules


def _out_of_app(estate: Estate) -> list[_Rule]:
    app = (str(estate.ranges.app),)
    rules = _to_endpoints(estate)
    tags = {"entra": ("AzureActiveDirectory", "Tokens and signing keys of Entra ID.")}
    if estate.compute != "none":
        rules.append(_among_nodes(app[0], "out"))
        tags["platform-images"] = (
            "MicrosoftContainerRegistry",
            "The platform's own container images.",
        )
        tags["platform-layers"] = ("AzureFrontDoor.FirstParty", "The layers of those images.")
    if estate.compute == "aks":
        tags["resource-manager"] = ("AzureResourceManager", "The cluster's cloud provider.")
    for name, (tag, why) in tags.items():
        rules.append(_Rule(f"allow-{name}", app, (tag,), _HTTPS, why))
    return rules


def _among_nodes(app: str, way: str) -> _Rule:
    # A name is given once in a group, whatever the direction.
    return _Rule(f"allow-among-nodes-{way}", (app,), (app,), ("*",), "Nodes of one subnet.", "*")


def _to_endpoints(estate: Estate) -> list[_Rule]:
    ports = sorted({SERVICES[name].port for name in estate.services})
    if not ports:
        return []
    return [
        _Rule(
            "allow-app-to-endpoints",
            (str(estate.ranges.app),),
            (str(estate.ranges.endpoints),),
            tuple(str(port) for port in ports),
            "The gateway to its private services.",
        )
    ]


def _group(
    estate: Estate, role: str, *, inbound: Sequence[_Rule], outbound: Sequence[_Rule]
) -> Resource:
    rules: list[Value] = []
    for direction, allowed in (("Inbound", inbound), ("Outbound", outbound)):
        rules += [
            _written(rule, direction, "Allow", 100 + 10 * number)
            for number, rule in enumerate(allowed)
        ]
        rest = _Rule(f"deny-all-{direction.lower()}", ("*",), ("*",), ("*",), "All else.", "*")
        rules.append(_written(rest, direction, "Deny", _LAST_PRIORITY))
    name = nsg_id(estate, role).names[0]
    return Resource(NSG, NETWORK_API, name, {"securityRules": rules}, location=estate.region)


def _written(rule: _Rule, direction: str, access: str, priority: int) -> Value:
    properties: dict[str, Value] = {
        "description": rule.why,
        "direction": direction,
        "access": access,
        "priority": priority,
        "protocol": rule.protocol,
        "sourcePortRange": "*",
    }
    for member, values in (
        ("sourceAddressPrefix", rule.source),
        ("destinationAddressPrefix", rule.destination),
        ("destinationPortRange", rule.ports),
    ):
        # One value stands in the singular member, several in the plural one; never in both.
        plural = f"{member}es" if member.endswith("Prefix") else f"{member}s"
        if len(values) == 1:
            properties[member] = values[0]
        else:
            properties[plural] = list(values)
    return {"name": rule.name, "properties": properties}
