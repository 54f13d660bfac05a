"""Which addresses an upstream may have: decided without asking anybody."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Final
from urllib.parse import urlsplit

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# Inside them an IPv4 address hides from every rule about it (RFC 4291 §2.5.5, RFC 6052 §2.1,
# RFC 8215, RFC 3056, RFC 4380).
EMBEDDING: Final[tuple[IPv6Network, ...]] = tuple(
    IPv6Network(text)
    for text in (
        "::/96",
        "::ffff:0:0/96",
        "64:ff9b::/96",
        "64:ff9b:1::/48",
        "2002::/16",
        "2001::/32",
    )
)
# The host's own services in every cloud lie at link-local addresses, Azure's wire server here.
_WIRE_SERVER: Final = IPv4Address("168.63.129.16")
_PRIVATE: Final[tuple[Network, ...]] = tuple(
    ip_network(text) for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
)


@dataclass(frozen=True, slots=True)
class Egress:
    """Which addresses connections to one upstream may have.

    `host` is a canonical literal address, `localhost`, or a name. `allowed` lists networks beside
    the globally routable addresses. With `private` only RFC 1918 and RFC 4193 addresses pass.
    """

    host: str
    allowed: tuple[Network, ...] = ()
    private: bool = False

    @property
    def bars_itself(self) -> bool:
        """Whether the host is a literal address that is never dialled."""
        literal = literal_of(self.host)
        return literal is not None and not self.permits(literal)

    def permits(self, address: Address) -> bool:
        """Whether a connection to the host may go to this address."""
        own = self._is_own(address)
        if not own and never_dialled(address):
            return False
        if self.private:
            return is_private(address)
        if own:
            return True
        if self.host == "localhost" or literal_of(self.host) is not None:
            return False
        if any(address in network for network in self.allowed):
            return True
        return address.is_global and not address.is_multicast

    def _is_own(self, address: Address) -> bool:
        """Whether this is what a literal host or `localhost` stands for."""
        if self.host == "localhost":
            return address.is_loopback
        literal = literal_of(self.host)
        return literal == address and (address.is_loopback or not never_dialled(address))


def egress_of(url: str, allowed: Iterable[Network] = (), *, private: bool = False) -> Egress:
    """Where connections to the host of a URL may go."""
    return Egress(urlsplit(url).hostname or "", tuple(allowed), private)


def literal_of(host: str) -> Address | None:
    """The address that a host is, with or without brackets; None for a name."""
    try:
        return ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        return None


def never_dialled(address: Address) -> bool:
    """Whether nothing may connect there, whatever is configured.

    Link-local and unspecified addresses, multicast, Azure's wire server, and addresses that embed
    an IPv4 address.
    """
    if address.is_link_local or address.is_unspecified or address.is_multicast:
        return True
    if isinstance(address, IPv6Address):
        # A zone (RFC 4007) only makes sense within a link.
        return address.scope_id is not None or any(address in network for network in EMBEDDING)
    return address == _WIRE_SERVER


def is_private(address: Address) -> bool:
    """Whether an address is one of RFC 1918 or RFC 4193."""
    return any(address in network for network in _PRIVATE)
