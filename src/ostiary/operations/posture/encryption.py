"""What is sealed, under which root, and what travels in clear."""

from __future__ import annotations

from collections.abc import Iterator

from ostiary.config import Settings
from ostiary.operations.posture.check import Check, judged
from ostiary.operations.posture.files import loose

LAYER = "encryption"


def checks(settings: Settings) -> Iterator[Check]:
    """Files closed to others, a root apart from the data, TLS on both sides."""
    open_to_others = loose(settings.home)
    yield judged(
        "file-modes",
        LAYER,
        8,
        good=not open_to_others,
        evidence=open_to_others[0].name if open_to_others else settings.home.name,
        fix="ostiary doctor --fix",
    )
    yield judged(
        "root-outside-home",
        LAYER,
        6,
        good=settings.keyvault.kind != "file",
        evidence="keyvault.kind",
        fix='keyvault.kind = "azure" with keyvault.url, then ostiary rotate root --from file',
    )
    yield judged(
        "tls",
        LAYER,
        8,
        good=settings.server.tls != "off",
        evidence="server.tls",
        fix='server.tls = "files", or "proxy" behind an ingress, with server.trusted_proxies',
    )
    clear = [n for n, p in settings.providers.items() if (p.base_url or "").startswith("http://")]
    yield judged(
        "provider-tls",
        LAYER,
        6,
        good=not clear,
        evidence=f"providers.{clear[0]}.base_url" if clear else "providers",
        fix="an https base_url",
    )
