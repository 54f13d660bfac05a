"""`ostiary keys create | list | revoke`: API keys, made and ended by the operator."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ostiary.cli._options import AsJson, ConfigFile, settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ostiary.assemble import Foundation
    from ostiary.exchange import Permission
    from ostiary.rows import PersonRow

_FOUND_NOTHING = 1

User = Annotated[str, typer.Option(help="The person: in development the token's user name.")]


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(no_args_is_help=True, help="Make, list and revoke API keys.")
    group.command("create")(create)
    group.command("list")(list_keys)
    group.command("revoke")(revoke)
    app.add_typer(group, name="keys")


def create(
    user: User,
    name: Annotated[str, typer.Option(help="What the key is for; only its owner sees it.")],
    permission: Annotated[
        list[str] | None,
        typer.Option(help="A permission; may be given several times. Default: ai.chat.use."),
    ] = None,
    expires_in: Annotated[
        int | None, typer.Option("--expires-in", help="Seconds. Default: never.")
    ] = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Make a key for a person. It is shown once.

    A person who is first named here gets the smallest role that covers the permissions.
    """
    from ostiary.cli._home import at_home
    from ostiary.errors import ConfigurationError, MalformedRequest
    from ostiary.operations.keys import check_expiry, check_name, named_permissions, shown

    try:
        check_name(name)
        check_expiry(expires_in)
        permissions = named_permissions(permission or [])
    except MalformedRequest as cause:
        raise ConfigurationError(cause.message) from cause
    with at_home(settings(config), create=True) as (run, foundation):
        person = run(_person(foundation, user, permissions))
        created = run(
            foundation.keys.make(
                person.id,
                name,
                permissions,
                expires_in,
                lambda _: foundation.ledger.command("keys.create", person=person.id),
            )
        )
    body = shown(created)
    typer.echo(json.dumps(body) if as_json else f"{created.text}\nkey id: {created.row.id}")


async def _person(
    foundation: Foundation, user: str, permissions: Sequence[Permission]
) -> PersonRow:
    """The named person; refuses permissions that her roles do not cover."""
    from ostiary.cli._home import subject_of
    from ostiary.errors import ConfigurationError
    from ostiary.stages.authz import permissions_of, smallest_role

    role = smallest_role(permissions, foundation.roles)
    if role is None:
        raise ConfigurationError("--permission: no role holds all of these permissions together")
    person = await foundation.persons.named(subject_of(foundation, user), roles=(role,))
    missing = set(permissions) - permissions_of(person.roles, foundation.roles)
    if missing:
        raise ConfigurationError(
            f"--permission: this person's roles do not grant {', '.join(sorted(missing))}; "
            "a key never exceeds its owner's rights"
        )
    return person


def list_keys(
    user: Annotated[str | None, typer.Option(help="One person's keys. Default: all.")] = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """List keys with their state; never a secret."""
    from ostiary.cli._home import at_home

    with at_home(settings(config)) as (run, foundation):
        rows = run(_described(foundation, user))
        run(foundation.store.commit(foundation.ledger.command("keys.list")))
    if as_json:
        typer.echo(json.dumps({"data": rows}, indent=2))
        return
    for row in rows:
        typer.echo("\t".join(str(row[k]) for k in ("keyId", "state", "createdAt", "name")))


async def _described(foundation: Foundation, user: str | None) -> list[dict[str, Any]]:
    from ostiary.cli._home import subject_of

    person = None
    if user is not None:
        found = await foundation.persons.find(subject_of(foundation, user))
        if found is None:
            return []
        person = found.id
    return [foundation.keys.described(row) for row in await foundation.store.keys(person)]


def revoke(
    key_id: Annotated[str, typer.Argument(help="The key's id.")],
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Revoke a key; it is dead at its next request, beside a running server too."""
    from ostiary.cli._home import at_home

    with at_home(settings(config)) as (run, foundation):
        row = run(foundation.store.key(key_id))
        if row is not None:
            record = foundation.ledger.command("keys.revoke", person=row.person)
            run(foundation.keys.end(row, record))
    if row is None:
        typer.echo("There is no such key.", err=True)
        raise typer.Exit(_FOUND_NOTHING)
    typer.echo(json.dumps({"keyId": row.id, "state": "revoked"}) if as_json else "revoked")
