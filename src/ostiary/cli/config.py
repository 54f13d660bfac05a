"""`ostiary config check | show | schema`: the settings, before and beside a running gateway."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from ostiary.cli._options import AsJson, ConfigFile, finding_kinds, settings


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(no_args_is_help=True, help="Check and show the settings.")
    group.command("check")(check)
    group.command("show")(show)
    group.command("schema")(schema)
    app.add_typer(group, name="config")


def check(config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Check the settings as `serve` would.

    Exit 0 where they are good, 2 where not; stderr then names every wrong key or variable.
    """
    from ostiary.errors import ConfigurationError

    try:
        found = settings(config)
    except ConfigurationError as error:
        if as_json:
            typer.echo(json.dumps({"ok": False, "problems": str(error).splitlines()}, indent=2))
        raise
    if as_json:
        typer.echo(json.dumps({"ok": True, "hash": found.hash}, indent=2))
    else:
        typer.echo(f"The settings are good. Their hash is {found.hash}.")


def show(
    config: ConfigFile = None,
    as_json: AsJson = False,
    _redact: Annotated[
        bool, typer.Option("--redact", help="Accepted for clarity: secrets are never shown.")
    ] = False,
) -> None:
    """Show the effective settings, as TOML or JSON, secrets as ***."""
    found = settings(config).redacted()
    typer.echo(json.dumps(found, indent=2) if as_json else "\n".join(_toml(found)))


def schema(_config: ConfigFile = None, _as_json: AsJson = False) -> None:
    """Print the JSON Schema of the settings file."""
    from ostiary.config import json_schema

    typer.echo(json.dumps(json_schema(known_kinds=finding_kinds()), indent=2))


def _toml(tree: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[str]:
    """Lines of TOML: the values of a table before the tables in it."""
    values = {name: item for name, item in tree.items() if not isinstance(item, dict)}
    if values:
        if path:
            yield f"[{'.'.join(_key(part) for part in path)}]"
        for name, item in values.items():
            yield f"{_key(name)} = {_toml_value(item)}"
        yield ""
    for name, item in tree.items():
        if isinstance(item, dict):
            yield from _toml(item, (*path, name))


def _key(name: str) -> str:
    return name if name.replace("-", "").replace("_", "").isalnum() else _toml_value(name)


def _toml_value(value: str | float | list[Any]) -> str:
    """A value as TOML. JSON's spelling is TOML's but for DEL, which TOML wants escaped."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
