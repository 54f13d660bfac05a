"""The files that configuration names: providers, models and detectors."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from ipaddress import ip_network
from typing import Any, cast

from ostiary.config import Provider as ProviderSettings
from ostiary.config import Settings
from ostiary.errors import ConfigurationError
from ostiary.parts import part_names
from ostiary.ports import Detector, Provider
from ostiary.stages.forward import Model
from ostiary.upstream.credentials import Credential, Key
from ostiary.upstream.entra import SCOPE, default_tokens


def detectors() -> tuple[Detector, ...]:
    """Every detector, in the order of its file name."""
    built = []
    for name in part_names("ostiary.detectors"):
        module = import_module(f"ostiary.detectors.{name}")
        built.append(cast("Detector", module.build(module.Options())))
    return tuple(built)


def models_of(settings: Settings, providers: Mapping[str, Provider]) -> Mapping[str, Model]:
    """Each configured model with the providers that serve it, in their order."""
    models = {}
    for name, model in settings.models.items():
        first, *spares = (providers[provider] for provider in model.chain)
        models[name] = Model(name, first, model.upstream_name, tuple(spares))
    return models


def provider_of(name: str, settings: ProviderSettings, *, private: bool) -> Provider:
    """The provider of a kind, built by its file; raises ConfigurationError."""
    module = import_module(f"ostiary.providers.{settings.kind}")
    if settings.kind == "echo":
        return cast("Provider", module.build(name, module.Options()))
    if settings.base_url is None:
        raise ConfigurationError(f"providers.{name}.base_url is missing")
    given: dict[str, Any] = {
        "base_url": settings.base_url,
        "credential": _credential(name, settings),
        "allowed": tuple(ip_network(network) for network in settings.allow_addresses),
        "private": private,
        "timeout_seconds": settings.timeout_seconds,
    }
    if settings.kind == "azure":
        given["entra"] = settings.auth == "entra"
        given["api_version"] = settings.api_version
        given["user_security_context"] = settings.user_security_context
    return cast("Provider", module.build(name, module.Options(**given)))


def _credential(name: str, settings: ProviderSettings) -> Credential:
    if settings.auth == "entra":
        try:
            return default_tokens(settings.scope or SCOPE)
        except ConfigurationError as cause:
            raise ConfigurationError(f"providers.{name}.auth: {cause}") from cause
    held = settings.credential if settings.auth == "key" else None
    return Key(lambda: held.current().reveal() if held else None)
