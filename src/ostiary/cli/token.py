"""`ostiary token`: a token of the development identity."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from ostiary.cli._options import AsJson, ConfigFile, settings

_MOST_SECONDS = 30 * 3_600


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("token")(token)


def token(
    user: Annotated[str, typer.Option(help="Whom the token is about.")],
    role: Annotated[
        list[str] | None, typer.Option(help="A role; may be given several times.")
    ] = None,
    scope: Annotated[
        str | None,
        typer.Option(help="Scopes, separated by spaces. Default: all that the roles permit."),
    ] = None,
    expires_in: Annotated[
        int, typer.Option("--expires-in", help="Seconds.", min=-_MOST_SECONDS, max=_MOST_SECONDS)
    ] = 3_600,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Print a signed token of the development identity, as Entra ID would issue it."""
    from ostiary.cli._home import at_home
    from ostiary.errors import ConfigurationError
    from ostiary.stages.authz import permissions_of

    roles = role or ["Developer"]
    found = settings(config)
    with at_home(found, create=True) as (run, foundation):
        if foundation.issuer is None:
            raise ConfigurationError(
                "identity.development: is off, so tokens come from the Entra tenant"
            )
        scopes = (
            sorted(p.value for p in permissions_of(roles, foundation.roles))
            if scope is None
            else scope.split()
        )
        text = foundation.issuer.token(user, roles, scopes, expires_in=expires_in)
        run(foundation.store.commit(foundation.ledger.command("token.issue")))
    typer.echo(json.dumps({"token": text, "roles": roles, "scopes": scopes}) if as_json else text)
