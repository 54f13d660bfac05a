"""Who is believed, and who believes the gateway."""

from __future__ import annotations

from collections.abc import Iterator

from ostiary.config import Settings
from ostiary.operations.posture.check import Check, judged

LAYER = "identity"


def checks(settings: Settings) -> Iterator[Check]:
    """Tokens of a real directory; credentials of providers that can be exchanged."""
    identity = settings.identity
    yield judged(
        "entra-tenants",
        LAYER,
        10,
        good=bool(identity.tenants) and not identity.development,
        evidence="identity.development, identity.tenants",
        fix='identity.tenants = ["<tenant id>"] with identity.audiences = ["api://<gateway>"]',
    )
    keyless = [n for n, p in settings.providers.items() if p.kind != "echo" and p.auth == "none"]
    yield judged(
        "provider-credentials",
        LAYER,
        4,
        good=not keyless,
        evidence=f"providers.{keyless[0]}.auth" if keyless else "providers",
        fix='auth = "key" with api_key_file',
    )
    inline = [n for n, p in settings.providers.items() if p.api_key is not None]
    yield judged(
        "provider-secret-files",
        LAYER,
        3,
        good=not inline,
        evidence=f"providers.{inline[0]}.api_key" if inline else "providers",
        fix="api_key_file instead of api_key: the file is re-read when it changes",
    )
