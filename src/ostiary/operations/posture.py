"""How good a set-up is, judged from its settings and files alone; nothing is dialled.

A check is good, weak or unknown, and says what to write or run. What this version cannot do yet
is `unknown`, never good.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ostiary.config import Settings
from ostiary.exchange import Action

LAYERS = (
    "identity",
    "authorisation",
    "limits",
    "validation",
    "detection",
    "encryption",
    "audit",
    "privacy",
    "threat",
    "network",
    "testing",
)
_SEED_REQUESTS, _SEED_TOKENS, _SEED_LOGINS = 60, 100_000, 5


@dataclass(frozen=True, slots=True)
class Check:
    """One judgement; `evidence` names a setting or file, `fix` a setting or command."""

    id: str
    layer: str
    state: str
    weight: int
    evidence: str
    fix: str


def examine(settings: Settings) -> tuple[Check, ...]:
    """Every check, in the order of the layers."""
    checks = [
        *_identity(settings),
        *_limits(settings),
        *_detection(settings),
        *_encryption(settings),
        *_audit(),
        *_network(settings),
        *_not_built(),
    ]
    return tuple(sorted(checks, key=lambda check: LAYERS.index(check.layer)))


def score(checks: tuple[Check, ...]) -> int:
    """0 to 100: the weight of good checks in that of all that could be judged."""
    judged = [check for check in checks if check.state != "unknown"]
    total = sum(check.weight for check in judged)
    good = sum(check.weight for check in judged if check.state == "good")
    return round(100 * good / total) if total else 0


def report(checks: tuple[Check, ...]) -> dict[str, Any]:
    """The whole judgement as JSON."""
    return {"score": score(checks), "checks": [asdict(check) for check in checks]}


def repair(settings: Settings) -> tuple[str, ...]:
    """Close the files of the home to others (0700, 0600); gives the names of what was changed."""
    changed = []
    for path in _loose(settings.home):
        path.chmod(0o700 if path.is_dir() else 0o600)
        changed.append(str(path.relative_to(settings.home.parent)))
    return tuple(changed)


def _judge(name: str, layer: str, weight: int, *, good: bool, evidence: str, fix: str) -> Check:
    return Check(name, layer, "good" if good else "weak", weight, evidence, "" if good else fix)


def _identity(settings: Settings) -> Iterator[Check]:
    identity = settings.identity
    yield _judge(
        "entra-tenants",
        "identity",
        10,
        good=bool(identity.tenants) and not identity.development,
        evidence="identity.development, identity.tenants",
        fix='identity.tenants = ["<tenant id>"] with identity.audiences = ["api://<gateway>"]',
    )
    keyless = [n for n, p in settings.providers.items() if p.kind != "echo" and p.auth == "none"]
    yield _judge(
        "provider-credentials",
        "identity",
        4,
        good=not keyless,
        evidence=f"providers.{keyless[0]}.auth" if keyless else "providers",
        fix='auth = "key" with api_key_file',
    )
    inline = [n for n, p in settings.providers.items() if p.api_key is not None]
    yield _judge(
        "provider-secret-files",
        "identity",
        3,
        good=not inline,
        evidence=f"providers.{inline[0]}.api_key" if inline else "providers",
        fix="api_key_file instead of api_key: the file is re-read when it changes",
    )
    wide = [n for n, role in settings.roles.items() if len(role.permissions) > 5]
    yield _judge(
        "narrow-roles",
        "authorisation",
        3,
        good=not wide,
        evidence=f"roles.{wide[0]}.permissions" if wide else "roles",
        fix="roles with the few permissions that their holders need",
    )


def _limits(settings: Settings) -> Iterator[Check]:
    limits = settings.limits
    for name, value, most in (
        ("requests_per_minute", limits.requests_per_minute, 10 * _SEED_REQUESTS),
        ("tokens_per_hour", limits.tokens_per_hour, 20 * _SEED_TOKENS),
        ("failed_logins", limits.failed_logins, 4 * _SEED_LOGINS),
    ):
        yield _judge(
            name.replace("_", "-"),
            "limits",
            3,
            good=value <= most,
            evidence=f"limits.{name}",
            fix=f"limits.{name} of at most {most}",
        )
    yield _judge(
        "opaque-parts",
        "validation",
        4,
        good=settings.policy.opaque == "refuse",
        evidence="policy.opaque",
        fix='policy.opaque = "refuse": images and files cannot be inspected',
    )
    yield _judge(
        "real-models",
        "validation",
        2,
        good=any(p.kind != "echo" for p in settings.providers.values()),
        evidence="models, providers",
        fix='[providers.main] kind = "openai" with base_url, and [models.NAME] provider = "main"',
    )


def _detection(settings: Settings) -> Iterator[Check]:
    policy = settings.policy
    yield _judge(
        "policy-mode",
        "detection",
        8,
        good=policy.mode == "enforce",
        evidence="policy.mode",
        fix='policy.mode = "enforce"',
    )
    idle = sorted(k for k, a in policy.kinds.items() if a in {Action.OFF, Action.OBSERVE})
    yield _judge(
        "policy-kinds",
        "detection",
        5,
        good=not idle,
        evidence=f"policy.kinds.{idle[0]}" if idle else "policy.kinds",
        fix='"redact", "mask" or "block" for kinds of personal data',
    )
    yield Check(
        "content-safety",
        "detection",
        "unknown",
        5,
        "detectors.content_safety",
        "not built in this version: use your model provider's own filter",
    )


def _encryption(settings: Settings) -> Iterator[Check]:
    home = settings.home
    loose = _loose(home)
    yield _judge(
        "file-modes",
        "encryption",
        8,
        good=not loose,
        evidence=loose[0].name if loose else home.name,
        fix="ostiary doctor --fix",
    )
    yield _judge(
        "root-outside-home",
        "encryption",
        6,
        good=False,
        evidence="keyvault.kind",
        fix="keep backups of root.key and keystore.db apart from those of ostiary.db",
    )
    behind_tls = settings.server.tls != "off"
    yield _judge(
        "tls",
        "encryption",
        8,
        good=behind_tls,
        evidence="server.tls",
        fix='server.tls = "files", or "proxy" behind an ingress, with server.trusted_proxies',
    )
    clear = [n for n, p in settings.providers.items() if (p.base_url or "").startswith("http://")]
    yield _judge(
        "provider-tls",
        "encryption",
        6,
        good=not clear,
        evidence=f"providers.{clear[0]}.base_url" if clear else "providers",
        fix="an https base_url",
    )


def _audit() -> Iterator[Check]:
    yield _judge(
        "log-anchor",
        "audit",
        5,
        good=False,
        evidence="ledger/checkpoint",
        fix="copy ledger/checkpoint to another machine regularly; `ostiary audit key` verifies it",
    )
    yield _judge(
        "kept-conversations",
        "privacy",
        2,
        good=True,
        evidence="store.record",
        fix="",
    )


def _network(settings: Settings) -> Iterator[Check]:
    loopback = settings.server.host in {"127.0.0.1", "::1", "localhost"}
    yield _judge(
        "listening",
        "network",
        4,
        good=loopback or settings.server.tls != "off",
        evidence="server.host",
        fix='server.host = "127.0.0.1", or server.tls = "files" or "proxy"',
    )
    wide = [n for n in settings.server.trusted_proxies if int(n.rpartition("/")[2] or 32) < 16]
    yield _judge(
        "trusted-proxies",
        "network",
        4,
        good=not wide,
        evidence="server.trusted_proxies",
        fix="the addresses of your own proxies only",
    )


def _not_built() -> Iterator[Check]:
    """Layers of which this version has no part to judge yet."""
    for name, layer, what in (
        ("erasure", "privacy", "export and erasure of a person"),
        ("threat-response", "threat", "throttles, blocks and alerts"),
        ("attack-suite", "testing", "the security test-suite"),
    ):
        yield Check(name, layer, "unknown", 5, "-", f"not built in this version: {what}")


def _loose(home: Path) -> list[Path]:
    """The home and what is in it that others could open."""
    if not home.is_dir():
        return []
    paths = [home, *sorted(home.rglob("*"))]
    return [p for p in paths if stat.S_IMODE(p.lstat().st_mode) & 0o077 and not p.is_symlink()]
