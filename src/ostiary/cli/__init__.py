"""The command `ostiary`. Each module here with a plain name is one command or a group of them.

A module has `register(app: typer.Typer) -> None` and imports what is heavy, our own parts too,
inside its functions: `ostiary --help` imports every module and must answer within a second.

Exit codes: 0 good, 1 found something, 2 wrong use, 3 could not run or measure.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Annotated

import typer

from ostiary import __version__
from ostiary.errors import ConfigurationError, OstiaryError
from ostiary.parts import part_names

_WRONG_USE = 2
_COULD_NOT_RUN = 3


def main() -> None:
    """Run the command line; never returns. Errors of ours are told in lines on stderr."""
    try:
        _require_text(sys.argv)
        application()()
    except ConfigurationError as error:
        typer.echo(str(error), err=True)
        sys.exit(_WRONG_USE)
    except OstiaryError as error:
        typer.echo(str(error), err=True)
        sys.exit(_COULD_NOT_RUN)


def _require_text(arguments: Sequence[str]) -> None:
    """Refuse arguments that no command could seal, sign or print."""
    try:
        "".join(arguments).encode()
    except UnicodeEncodeError:
        raise ConfigurationError("An argument is not valid UTF-8.") from None


def application() -> typer.Typer:
    """The whole command, with every module of this folder registered."""
    # A pretty traceback shows local variables, and with them secrets. Help set by rich takes
    # 0.6 to 1.3 s where plain help takes 0.2 to 0.4; a second is what we promise.
    app = typer.Typer(
        name="ostiary", no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False
    )
    app.callback()(_ostiary)
    for name in part_names(__name__):
        import_module(f"{__name__}.{name}").register(app)
    return app


def _tell_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"ostiary {__version__}")
        raise typer.Exit


def _ostiary(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", help="Tell the version and leave.", callback=_tell_version, is_eager=True
        ),
    ] = False,
) -> None:
    """A security gateway between applications and AI models."""
