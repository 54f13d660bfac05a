"""`ostiary serve`: the gateway."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ostiary.cli._options import ConfigFile, settings

if TYPE_CHECKING:
    from ostiary.assemble import Foundation
    from ostiary.config import Settings
    from ostiary.edge.tls import Certificates

_FIRST_USER = "developer"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("serve")(serve)


def serve(
    config: ConfigFile = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 takes a free one.")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes; only 1 as yet.")] = None,
    ephemeral: Annotated[
        bool, typer.Option("--ephemeral", help="Keep state in memory; nothing remains.")
    ] = False,
) -> None:
    """Start the gateway; the first start makes its keys and prints what to try."""
    flags = {"server.host": host, "server.port": port, "server.workers": workers}
    found = settings(config, flags)
    if not ephemeral:
        _run(found)
        return
    import msgspec

    memory = Path("/dev/shm")  # noqa: S108 - a folder that is memory, made private below
    home = Path(tempfile.mkdtemp(prefix="ostiary-", dir=memory if memory.is_dir() else None))
    try:
        _run(msgspec.structs.replace(found, home=home))
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _run(found: Settings) -> None:
    import asyncio
    import resource

    import uvloop

    from ostiary.edge.accept import raise_file_limit

    os.umask(0o077)
    raise_file_limit()
    # The writer and the sequencer are threads: at 5 ms each of their turns would be felt.
    sys.setswitchinterval(0.0005)
    # A core dump would hold every key and text that is in memory.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _configure_logs()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(found))


async def _serve(found: Settings) -> None:
    import asyncio

    from ostiary.assemble import lay, only_server, raise_gateway, recover
    from ostiary.edge.server import listen, server
    from ostiary.network.upstreams import require_private

    certificates = _certificates(found)
    await require_private(found)
    # Beside the start: a slow resolver must not hold up a gateway whose calls are checked anyway.
    warning = asyncio.create_task(_tell_forbidden(found))
    with listen(found.server.host, found.server.port) as socket, only_server(found.home):
        foundation = await lay(found)
        try:
            key = await _first_key(foundation) if foundation.new else None
            await recover(foundation)
            gateway = raise_gateway(foundation, certificates)
            host, port = socket.getsockname()[:2]
            call = _call(found, certificates, _in_url(str(host)), int(port))
            await server(
                gateway.app,
                socket,
                lambda: _banner(foundation, call, key),
                most=found.server.max_connections,
                tls=certificates.context if certificates else None,
            )
        finally:
            warning.cancel()
            await foundation.close()


async def _tell_forbidden(found: Settings) -> None:
    """Warn of names that lead where no connection will be made; their calls will be refused."""
    import structlog

    from ostiary.network.upstreams import forbidden

    for upstream in await forbidden(found):
        structlog.get_logger("ostiary").warning("upstream_forbidden", setting=upstream.setting)


def _certificates(found: Settings) -> Certificates | None:
    """The pair of `server.tls = "files"`; ConfigurationError where it does not fit."""
    from ostiary.edge.tls import Certificates

    cert, key = found.server.tls_cert_file, found.server.tls_key_file
    if found.server.tls != "files" or cert is None or key is None:
        return None
    return Certificates(cert, key)


@dataclass(frozen=True, slots=True)
class _Call:
    """Where the gateway is, and what `curl` needs to know to get there."""

    url: str
    options: str = ""


def _call(found: Settings, certificates: Certificates | None, host: str, port: int) -> _Call:
    """The first name that the certificate is for, of the address and what Host may say."""
    if certificates is None:
        return _Call(f"http://{host}:{port}")
    names = (name for name in (host, *found.server.hosts) if certificates.covers(name))
    name = next(names, host)
    cert = found.server.tls_cert_file
    # The served leaf may be trusted as it stands: whoever reads this owns the file.
    options = f"--cacert {shlex.quote(str(cert.file))} " if cert else ""
    if name not in (host, "localhost"):
        options += f"--resolve {name}:{port}:{host} "
    return _Call(f"https://{name}:{port}", options)


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


async def _first_key(foundation: Foundation) -> str | None:
    """A developer's key, so that the first paste works; only with the development identity."""
    if foundation.issuer is None:
        return None
    from ostiary.operations.keys import named_permissions

    person = await foundation.persons.named(
        foundation.issuer.subject(_FIRST_USER), roles=("Developer",)
    )
    created = await foundation.keys.make(
        person.id,
        "first key",
        named_permissions(["ai.chat.use"]),
        None,
        lambda _: foundation.ledger.command("keys.create", person=person.id),
    )
    return created.text


def _configure_logs() -> None:
    import logging

    import structlog

    # uvicorn's own lines would quote what a client sent; ours never do.
    logging.getLogger("uvicorn").setLevel(logging.CRITICAL + 1)
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    console = sys.stderr.isatty()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.dev.ConsoleRenderer()
            if console
            else structlog.processors.JSONRenderer(sort_keys=True),
        ],
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )


def _banner(foundation: Foundation, call: _Call, key: str | None) -> None:
    echo, url = typer.echo, call.url
    echo(f"Ostiary listens at {url}")
    echo(f"State is kept in {foundation.settings.home}")
    if foundation.issuer is None:
        echo("Tokens of the configured Entra tenants and API keys are accepted.")
        return
    if key is None:
        echo("The first key was shown at the first start. Another one:")
        echo(f"    ostiary keys create --user {_FIRST_USER} --name another")
        return
    header = f"{call.options}-H 'Authorization: Bearer {key}' -H 'Content-Type: application/json'"
    echo(f"Your developer key, shown this once: {key}")
    echo("\nA normal call:\n")
    echo(f'curl {url}/api/chat {header} \\\n  -d \'{{"message": "Hello, doorkeeper"}}\'')
    echo("\nAn attack (it is refused, and the refusal says why):\n")
    attack = r"'\''; DROP TABLE users; --"
    echo(f'curl {url}/api/chat {header} \\\n  -d \'{{"message": "{attack}"}}\'')
    echo("\nHow good your set-up is, and what to do next:\n")
    echo(_doctor_paste())
    sys.stdout.flush()


def _doctor_paste() -> str:
    """`ostiary doctor`, by a path that works where the command is not on PATH."""
    if shutil.which("ostiary"):
        return "ostiary doctor"
    own = Path(sys.executable).with_name("ostiary")
    return f"{_shortest(own)} doctor"


def _shortest(path: Path) -> str:
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
