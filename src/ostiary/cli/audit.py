"""`ostiary audit verify | export | key`: the log, checked and read."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ostiary.cli._options import AsJson, ConfigFile, settings

if TYPE_CHECKING:
    from ostiary.assemble import Foundation
    from ostiary.cli._home import Run

_FOUND_DAMAGE = 1


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(no_args_is_help=True, help="Check and read the audit log.")
    group.command("verify")(verify)
    group.command("export")(export)
    group.command("key")(key)
    app.add_typer(group, name="audit")


def verify(config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Prove every record of the log. Exit 0 where all is sound, 1 where something is not."""
    from ostiary.cli._home import at_home

    with at_home(settings(config)) as (run, foundation):
        report = _verify(run, foundation)
    if as_json:
        typer.echo(json.dumps(report))
    elif report["ok"]:
        typer.echo(f"{report['records']} records proved.")
    else:
        where = "" if report["firstBad"] is None else f" First bad record: {report['firstBad']}."
        typer.echo(f"The log is damaged: {report['reason']}.{where}", err=True)
    if not report["ok"]:
        raise typer.Exit(_FOUND_DAMAGE)


def _verify(run: Run[Any], foundation: Foundation) -> dict[str, Any]:
    from ostiary.errors import IntegrityError, UnavailableError
    from ostiary.stages.ledger import fault_of_leaf
    from ostiary.tlog.verifier import verify_folder

    outbox = ""
    try:
        run(foundation.sequencer.drain(wait=True))
    except IntegrityError as cause:
        outbox = str(cause)
    except UnavailableError as cause:
        outbox = str(cause)
    with foundation.sequencer.alone(wait=True), _Progress() as progress:
        state = run(foundation.store.tree_state())
        report = verify_folder(
            foundation.settings.home / "ledger",
            foundation.verifier_key,
            at_least=state.size if state else 0,
            on_progress=progress.show,
            check_leaf=fault_of_leaf,
        )
    ok = report.ok and not outbox
    return {
        "ok": ok,
        "records": report.records,
        "firstBad": report.first_bad if not report.ok else None if ok else report.records,
        "reason": report.reason or outbox,
    }


class _Progress:
    """A progress bar on a terminal, nothing elsewhere."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> _Progress:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import Progress

            self._bar = Progress(console=Console(stderr=True), transient=True)
            self._task = self._bar.add_task("records", total=None)
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def show(self, done: int, total: int) -> None:
        """Tell how far it is."""
        if self._bar is not None:
            self._bar.update(self._task, completed=done, total=total)


def export(
    format: Annotated[  # noqa: A002 - the option's name is the contract's
        str, typer.Option("--format", help="ndjson: one record a line.")
    ] = "ndjson",
    config: ConfigFile = None,
    _as_json: AsJson = False,
) -> None:
    """Write every record to stdout, oldest first. Only ndjson is built as yet."""
    from ostiary.cli._home import at_home
    from ostiary.errors import ConfigurationError, IntegrityError

    if format != "ndjson":
        raise ConfigurationError("--format: only ndjson is built as yet")
    with at_home(settings(config)) as (run, foundation):
        try:
            size = run(foundation.sequencer.drain(wait=True)) or 0
            for entry in foundation.log.read_entries(0, size):
                sys.stdout.buffer.write(entry + b"\n")
        except IntegrityError as cause:
            typer.echo(f"The log is damaged: {cause}. `ostiary audit verify` says more.", err=True)
            raise typer.Exit(_FOUND_DAMAGE) from cause
        sys.stdout.buffer.flush()


def key(config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Print the log's verifier key (C2SP signed-note), which proves checkpoints offline."""
    from ostiary.cli._home import at_home

    with at_home(settings(config)) as (_, foundation):
        text = foundation.verifier_key
    typer.echo(json.dumps({"key": text}) if as_json else text)
