"""What is kept of people, and who is told of them."""

from __future__ import annotations

from collections.abc import Iterator

from ostiary.config import Settings
from ostiary.operations.posture.check import Check, judged

LAYER = "privacy"


def checks(settings: Settings) -> Iterator[Check]:
    """No more kept than asked for, nothing personal sent along."""
    yield judged(
        "kept-conversations",
        LAYER,
        2,
        good=settings.store.record in {"native", "none"},
        evidence="store.record",
        fix='store.record = "native": what goes through /v1 is not kept',
    )
    told = [n for n, p in settings.providers.items() if p.user_security_context]
    yield judged(
        "told-to-providers",
        LAYER,
        3,
        good=not told,
        evidence=f"providers.{told[0]}.user_security_context" if told else "providers",
        fix="user_security_context = false, or name the provider as a recipient of personal data",
    )
