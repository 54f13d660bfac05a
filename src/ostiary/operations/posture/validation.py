"""What is taken at all."""

from __future__ import annotations

from collections.abc import Iterator

from ostiary.config import Settings
from ostiary.config.forms import is_loopback
from ostiary.operations.posture.check import Check, judged

LAYER = "validation"


def checks(settings: Settings) -> Iterator[Check]:
    """Only what can be inspected, for models that are really there, under names of our own."""
    yield judged(
        "opaque-parts",
        LAYER,
        4,
        good=settings.policy.opaque == "refuse",
        evidence="policy.opaque",
        fix='policy.opaque = "refuse": images and files cannot be inspected',
    )
    yield judged(
        "real-models",
        LAYER,
        2,
        good=any(p.kind != "echo" for p in settings.providers.values()),
        evidence="models, providers",
        fix='[providers.main] kind = "openai" with base_url, and [models.NAME] provider = "main"',
    )
    exposed = not is_loopback(settings.server.host)
    own = any(not is_loopback(host.strip("[]")) for host in settings.server.hosts)
    yield judged(
        "host-names",
        LAYER,
        2,
        good=own or not exposed,
        evidence="server.hosts",
        fix='server.hosts = ["<the name that clients use>"]',
    )
