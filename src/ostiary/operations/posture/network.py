"""Who can reach the gateway, and what it can reach."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_network

from ostiary.config import Settings
from ostiary.config.forms import is_loopback
from ostiary.operations.posture.check import Check, judged, untold

LAYER = "network"
_MOST_PROXIES = 65_536


def checks(settings: Settings) -> Iterator[Check]:
    """A narrow way in, proxies that are named, upstreams that stay private."""
    server = settings.server
    yield judged(
        "listening",
        LAYER,
        4,
        good=is_loopback(server.host) or server.tls != "off",
        evidence="server.host",
        fix='server.host = "127.0.0.1", or server.tls = "files" or "proxy"',
    )
    wide = [n for n in server.trusted_proxies if ip_network(n).num_addresses > _MOST_PROXIES]
    yield judged(
        "trusted-proxies",
        LAYER,
        4,
        good=not wide,
        evidence="server.trusted_proxies",
        fix="the addresses of your own proxies only",
    )
    called = any(provider.base_url for provider in settings.providers.values())
    yield judged(
        "private-upstreams",
        LAYER,
        4,
        good=settings.network.private or not called,
        evidence="network.private",
        fix="network.private = true with private endpoints (ostiary network render)",
    )
    yield untold(
        "egress",
        LAYER,
        4,
        evidence="network.canaries",
        fix='network.canaries = ["example.org:443"], then ostiary network verify',
    )
