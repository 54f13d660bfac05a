"""`ostiary network render | check | verify`: an estate written, read back, and seen from here."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ostiary.cli._options import AsJson, ConfigFile, settings

if TYPE_CHECKING:
    from ostiary.network.check import Finding

_FOUND = 1


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(no_args_is_help=True, help="Write and check the network of an estate.")
    group.command("render")(render)
    group.command("check")(check)
    group.command("verify")(verify)
    app.add_typer(group, name="network")


def render(
    estate: Annotated[Path, typer.Argument(metavar="ESTATE.toml", help="The estate.")],
    format: Annotated[  # noqa: A002 - the option's name is the contract's
        str, typer.Option("--format", help="arm: template; az: shell script; bicep: Bicep.")
    ] = "arm",
    as_json: AsJson = False,
) -> None:
    """Write the estate to stdout. Exit 2 where the file is wrong; stderr names each wrong key."""
    from ostiary.errors import ConfigurationError
    from ostiary.network.estate import read_estate
    from ostiary.network.render import FORMATS
    from ostiary.network.render import render as written

    if format not in FORMATS:
        raise ConfigurationError(f"--format: expected one of {', '.join(FORMATS)}")
    try:
        text = _bytes(estate).decode()
    except UnicodeDecodeError:
        raise ConfigurationError(f"{estate}: the file is not UTF-8") from None
    found = read_estate(text)
    artefact = written(found, format)
    for warning in found.warnings():
        typer.echo(f"Note: {warning}", err=True)
    if as_json and format != "arm":
        artefact = json.dumps({"format": format, "artefact": artefact}) + "\n"
    typer.echo(artefact, nl=False)


def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Template, or answer of Azure.")],
    as_json: AsJson = False,
    sarif: Annotated[
        Path | None, typer.Option("--sarif", metavar="FILE", help="Also write SARIF 2.1.0 here.")
    ] = None,
) -> None:
    """Check an ARM template, or the resources that Azure's REST API returned.

    Exit 0 where nothing is wrong, 1 where something is, 2 where FILE cannot be read or holds no
    resources.
    """
    from ostiary.errors import UnavailableError
    from ostiary.network.check import check_file
    from ostiary.network.sarif import sarif_text

    data = _bytes(file)
    findings = check_file(data)
    if sarif is not None:
        try:
            sarif.write_text(sarif_text(findings, str(file), data), "utf-8")
        except OSError as error:
            raise UnavailableError(f"{sarif}: {error.strerror}") from None
    if as_json:
        typer.echo(json.dumps({"findings": [item.as_json() for item in findings]}, indent=2))
    else:
        _tell(findings)
    if findings:
        raise typer.Exit(_FOUND)


def verify(config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Look from here at the upstreams of the settings, the canaries and the clock. This dials.

    Exit 0 where nothing is bad, 1 where something is.
    """
    import asyncio
    import os
    import ssl
    import time

    from ostiary.network.verify import BAD, Surroundings, report
    from ostiary.network.verify import verify as looked
    from ostiary.upstream.trust import trust

    context = trust(os.environ)
    roots = context if isinstance(context, ssl.SSLContext) else ssl.create_default_context()
    checks = asyncio.run(looked(settings(config), Surroundings(roots, time.time)))
    if as_json:
        typer.echo(json.dumps(report(checks), indent=2))
    else:
        for found in checks:
            typer.echo(f"{found.state.upper():<13} {found.check:<16} {found.evidence}")
            if found.fix:
                typer.echo(f"{'':<13} Fix: {found.fix}")
    if any(found.state == BAD for found in checks):
        raise typer.Exit(_FOUND)


def _bytes(path: Path) -> bytes:
    from ostiary.errors import ConfigurationError

    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}") from None


def _tell(findings: Sequence[Finding]) -> None:
    """Findings for people: the rule once, below it each place, then what to do."""
    from ostiary.network.check import RULES

    for id_ in dict.fromkeys(finding.rule for finding in findings):
        rule = RULES[id_]
        typer.echo(f"{rule.severity.upper():<7} {rule.title}  ({rule.id})")
        for finding in findings:
            if finding.rule == id_:
                typer.echo(f"        {finding.resource}: {finding.reason}")
        typer.echo(f"        Why: {rule.what}")
        typer.echo(f"        Fix: {rule.fix}\n")
    if findings:
        places = len({finding.resource for finding in findings})
        typer.echo(f"Findings: {len(findings)}, resources concerned: {places}.")
    else:
        typer.echo("Nothing found.")
