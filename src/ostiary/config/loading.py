"""From the three sources to effective settings, or to one error that names all that is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from msgspec.structs import asdict, replace

from ostiary.config.decode import Decoder
from ostiary.config.keys import Problems
from ostiary.config.rules import check
from ostiary.config.sources import Layers, UnreadableError, read_toml
from ostiary.config.tree import Model, Sections, Settings, fingerprint
from ostiary.errors import ConfigurationError

_FILE_NAME: Final = "ostiary.toml"
_HOME_NAME: Final = ".ostiary"
_MODELS: Final = ("gpt-4o", "gpt-4o-mini", "gpt-35-turbo")
_ECHO: Final = "echo"


def load(
    *,
    flags: Mapping[str, object],
    environ: Mapping[str, str],
    cwd: Path,
    config_path: Path | None,
    known_kinds: frozenset[str],
) -> Settings:
    """The effective settings: flags over `OSTIARY_*` over the file over defaults.

    `flags` has dotted keys, None where a flag was not given. The file is `config_path`, else
    OSTIARY_CONFIG, else `ostiary.toml` in `cwd` where there is one; relative paths, those within
    the settings too, are taken from `cwd`. `known_kinds` are the kinds that `[policy.kinds]` may
    name. Raise ConfigurationError that names every wrong key or variable, one a line, and
    quotes no value.
    """
    problems = Problems()
    layers = Layers(problems, known_kinds, cwd)
    file = _file(environ, cwd, config_path)
    if file is not None:
        label, path = file
        try:
            layers.add_file(read_toml(path))
        except UnreadableError as error:
            raise ConfigurationError(f"{label}: the file is {error}") from None
    layers.add_variables(environ)
    layers.add_flags(flags)
    _choose_identity(layers.raw)
    _choose_models(layers.raw, problems)
    sections = Decoder(problems, cwd).table(Sections, layers.raw)
    if sections is None:
        raise ConfigurationError(problems.report())
    sections = _with_references(sections)
    check(sections, problems, known_kinds)
    if problems.found:
        raise ConfigurationError(problems.report())
    home = (cwd / (environ.get("OSTIARY_HOME") or _HOME_NAME)).absolute()
    return Settings(**asdict(sections), home=home, hash=fingerprint(sections))


def _file(
    environ: Mapping[str, str], cwd: Path, config_path: Path | None
) -> tuple[str, Path] | None:
    if config_path is not None:
        return "--config", cwd / config_path
    if environ.get("OSTIARY_CONFIG"):
        return "OSTIARY_CONFIG", cwd / environ["OSTIARY_CONFIG"]
    path = cwd / _FILE_NAME
    return (_FILE_NAME, path) if path.exists() else None


def _choose_identity(raw: dict[str, Any]) -> None:
    """Development identity is the default only where nothing of a real one is given.

    Whoever writes `audiences`, or an empty list of tenants, means a real one and forgot a part.
    """
    identity = raw.setdefault("identity", {})
    if isinstance(identity, dict) and "development" not in identity:
        identity["development"] = not {"tenants", "audiences"} & identity.keys()


def _choose_models(raw: dict[str, Any], problems: Problems) -> None:
    """Without models the seed's three are served by `echo`, so that a first start answers."""
    if raw.get("models", {}) != {}:
        return
    providers = raw.setdefault("providers", {})
    if not isinstance(providers, dict):
        return
    echo = providers.setdefault(_ECHO, {"kind": _ECHO})
    if isinstance(echo, dict) and echo.get("kind") != _ECHO:
        problems.add(
            ("models",),
            "empty, so the default models are served by providers.echo, which is of another kind; "
            "name the models",
        )
    raw["models"] = {name: {"provider": _ECHO} for name in _MODELS}


def _with_references(sections: Sections) -> Sections:
    """Fill the names that default to others, and spell a provider's name as its table does."""
    spelled = {name.casefold(): name for name in sections.providers}

    def own(name: str) -> str:
        return spelled.get(name.casefold(), name)

    def complete(name: str, model: Model) -> Model:
        return replace(
            model,
            provider=own(model.provider) if model.provider is not None else None,
            providers=tuple(map(own, model.providers)) if model.providers is not None else None,
            upstream_name=model.upstream_name or name,
        )

    models = {name: complete(name, model) for name, model in sections.models.items()}
    return replace(sections, models=MappingProxyType(models))
