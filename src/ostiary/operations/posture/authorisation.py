"""Who may do what."""

from __future__ import annotations

from collections.abc import Iterator

from ostiary.config import Settings
from ostiary.exchange import Permission
from ostiary.operations.posture.check import Check, judged

LAYER = "authorisation"
_FEW = 5
_APART = {Permission.AUDIT_READ, Permission.USERS_MANAGE}


def checks(settings: Settings) -> Iterator[Check]:
    """Roles that hold little, and none that holds everything."""
    wide = [n for n, role in settings.roles.items() if len(role.permissions) > _FEW]
    yield judged(
        "narrow-roles",
        LAYER,
        3,
        good=not wide,
        evidence=f"roles.{wide[0]}.permissions" if wide else "roles",
        fix="roles with the few permissions that their holders need",
    )
    both = [n for n, role in settings.roles.items() if set(role.permissions) >= _APART]
    yield judged(
        "separate-duties",
        LAYER,
        3,
        good=not both,
        evidence=f"roles.{both[0]}.permissions" if both else "roles",
        fix="audit.read and users.manage in roles of their own: who acts should not judge the log",
    )
