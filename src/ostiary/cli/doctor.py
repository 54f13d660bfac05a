"""`ostiary doctor`: how good this set-up is, and what to do next."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from ostiary.cli._options import AsJson, ConfigFile, settings

_FOUND_WEAKNESS = 1


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("doctor")(doctor)


def doctor(
    config: ConfigFile = None,
    as_json: AsJson = False,
    fix: Annotated[
        bool, typer.Option("--fix", help="Repair file modes; settings are left alone.")
    ] = False,
) -> None:
    """Judge the settings and files of the gateway. Exit 1 where something is weak."""
    from ostiary.operations.posture import examine, repair, report, score

    found = settings(config)
    repaired = repair(found) if fix else ()
    checks = examine(found)
    if as_json:
        typer.echo(json.dumps(report(checks), indent=2))
    else:
        for name in repaired:
            typer.echo(f"closed to others: {name}")
        typer.echo(f"Score: {score(checks)} of 100\n")
        for check in checks:
            typer.echo(f"{check.state:8}{check.layer:15}{check.id:24}{check.evidence}")
            if check.fix:
                typer.echo(f"{'':23}→ {check.fix}")
    if any(check.state == "weak" for check in checks):
        raise typer.Exit(_FOUND_WEAKNESS)
