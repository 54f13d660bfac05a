"""What a caller may do is what its roles grant within its scopes and grants, and no more."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from ostiary.edge.routes import ROUTES
from ostiary.errors import Forbidden
from ostiary.exchange import Admitted, Identified, Permission, Principal, Route, Trace
from ostiary.stages.authz import ROLES, held, permissions_of, permit, smallest_role
from tests.unit.doorway import doorway

CHAT, AUDIT = Permission.CHAT_USE, Permission.AUDIT_READ


def caller(
    *roles: str, scopes: set[str] | None = None, grants: set[str] | None = None
) -> Principal:
    return Principal(
        person="p",
        method="token",
        application=scopes is None,
        roles=roles,
        scopes=None if scopes is None else frozenset(scopes),
        grants=None if grants is None else frozenset(grants),
    )


def asks(route: Route, principal: Principal, **headers: str) -> Identified:
    sent = {name.replace("_", "-"): (value,) for name, value in headers.items()}
    admitted = Admitted("r", 0.0, route, Trace("1" * 32), {}, {}, sent, "", None)
    return Identified(admitted, principal)


def test_the_seeds_roles_hold_what_the_seed_says() -> None:
    developer = {"ai.models.deploy", "ai.chat.use", "ai.fine-tune.create"}
    assert ROLES["User"] == {"ai.chat.use"}
    assert ROLES["Developer"] == developer
    assert ROLES["Analyst"] == {"audit.read", "threats.manage"}
    assert ROLES["PrivacyOfficer"] == {"audit.read", "privacy.manage"}
    assert ROLES["Admin"] == {p.value for p in Permission}


@pytest.mark.parametrize(
    ("principal", "expected"),
    [
        (caller("User"), {CHAT}),
        (caller("User", scopes=set()), set()),
        (caller("User", scopes={"ai.chat.use", "openid"}), {CHAT}),
        (caller("User", scopes={"AI.CHAT.USE"}), set()),
        (caller("User", scopes={"users.manage"}), set()),
        (caller("User", grants={"users.manage"}), set()),
        (caller("Nobody", "User"), {CHAT}),
        (caller(), set()),
        (caller("User", "Analyst", grants={"audit.read"}), {AUDIT}),
    ],
)
def test_rights_are_the_intersection(principal: Principal, expected: set[Permission]) -> None:
    assert held(principal, ROLES) == expected


@pytest.mark.parametrize("route", [r for r in ROUTES if not r.public], ids=lambda r: r.operation)
def test_nobody_without_a_permission_passes_any_route(route: Route) -> None:
    with pytest.raises(Forbidden):
        permit(asks(route, caller("User", scopes=set())), ROLES)


@pytest.mark.parametrize("route", [r for r in ROUTES if not r.public], ids=lambda r: r.operation)
def test_each_route_asks_for_its_own_permission(route: Route) -> None:
    if route.permission is None:
        assert permit(asks(route, caller("Analyst")), ROLES).permissions
        return
    with pytest.raises(Forbidden) as caught:
        permit(asks(route, caller("Analyst")), ROLES)
    assert route.permission.value in caught.value.message


@pytest.mark.parametrize("route", [r for r in ROUTES if not r.public], ids=lambda r: r.operation)
def test_nobody_may_speak_for_another_person(route: Route) -> None:
    with pytest.raises(Forbidden) as caught:
        permit(asks(route, caller("Admin"), x_ostiary_subject="bob"), ROLES)
    assert caught.value.rule == "subject"
    assert "bob" not in caught.value.message


def test_the_smallest_role_that_covers_is_chosen() -> None:
    assert smallest_role([CHAT], ROLES) == "User"
    assert smallest_role([CHAT, AUDIT], ROLES) == "Admin"
    assert smallest_role([Permission.MODELS_DEPLOY], ROLES) == "Developer"
    assert smallest_role([CHAT], {}) is None


def test_roles_together_grant_their_union() -> None:
    assert permissions_of(["User", "Analyst"], ROLES) == ROLES["User"] | ROLES["Analyst"]
    assert permissions_of([], ROLES) == frozenset()


def test_a_refusal_is_recorded_with_who_was_refused(tmp_path: Path) -> None:
    async def test() -> None:
        async with doorway(tmp_path) as door:
            key = await door.new_key(door.person, "ai.models.deploy")
            arrival = door.arrival("POST", "/api/chat", {"message": "Hi"}, key=key)
            assert (await door.refusal(arrival)).status == 403
            record = await door.closing(arrival)
            assert (record["kind"], record["layer"]) == ("security", "authz")
            assert record["actor"] != door.person

    asyncio.run(test())
