"""Options and first steps that all commands have alike."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ostiary.config import Settings

ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config",
        help="The settings file. Default: OSTIARY_CONFIG, else ostiary.toml here if there is one.",
        metavar="FILE",
        show_default=False,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Write JSON.")]


def finding_kinds() -> frozenset[str]:
    """The kinds that a policy may name: the file names of `detectors/`."""
    from ostiary.parts import part_names

    return frozenset(part_names("ostiary.detectors"))


def settings(config: Path | None, flags: Mapping[str, object] | None = None) -> Settings:
    """The effective settings of this process; raise ConfigurationError where they are wrong."""
    from ostiary.config import load

    return load(
        flags=flags or {},
        environ=os.environ,
        cwd=Path.cwd(),
        config_path=config,
        known_kinds=finding_kinds(),
    )
