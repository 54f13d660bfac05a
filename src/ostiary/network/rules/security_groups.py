"""What security groups let in and out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final

from ostiary.network.inventory import Inventory
from ostiary.network.rules.rule import Problem, Rule
from ostiary.network.traffic import SecurityGroup, TrafficRule, security_groups

_RISKY_PORTS: Final = (20, 21, 22, 23, 25, 80, 135, 139, 445, 3389, 5900, 5985, 6379, 8080)
_PRIORITIES: Final = range(100, 4097)


def _any_source(inventory: Inventory) -> Iterator[Problem]:
    for group in security_groups(inventory):
        for rule in group.effective(inbound=True):
            if rule.source.anybody:
                yield Problem(group.found, f"{rule.name} lets in every address of the Internet")


def _risky_port(inventory: Inventory) -> Iterator[Problem]:
    """Rules open to anybody are left to nsg-inbound-any-source."""
    for group in security_groups(inventory):
        for rule in group.effective(inbound=True):
            opened = rule.opens(_RISKY_PORTS)
            if opened and not rule.source.anybody and not _among_own(rule, group):
                yield Problem(group.found, f"{rule.name} opens port {opened[0]}")


def _among_own(rule: TrafficRule, group: SecurityGroup) -> bool:
    """Whether a rule speaks of one subnet's own nodes, or of the platform's probes."""
    networks = rule.source.networks
    if rule.source.tags:
        return rule.source.tags == {"azureloadbalancer"} and not networks
    own = (*group.guarded, *(rule.destination.networks if rule.destination == rule.source else ()))
    return bool(networks) and all(
        any(a.version == b.version and a.subnet_of(b) for b in own)  # type: ignore[arg-type]
        for a in networks
    )


def _inbound_default(inventory: Inventory) -> Iterator[Problem]:
    for group in security_groups(inventory):
        if not group.decides(inbound=True, peer="virtualnetwork"):
            yield Problem(
                group.found, "no rule denies the rest, so AllowVnetInBound (65000) lets it in"
            )


def _outbound_default(inventory: Inventory) -> Iterator[Problem]:
    for group in security_groups(inventory):
        if not group.decides(inbound=False, peer="internet"):
            yield Problem(
                group.found, "no rule denies the rest, so AllowInternetOutBound (65001) lets it out"
            )


def _any_destination(inventory: Inventory) -> Iterator[Problem]:
    for group in security_groups(inventory):
        for rule in group.effective(inbound=False):
            if rule.destination.anybody:
                yield Problem(group.found, f"{rule.name} lets out to every address")


def _priorities(inventory: Inventory) -> Iterator[Problem]:
    for group in security_groups(inventory):
        for reason in _bad_priorities(group):
            yield Problem(group.found, reason)


def _bad_priorities(group: SecurityGroup) -> Iterator[str]:
    for inbound in (True, False):
        rules = group.ordered(inbound=inbound)
        for priority, times in Counter(rule.priority for rule in rules).items():
            if times > 1:
                names = " and ".join(rule.name for rule in rules if rule.priority == priority)
                yield f"{names} share priority {priority}"
            elif priority not in _PRIORITIES:
                name = next(rule.name for rule in rules if rule.priority == priority)
                yield f"{name} has no priority from 100 to 4096"


def _names(inventory: Inventory) -> Iterator[Problem]:
    for group in security_groups(inventory):
        for name, times in Counter(rule.name.lower() for rule in group.rules).items():
            if times > 1:
                yield Problem(group.found, f"{times} rules are named {name}")


def _shadowed(inventory: Inventory) -> Iterator[Problem]:
    """Groups whose priorities are no order at all are left to nsg-priority."""
    for group in security_groups(inventory):
        if any(_bad_priorities(group)):
            continue
        for inbound in (True, False):
            rules = group.ordered(inbound=inbound)
            for at, rule in enumerate(rules):
                opposite = (e for e in rules[:at] if e.allows != rule.allows)
                earlier = next((e for e in opposite if e.covers(rule)), None)
                if earlier is not None:
                    yield Problem(
                        group.found, f"{rule.name} never applies: {earlier.name} comes before it"
                    )


RULES: Final = (
    Rule(
        "nsg-inbound-any-source",
        "high",
        "Nobody comes in from everywhere",
        "A rule with source *, Internet, 0.0.0.0/0 or AzureCloud lets every machine of the "
        "Internet, or every customer of Azure, try the port.",
        "Name the ranges or the service tag that may come in as the rule's source.",
        _any_source,
    ),
    Rule(
        "nsg-inbound-default",
        "high",
        "What no rule names is denied on the way in",
        "Azure's default rule AllowVnetInBound lets everything in the network, its peers and what "
        "is connected on premises reach every port.",
        "Add a rule that denies inbound *, any protocol, any port, at priority 4096.",
        _inbound_default,
    ),
    Rule(
        "nsg-inbound-risky-port",
        "high",
        "No remote administration and no plain protocols from outside the subnet",
        "SSH, RDP, SMB, plain HTTP and plain Redis are what intruders try first; a rule for all "
        "ports opens them too.",
        "Narrow the rule's destination port to what the service answers on, such as 443.",
        _risky_port,
    ),
    Rule(
        "nsg-outbound-default",
        "high",
        "What no rule names is denied on the way out",
        "Azure's default rule AllowInternetOutBound lets whoever gets in send data anywhere.",
        "Add a rule that denies outbound to Internet or *, any protocol, any port, at priority "
        "4096, behind the tags that are needed.",
        _outbound_default,
    ),
    Rule(
        "nsg-outbound-any-destination",
        "high",
        "Nothing goes out to everywhere",
        "A rule that allows *, Internet or AzureCloud as destination is a way out for stolen data.",
        "Name the private endpoints' range or the narrow service tag as the rule's destination.",
        _any_destination,
    ),
    Rule(
        "nsg-priority",
        "medium",
        "Each rule of a direction has a priority of its own, from 100 to 4096",
        "Azure refuses the group, or which of two rules decides is not written anywhere.",
        "Give each rule of the direction its own priority from 100 to 4096.",
        _priorities,
    ),
    Rule(
        "nsg-rule-name",
        "medium",
        "Each rule of a group has a name of its own",
        "Azure refuses the group, or one of the rules replaces the other.",
        "Give each rule its own name, whatever its direction.",
        _names,
    ),
    Rule(
        "nsg-shadowed-rule",
        "medium",
        "Every rule can apply",
        "A denial behind an allowing rule that covers it protects nothing; an allowing rule behind "
        "such a denial lets nobody in.",
        "Move the narrower rule before the wider one, or remove it.",
        _shadowed,
    ),
)
