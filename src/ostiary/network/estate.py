"""ESTATE.toml, read strictly: whatever could render a wrong network is refused by name of its key.

name = "acme"                         # begins every resource name
region = "westeurope"
services = ["foundry", "keyvault"]    # of foundry, keyvault, postgresql, redis, monitor
compute = "container-apps"            # or "aks", "none"
clients = ["10.20.0.0/16"]            # the only ranges that may reach the ingress, on 443
[ranges]
vnet = "10.44.0.0/16"
ingress = "10.44.0.0/24"
app = "10.44.1.0/24"
endpoints = "10.44.2.0/24"
[models."gpt-4o"]
version = "2024-11-20"
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from ipaddress import IPv4Network, collapse_addresses
from itertools import combinations
from typing import Any, Final

from ostiary.errors import ConfigurationError
from ostiary.network.private_link import SERVICES

COMPUTE: Final = ("container-apps", "aks", "none")
RANGES: Final = ("vnet", "ingress", "app", "endpoints")

_NAME: Final = re.compile(r"[a-z0-9]{3,12}")
_REGION: Final = re.compile(r"[a-z0-9]{1,64}")
_MODEL: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_BARE: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_PRIVATE: Final = tuple(
    IPv4Network(text) for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")
)
_DOCKER_BRIDGE: Final = IPv4Network("172.17.0.0/16")
_LONGEST_SUBNET_PREFIX: Final = 29
_LONGEST_CONTAINER_APPS_PREFIX: Final = 27
_RESERVED_ADDRESSES: Final = 5


@dataclass(frozen=True, slots=True)
class Ranges:
    """The virtual network and its three subnets, which lie inside it and apart."""

    vnet: IPv4Network
    ingress: IPv4Network
    app: IPv4Network
    endpoints: IPv4Network


@dataclass(frozen=True, slots=True)
class Model:
    """A model to deploy; the deployment has the model's name."""

    name: str
    version: str


@dataclass(frozen=True, slots=True)
class Estate:
    """A checked description. `services` stand in the order of `private_link.SERVICES`."""

    name: str
    region: str
    services: tuple[str, ...]
    compute: str
    clients: tuple[IPv4Network, ...]
    ranges: Ranges
    models: tuple[Model, ...]

    def warnings(self) -> Iterator[str]:
        """What renders, but what Azure is likely to refuse."""
        if self.name[0].isdigit():
            yield "name: Key Vault and Container Apps want a letter first"
        needed = _RESERVED_ADDRESSES + sum(SERVICES[name].addresses for name in self.services)
        if self.ranges.endpoints.num_addresses < needed:
            yield f"ranges.endpoints: these services take about {needed} addresses"


def read_estate(text: str) -> Estate:
    """Decode an estate file.

    Raise ConfigurationError that names every key that is wrong, one a line, and quotes no value.
    """
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        where = re.search(r"line \d+, column \d+", str(error))
        place = f" at {where.group()}" if where else ""
        raise ConfigurationError(f"The estate file is not TOML{place}.") from None
    reading = _Reading(tree)
    estate = reading.estate()
    if estate is None:
        raise ConfigurationError("\n".join(dict.fromkeys(reading.problems)))
    return estate


class _Reading:
    """One pass over the tree, which notes everything that is wrong."""

    def __init__(self, tree: Mapping[str, Any]) -> None:
        self.problems: list[str] = []
        self._tree = tree

    def estate(self) -> Estate | None:
        """The estate, or None where something is wrong."""
        tree = self._tree
        keys = ("name", "region", "services", "compute", "clients", "ranges", "models")
        self._refuse_unknown(tree, keys, "")
        name = self._text("name", _NAME, "3 to 12 lower-case letters and digits")
        region = self._text("region", _REGION, "lower-case letters and digits")
        services = self._services()
        compute = self._compute()
        clients = self._clients()
        ranges = self._ranges(compute)
        models = self._models()
        if self.problems or ranges is None:
            return None
        return Estate(name, region, services, compute, clients, ranges, models)

    def _note(self, key: str, text: str) -> None:
        self.problems.append(f"{key}: {text}")

    def _refuse_unknown(self, table: Mapping[str, Any], known: Iterable[str], above: str) -> None:
        for key in table:
            if key not in known:
                near = get_close_matches(key.lower(), list(known), n=1)
                guess = f"; did you mean {above}{near[0]}?" if near else ""
                self._note(f"{above}{_shown(key)}", f"unknown key{guess}")

    def _text(self, key: str, form: re.Pattern[str], what: str) -> str:
        value = self._tree.get(key)
        if isinstance(value, str) and form.fullmatch(value):
            return value
        self._note(key, f"expected {what}")
        return ""

    def _services(self) -> tuple[str, ...]:
        value = self._tree.get("services")
        expected = f"expected a list of {', '.join(SERVICES)}, each at most once"
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            self._note("services", expected)
            return ()
        if set(value) - set(SERVICES) or len(set(value)) < len(value):
            self._note("services", expected)
        return tuple(name for name in SERVICES if name in value)

    def _compute(self) -> str:
        value = self._tree.get("compute")
        if isinstance(value, str) and value in COMPUTE:
            return value
        self._note("compute", f"expected one of {', '.join(COMPUTE)}")
        return ""

    def _clients(self) -> tuple[IPv4Network, ...]:
        value = self._tree.get("clients")
        if not isinstance(value, list) or not value:
            self._note("clients", "expected a list of networks that is not empty")
            return ()
        found = [
            network for item in value if (network := self._network("clients", item)) is not None
        ]
        # Two halves are the Internet as much as the whole is.
        if any(network.prefixlen == 0 for network in collapse_addresses(found)):
            self._note("clients", "everybody is no client: name the ranges that may come in")
        elif any(a.overlaps(b) for a, b in combinations(found, 2)):
            self._note("clients", "two of the ranges overlap")
        return tuple(sorted(found))

    def _network(self, key: str, value: object) -> IPv4Network | None:
        try:
            loose: IPv4Network | None = IPv4Network(
                value if isinstance(value, str) else "", strict=False
            )
        except ValueError:
            loose = None
        if loose is None or "/" not in str(value):
            self._note(key, 'expected an IPv4 network such as "10.44.1.0/24"')
            return None
        if not str(value).startswith(f"{loose.network_address}/"):
            self._note(key, "has bits behind its prefix, which name a host")
            return None
        if loose.overlaps(_DOCKER_BRIDGE) and loose.prefixlen:
            self._note(key, "touches 172.17.0.0/16, which container hosts use inside")
        return loose

    def _ranges(self, compute: str) -> Ranges | None:
        table = self._tree.get("ranges")
        if not isinstance(table, dict):
            self._note("ranges", f"expected a table with {', '.join(RANGES)}")
            return None
        self._refuse_unknown(table, RANGES, "ranges.")
        found: dict[str, IPv4Network] = {}
        for key in RANGES:
            network = self._network(f"ranges.{key}", table.get(key))
            if network is not None:
                found[key] = network
        if len(found) < len(RANGES):
            return None
        ranges = Ranges(**found)
        self._judge(ranges, compute)
        return ranges

    def _judge(self, ranges: Ranges, compute: str) -> None:
        """Note what ranges must be together."""
        if not any(ranges.vnet.subnet_of(private) for private in _PRIVATE):
            self._note("ranges.vnet", "expected a private range (RFC 1918)")
        subnets = {key: getattr(ranges, key) for key in RANGES[1:]}
        for key, network in subnets.items():
            if not network.subnet_of(ranges.vnet):
                self._note(f"ranges.{key}", "lies outside ranges.vnet")
            if network.prefixlen > _LONGEST_SUBNET_PREFIX:
                self._note(f"ranges.{key}", "Azure takes no subnet smaller than /29")
        for (one, first), (other, second) in combinations(subnets.items(), 2):
            if first.overlaps(second):
                self._note(f"ranges.{other}", f"overlaps ranges.{one}")
        if compute == "container-apps" and ranges.app.prefixlen > _LONGEST_CONTAINER_APPS_PREFIX:
            self._note("ranges.app", "container-apps need /27 or larger")

    def _models(self) -> tuple[Model, ...]:
        table = self._tree.get("models", {})
        if not isinstance(table, dict):
            self._note("models", 'expected tables such as [models."gpt-4o"]')
            return ()
        return tuple(self._model(name, table[name]) for name in sorted(table))

    def _model(self, name: str, table: object) -> Model:
        key = f"models.{_shown(name)}"
        if not _MODEL.fullmatch(name):
            self._note(key, "a model's name has 1 to 64 of A-Z a-z 0-9 . _ -")
        if not isinstance(table, dict):
            self._note(key, "expected a table with version")
            return Model(name, "")
        self._refuse_unknown(table, ("version",), f"{key}.")
        version = table.get("version")
        if isinstance(version, str) and _MODEL.fullmatch(version):
            return Model(name, version)
        self._note(f"{key}.version", "expected the model's version, as Azure spells it")
        return Model(name, "")


def _shown(key: str) -> str:
    """A key as it stands in TOML; odd ones are quoted, escaped and cut."""
    return key if _BARE.fullmatch(key) else json.dumps(key[:64])
