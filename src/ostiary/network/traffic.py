"""What the rules of a security group let through, as far as its text tells.

Rules are taken in the order of their priority. "Covers" is decided only where it is certain: a
network covers the networks inside it, `*` everything, `Internet` every public address and tag.
Source: "Network security groups" and "Virtual network service tags", Microsoft Learn.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_network
from typing import Any, Final, TypeAlias

from ostiary.network.inventory import Found, Inventory, member

Network: TypeAlias = IPv4Network | IPv6Network

_ANYWHERE: Final = "*"
_INTERNET: Final = "internet"
_VNET: Final = "virtualnetwork"
_INSIDE_TAGS: Final = frozenset({_VNET, "azureloadbalancer"})
_ALL_PORTS: Final = (0, 65535)


@dataclass(frozen=True, slots=True)
class Prefixes:
    """One side of a rule: networks, service tags and application security groups."""

    networks: tuple[Network, ...]
    tags: frozenset[str]

    @property
    def anybody(self) -> bool:
        """Whether this is the Internet, in any of its spellings, halves of it included."""
        if self.tags & {_ANYWHERE, _INTERNET} or any(t.startswith("azurecloud") for t in self.tags):
            return True
        v4 = collapse_addresses(n for n in self.networks if isinstance(n, IPv4Network))
        v6 = collapse_addresses(n for n in self.networks if isinstance(n, IPv6Network))
        return any(n.prefixlen == 0 for n in v4) or any(n.prefixlen == 0 for n in v6)

    def covers(self, other: Prefixes) -> bool:
        """Whether everything in `other` is certainly in here."""
        if _ANYWHERE in self.tags or any(n.prefixlen == 0 for n in self.networks):
            return True
        if _ANYWHERE in other.tags:
            return False
        return all(self._covers_tag(tag) for tag in other.tags) and all(
            self._covers_network(network) for network in other.networks
        )

    def _covers_tag(self, tag: str) -> bool:
        return tag in self.tags or (_INTERNET in self.tags and tag not in _INSIDE_TAGS)

    def _covers_network(self, network: Network) -> bool:
        if _INTERNET in self.tags and network.is_global:
            return True
        return any(
            network.version == own.version and network.subnet_of(own)  # type: ignore[arg-type]
            for own in self.networks
        )


@dataclass(frozen=True, slots=True)
class TrafficRule:
    """One rule of a group, read. `ports` are inclusive ranges of destination ports."""

    name: str
    priority: int
    inbound: bool
    allows: bool
    protocol: str
    source: Prefixes
    destination: Prefixes
    ports: tuple[tuple[int, int], ...]
    from_any_port: bool

    def covers(self, other: TrafficRule) -> bool:
        """Whether this rule decides all that `other` would decide."""
        return (
            self.inbound == other.inbound
            and self.protocol in (_ANYWHERE, other.protocol)
            and (self.from_any_port or not other.from_any_port)
            and self.source.covers(other.source)
            and self.destination.covers(other.destination)
            and all(any(a <= c and d <= b for a, b in self.ports) for c, d in other.ports)
        )

    def opens(self, ports: Iterable[int]) -> list[int]:
        """Those of `ports` that this rule reaches."""
        return [port for port in ports if any(a <= port <= b for a, b in self.ports)]


@dataclass(frozen=True, slots=True)
class SecurityGroup:
    """A group, its rules in the order in which Azure takes them, and the ranges it guards."""

    found: Found
    rules: tuple[TrafficRule, ...]
    guarded: tuple[Network, ...]

    def ordered(self, *, inbound: bool) -> list[TrafficRule]:
        """The rules of one direction, strongest first."""
        return [rule for rule in self.rules if rule.inbound == inbound]

    def effective(self, *, inbound: bool) -> Iterator[TrafficRule]:
        """The allowing rules of one direction that no earlier rule takes everything from."""
        rules = self.ordered(inbound=inbound)
        for at, rule in enumerate(rules):
            earlier = (e for e in rules[:at] if e.priority < rule.priority and not e.allows)
            if rule.allows and not any(e.covers(rule) for e in earlier):
                yield rule

    def decides(self, *, inbound: bool, peer: str) -> bool:
        """Whether a rule of its own decides all traffic with `peer`, before Azure's defaults do.

        `peer` is a service tag: inbound its source, outbound its destination.
        """
        own = Prefixes(self.guarded, frozenset() if self.guarded else frozenset({_VNET}))
        other = Prefixes((), frozenset({peer}))
        source, destination = (other, own) if inbound else (own, other)
        everything = TrafficRule(
            "", 65000, inbound, True, _ANYWHERE, source, destination, (_ALL_PORTS,), True
        )
        return any(rule.covers(everything) for rule in self.rules)


def security_groups(inventory: Inventory) -> Iterator[SecurityGroup]:
    """Every group of a file, with the ranges of the subnets that it is put on."""
    for group in inventory.of("Microsoft.Network/networkSecurityGroups"):
        rules = [_read(rule) for rule in inventory.children(group, "securityrules")]
        guarded = tuple(
            network
            for subnet in inventory.of("Microsoft.Network/virtualNetworks/subnets")
            if guarding(subnet) == group.id
            for network in _prefixes(subnet.body.get("properties"), "addressprefix").networks
        )
        ordered = sorted(rules, key=lambda rule: rule.priority)
        yield SecurityGroup(group, tuple(_placed(r, guarded) for r in ordered), guarded)


def _placed(rule: TrafficRule, guarded: tuple[Network, ...]) -> TrafficRule:
    """The rule as it works where its group is put: on its own side no wider than that."""
    side = rule.destination if rule.inbound else rule.source
    if not guarded or not side.tags & {_ANYWHERE, _VNET}:
        return rule
    own = Prefixes(guarded, frozenset())
    return replace(rule, destination=own) if rule.inbound else replace(rule, source=own)


def guarding(subnet: Found) -> str:
    """The id of the group on a subnet, or ""."""
    value = subnet.get("networkSecurityGroup", "id")
    if value is None:
        return ""
    return value.strip().rstrip("/").lower() if isinstance(value, str) else "?"


def _read(found: Found) -> TrafficRule:
    properties = found.body.get("properties")
    priority = member(properties, "priority")
    return TrafficRule(
        name=found.title,
        priority=priority if isinstance(priority, int) else 0,
        inbound=_word(properties, "direction") != "outbound",
        # What cannot be read as a denial is taken as open.
        allows=_word(properties, "access") != "deny",
        protocol=_word(properties, "protocol") or _ANYWHERE,
        source=_prefixes(properties, "sourceaddressprefix", "sourceapplicationsecuritygroups"),
        destination=_prefixes(
            properties, "destinationaddressprefix", "destinationapplicationsecuritygroups"
        ),
        ports=_ports(properties),
        from_any_port=_values(properties, "sourceportrange", "sourceportranges")
        in ([], [_ANYWHERE], ["0-65535"]),
    )


def _word(properties: Any, name: str) -> str:
    value = member(properties, name)
    return value.lower() if isinstance(value, str) else ""


def _values(properties: Any, singular: str, plural: str) -> list[str]:
    one, many = member(properties, singular), member(properties, plural)
    listed = many if isinstance(many, list) else []
    values = ([one] if one not in (None, "") else []) + listed
    # What is no text may be anything.
    return [item.strip().lower() if isinstance(item, str) else _ANYWHERE for item in values]


def _prefixes(properties: Any, singular: str, groups: str = "") -> Prefixes:
    networks: list[Network] = []
    tags: set[str] = set()
    for text in _values(properties, singular, f"{singular}es"):
        try:
            networks.append(ip_network(text, strict=False))
        except ValueError:
            tags.add(_ANYWHERE if text == "any" else text)
    listed: Any = member(properties, groups) if groups else None
    if isinstance(listed, list):
        tags |= {f"group {str(member(item, 'id')).lower()}" for item in listed}
    if not networks and not tags:
        tags.add(_ANYWHERE)
    return Prefixes(tuple(networks), frozenset(tags))


def _ports(properties: Mapping[str, Any] | Any) -> tuple[tuple[int, int], ...]:
    ranges = []
    for text in _values(properties, "destinationportrange", "destinationportranges") or ["*"]:
        low, dash, high = text.partition("-")
        if low.isdecimal() and (high.isdecimal() or not dash):
            ranges.append((int(low), int(high or low)))
        else:
            ranges.append(_ALL_PORTS)
    return tuple(ranges)
