"""Whom the gateway calls, by its settings, and whether their addresses are what they must be."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_network
from urllib.parse import urlsplit

from ostiary.config import Settings
from ostiary.errors import ConfigurationError, UnavailableError
from ostiary.upstream.addresses import Address, Egress, egress_of, is_private
from ostiary.upstream.egress import addresses_of

_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Upstream:
    """One service that is called: the setting that names it, and where it is."""

    setting: str
    host: str
    port: int
    tls: bool
    egress: Egress


def upstreams(settings: Settings) -> Iterator[Upstream]:
    """Every service that must be private in private mode, in the order of the settings."""
    private = settings.network.private
    for name, provider in settings.providers.items():
        if provider.base_url is not None:
            allowed = (ip_network(network) for network in provider.allow_addresses)
            egress = egress_of(provider.base_url, allowed, private=private)
            yield _upstream(f"providers.{name}.base_url", provider.base_url, egress)


def _upstream(setting: str, url: str, egress: Egress) -> Upstream:
    parts = urlsplit(url)
    port = parts.port or _PORTS[parts.scheme]
    return Upstream(setting, egress.host, port, parts.scheme == "https", egress)


async def resolved(upstream: Upstream) -> tuple[Address, ...]:
    """The addresses of an upstream now; () where its name has none."""
    try:
        return await addresses_of(upstream.host, upstream.port)
    except OSError:
        return ()


async def forbidden(settings: Settings) -> tuple[Upstream, ...]:
    """The upstreams whose names lead now where no connection would be made."""
    found = []
    for upstream in upstreams(settings):
        addresses = await resolved(upstream)
        if not all(upstream.egress.permits(address) for address in addresses):
            found.append(upstream)
    return tuple(found)


async def require_private(settings: Settings) -> None:
    """Nothing where private mode is off, or every upstream is private and spoken to over TLS.

    Raises ConfigurationError that names the host otherwise, and UnavailableError where a name
    has no address, so that nothing is known about it.
    """
    if not settings.network.private:
        return
    for upstream in upstreams(settings):
        what = f"network.private = true: {upstream.setting}: the host {upstream.host}"
        if not upstream.tls:
            raise ConfigurationError(f"{what} is not spoken to over TLS; give an https URL")
        addresses = await resolved(upstream)
        if not addresses:
            raise UnavailableError(
                f"{what} has no address here, so it is not known to be private; look at its "
                "private DNS zone and the link to this network"
            )
        if not all(is_private(address) for address in addresses):
            raise ConfigurationError(
                f"{what} leads to an address that is not private (RFC 1918, RFC 4193); give it a "
                "private endpoint with its DNS zone, or turn private mode off"
            )
