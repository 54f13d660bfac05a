"""Authorisation: the permission of the matched route, and nothing else, decides.

What a caller may do is the union of its roles' permissions, narrowed by its scopes (a person's
token) or its grants (a key). An unknown role adds nothing. A caller that is left with no
permission is refused everywhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ostiary.errors import Forbidden
from ostiary.exchange import Identified, Permission, Permitted, Principal

LAYER = "authz"
SUBJECT_HEADER = "x-ostiary-subject"
"""Names the person that an application speaks for. Nothing grants that yet; whoever asks must
hear so, and not be served as somebody else."""

_DEVELOPER = frozenset({Permission.MODELS_DEPLOY, Permission.CHAT_USE, Permission.FINE_TUNE_CREATE})

ROLES: Mapping[str, frozenset[Permission]] = {
    "User": frozenset({Permission.CHAT_USE}),
    "Developer": _DEVELOPER,
    "Analyst": frozenset({Permission.AUDIT_READ, Permission.THREATS_MANAGE}),
    "PrivacyOfficer": frozenset({Permission.AUDIT_READ, Permission.PRIVACY_MANAGE}),
    "Admin": frozenset(Permission),
}


def permissions_of(
    roles: Iterable[str], table: Mapping[str, frozenset[Permission]]
) -> frozenset[Permission]:
    """Everything that these roles grant together."""
    return frozenset().union(*(table.get(role, frozenset()) for role in roles))


def held(principal: Principal, table: Mapping[str, frozenset[Permission]]) -> frozenset[Permission]:
    """What a caller may do now: its roles' permissions within its scopes or grants."""
    permissions = permissions_of(principal.roles, table)
    for narrow in (principal.scopes, principal.grants):
        if narrow is not None:
            permissions = frozenset(p for p in permissions if p.value in narrow)
    return permissions


def smallest_role(
    wanted: Iterable[Permission], table: Mapping[str, frozenset[Permission]]
) -> str | None:
    """The role with the fewest permissions that covers all of `wanted`, or None."""
    needed = frozenset(wanted)
    covering = [role for role, permissions in table.items() if needed <= permissions]
    return min(covering, key=lambda role: (len(table[role]), role), default=None)


def permit(identified: Identified, table: Mapping[str, frozenset[Permission]]) -> Permitted:
    """Let a caller use the matched route, or refuse with 403 and the missing permission."""
    if SUBJECT_HEADER in identified.admitted.headers:
        raise Forbidden(
            "This credential may not speak for another person; leave X-Ostiary-Subject out.",
            layer=LAYER,
            rule="subject",
        )
    permissions = held(identified.principal, table)
    route = identified.admitted.route
    if not permissions:
        raise Forbidden(
            "This credential holds no permission: its roles and scopes have none in common.",
            layer=LAYER,
            rule="no-permission",
        )
    if route.permission is not None and route.permission not in permissions:
        raise Forbidden(
            f"This route needs the permission {route.permission.value}.",
            layer=LAYER,
            rule="permission",
        )
    return Permitted(identified, permissions)
