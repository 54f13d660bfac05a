"""What the settings must be together. An unsafe combination is refused with a reason and a fix."""

from __future__ import annotations

from typing import Final

from ostiary.config.forms import is_loopback, speaks_in_clear
from ostiary.config.keys import Path, Problems, nearest
from ostiary.config.tree import Provider, Sections, Server

BUILT_IN_ROLES: Final = ("Admin", "Developer", "User", "Analyst", "PrivacyOfficer")

_OF_THE_OTHERS: Final = (
    *("base_url", "api_key", "api_key_file"),
    *("scope", "api_version", "user_security_context", "allow_addresses"),
)
_FIRST_WITH_CONTEXT: Final = "2024-12-01"


def check(sections: Sections, problems: Problems, known_kinds: frozenset[str]) -> None:
    """Note everything that does not fit; a rule about a key that is wrong already stays silent."""
    _check_workers(sections, problems)
    _check_identity(sections, problems)
    _check_tls_files(sections.server, problems)
    _check_exposure(sections, problems)
    for name, provider in sections.providers.items():
        _check_provider(name, provider, problems)
    _check_private(sections, problems)
    _check_models(sections, problems)
    _check_kinds(sections, problems, known_kinds)
    _check_roles(sections, problems)


def _check_workers(sections: Sections, problems: Problems) -> None:
    if sections.server.workers > 1:
        problems.add(
            ("server", "workers"),
            "more than one worker needs a store and counters that they share "
            '(store.kind "postgres", counters.kind "redis"), which this version does not have',
        )


def _check_identity(sections: Sections, problems: Problems) -> None:
    identity = sections.identity
    development = ("identity", "development")
    if problems.concerns(development):
        return
    for name, given in (("tenants", identity.tenants), ("audiences", identity.audiences)):
        if not identity.development and not given and not problems.concerns(("identity", name)):
            problems.add(
                ("identity", name),
                "empty: without development identity at least one is needed, for an empty list "
                "would let nobody in",
            )
    if identity.development and identity.tenants:
        problems.add(
            development,
            "true together with identity.tenants: a local issuer beside a real one would be a "
            "way around it; remove one of the two",
        )


def _check_tls_files(server: Server, problems: Problems) -> None:
    for name in ("tls_cert_file", "tls_key_file"):
        path = ("server", name)
        given = getattr(server, name) is not None
        if problems.concerns(path, ("server", "tls")):
            continue
        if server.tls == "files" and not given:
            problems.add(path, 'missing: server.tls = "files" needs it')
        elif server.tls != "files" and given:
            problems.add(path, 'given without server.tls = "files": nobody would be served TLS')


def _check_exposure(sections: Sections, problems: Problems) -> None:
    host, tls, proxies = (("server", name) for name in ("host", "tls", "trusted_proxies"))
    if problems.concerns(host, tls, proxies):
        return
    server = sections.server
    if server.tls == "proxy" and not server.trusted_proxies:
        problems.add(
            tls,
            "a proxy that speaks TLS must be named: set server.trusted_proxies to its networks",
        )
    if is_loopback(server.host):
        return
    if server.tls == "off":
        problems.add(
            host,
            "reachable from other machines without TLS: credentials and texts would travel in "
            'clear; set server.tls = "files" with server.tls_cert_file and server.tls_key_file, '
            'or "proxy" with server.trusted_proxies, or listen on 127.0.0.1',
        )
    if sections.identity.development and not problems.concerns(("identity",)):
        problems.add(
            host,
            "reachable from other machines with development identity, which is for this machine "
            "alone; set identity.tenants and identity.audiences, or listen on 127.0.0.1",
        )


def _check_provider(name: str, provider: Provider, problems: Problems) -> None:
    path = ("providers", name)
    if problems.concerns(path):
        return
    keys = (provider.api_key is not None) + (provider.api_key_file is not None)
    if provider.kind == "echo":
        for key in _OF_THE_OTHERS:
            if getattr(provider, key) not in (None, False, ()):
                problems.add((*path, key), 'a provider of kind "echo" calls nobody; remove it')
        return
    if provider.base_url is None:
        problems.add((*path, "base_url"), f'missing: kind "{provider.kind}" needs it')
    if keys == 2:
        problems.add((*path, "api_key"), "given beside api_key_file; keep one")
    elif provider.auth == "key" and keys == 0:
        problems.add(
            (*path, "api_key_file"),
            'missing: auth "key" needs it, or api_key; a service without keys is auth = "none"',
        )
    elif provider.auth != "key" and keys:
        problems.add(
            (*path, "auth"), f'"{provider.auth}" beside a key: the key would never be sent'
        )
    _check_tokens(path, provider, problems)
    _check_azure(path, provider, problems)


def _check_tokens(path: Path, provider: Provider, problems: Problems) -> None:
    if provider.auth != "entra":
        if provider.scope is not None:
            problems.add((*path, "scope"), 'only with auth = "entra"; remove it')
    elif provider.base_url is not None and speaks_in_clear(provider.base_url):
        problems.add(
            (*path, "base_url"),
            'expected https: with auth = "entra" a token of this gateway would travel in clear',
        )


def _check_azure(path: Path, provider: Provider, problems: Problems) -> None:
    if provider.kind != "azure":
        for key in ("api_version", "user_security_context"):
            if getattr(provider, key):
                problems.add((*path, key), 'only for a provider of kind "azure"; remove it')
        return
    if provider.auth == "none":
        problems.add((*path, "auth"), 'expected "key" or "entra": Azure answers nobody else')
    dated = provider.api_version
    if provider.user_security_context and dated is not None and dated < _FIRST_WITH_CONTEXT:
        problems.add(
            (*path, "user_security_context"),
            f"needs the v1 surface or an api_version from {_FIRST_WITH_CONTEXT} on",
        )


def _check_private(sections: Sections, problems: Problems) -> None:
    """In private mode no upstream is spoken to in clear, not even on this machine."""
    if not sections.network.private or problems.concerns(("network", "private")):
        return
    for name, provider in sections.providers.items():
        path = ("providers", name, "base_url")
        url = provider.base_url or ""
        if url.startswith("http://") and not problems.concerns(path):
            problems.add(path, "expected https: network.private = true lets nothing go in clear")


def _check_models(sections: Sections, problems: Problems) -> None:
    for name, model in sections.models.items():
        path = ("models", name)
        if problems.concerns((*path, "provider"), (*path, "providers")):
            continue
        if (model.provider is None) == (model.providers is None):
            both = model.provider is not None
            problems.add(
                (*path, "provider"),
                "given beside providers; keep one"
                if both
                else "missing: the provider that serves it, or providers in their order",
            )
            continue
        key = "provider" if model.provider is not None else "providers"
        _check_chain((*path, key), model.chain, sections, problems)


def _check_chain(
    path: Path, chain: tuple[str, ...], sections: Sections, problems: Problems
) -> None:
    if not chain:
        problems.add(path, "empty: name at least one provider")
    if len(set(chain)) < len(chain):
        problems.add(path, "names a provider twice; it would only be asked again")
    for provider in chain:
        if provider in sections.providers or problems.concerns(("providers",)):
            continue
        guess = nearest(provider, sections.providers)
        hint = f"; did you mean {guess}?" if guess else ""
        problems.add(path, f"no provider of this name under [providers]{hint}")


def _check_kinds(sections: Sections, problems: Problems, known_kinds: frozenset[str]) -> None:
    for kind in sections.policy.kinds:
        if kind not in known_kinds:
            guess = nearest(kind, known_kinds)
            hint = f"; did you mean policy.kinds.{guess}?" if guess else ""
            problems.add(("policy", "kinds", kind), f"unknown kind of finding{hint}")


def _check_roles(sections: Sections, problems: Problems) -> None:
    built_in = {name.casefold() for name in BUILT_IN_ROLES}
    for name in sections.roles:
        if name.casefold() in built_in:
            problems.add(("roles", name), "a built-in role cannot be changed; choose another name")
