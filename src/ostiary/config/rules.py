"""What the settings must be together. An unsafe combination is refused with a reason and a fix."""

from __future__ import annotations

from typing import Final

from ostiary.config.forms import is_loopback
from ostiary.config.keys import Problems, nearest
from ostiary.config.tree import Provider, Sections, Server

BUILT_IN_ROLES: Final = ("Admin", "Developer", "User", "Analyst", "PrivacyOfficer")


def check(sections: Sections, problems: Problems, known_kinds: frozenset[str]) -> None:
    """Note everything that does not fit; a rule about a key that is wrong already stays silent."""
    _check_workers(sections, problems)
    _check_identity(sections, problems)
    _check_tls_files(sections.server, problems)
    _check_exposure(sections, problems)
    for name, provider in sections.providers.items():
        _check_provider(name, provider, problems)
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
        for key in ("base_url", "api_key", "api_key_file"):
            if getattr(provider, key) is not None:
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
    elif provider.auth == "none" and keys:
        problems.add((*path, "auth"), '"none" beside a key: the key would never be sent')


def _check_models(sections: Sections, problems: Problems) -> None:
    for name, model in sections.models.items():
        path = ("models", name, "provider")
        if model.provider in sections.providers or problems.concerns(path, ("providers",)):
            continue
        guess = nearest(model.provider, sections.providers)
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
