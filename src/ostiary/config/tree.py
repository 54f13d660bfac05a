"""The settings as a frozen tree: every key that a file, a variable or a flag can set."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct
from msgspec.structs import fields

from ostiary.config import forms
from ostiary.config.pem import PemFile
from ostiary.config.secret import HIDDEN, Secret, SecretFile
from ostiary.exchange import Action, Permission


@dataclass(frozen=True, slots=True)
class Form:
    """Marks a setting whose text, or each item of it, must have a form of `config/forms.py`."""

    check: Callable[[str], str]


Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,127}$")]
Positive = Annotated[int, Meta(ge=1)]
Texts = tuple[str, ...]


class Server(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the gateway listens, and whom it believes about addresses."""

    host: Annotated[
        str,
        Meta(min_length=1, description="Address or host name to listen on."),
        Form(forms.bind_host),
    ] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535, description="0 takes any free port.")] = 8787
    workers: Annotated[Positive, Meta(description="Processes; only 1 as yet.")] = 1
    trusted_proxies: Annotated[
        Texts,
        Meta(description="Networks whose X-Forwarded-For is believed."),
        Form(forms.network),
    ] = ()
    hosts: Annotated[
        Texts,
        Meta(min_length=1, description="Values of Host that are answered, without ports."),
        Form(forms.host_name),
    ] = ("127.0.0.1", "localhost", "[::1]")
    tls: Annotated[
        Literal["off", "proxy", "files"],
        Meta(
            description='"proxy": a trusted proxy in front speaks TLS; "files": the gateway does.'
        ),
    ] = "off"
    tls_cert_file: Annotated[
        PemFile | None,
        Meta(description="PEM, leaf first; used within 10 s of a change."),
    ] = None
    tls_key_file: Annotated[
        PemFile | None, Meta(description="PEM, not encrypted; used within 10 s of a change.")
    ] = None
    max_connections: Annotated[
        Positive, Meta(description="Open connections; one more is closed. Bounded by open files.")
    ] = 10_000
    max_requests: Annotated[
        Positive, Meta(description="Requests under way; one more gets 503 with Retry-After.")
    ] = 1_000


class Identity(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whose tokens are believed: a local issuer's, or those of Microsoft Entra tenants."""

    development: Annotated[
        bool,
        Meta(description="Local issuer; true unless tenants or audiences are given."),
    ] = True
    authority: Annotated[
        str,
        Meta(min_length=1, description="https URL of the authority."),
        Form(forms.authority_url),
    ] = "https://login.microsoftonline.com"
    tenants: Annotated[Texts, Meta(description="GUIDs of the tenants."), Form(forms.tenant_id)] = ()
    audiences: Annotated[
        Texts, Meta(description="Audiences of this gateway."), Form(forms.audience)
    ] = ()


class Provider(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One service that speaks to models. `echo` needs nothing; the others need a URL."""

    kind: Annotated[Literal["openai", "azure", "echo"], Meta(description="The provider's file.")]
    base_url: Annotated[
        str | None,
        Meta(description="http or https URL: up to /v1 (openai), or of the resource (azure)."),
        Form(forms.upstream_url),
    ] = None
    auth: Annotated[
        Literal["key", "entra", "none"],
        Meta(description='"entra": tokens as azure-identity finds them; "none": no credential.'),
    ] = "key"
    api_key: Annotated[Secret | None, Meta(description="The service's key.")] = None
    api_key_file: Annotated[
        SecretFile | None, Meta(description="A file that holds the key; re-read when it changes.")
    ] = None
    scope: Annotated[
        str | None,
        Meta(description='What tokens are asked for, with auth = "entra"; default: Azure AI.'),
        Form(forms.token_scope),
    ] = None
    api_version: Annotated[
        str | None,
        Meta(description="azure: speak this dated surface instead of v1."),
        Form(forms.api_version),
    ] = None
    user_security_context: Annotated[
        bool,
        Meta(description="azure: tell Defender for Cloud who asks; personal data leaves."),
    ] = False
    timeout_seconds: Annotated[
        float, Meta(gt=0, le=86400, description="Longest silence, before and within an answer.")
    ] = 60.0
    allow_addresses: Annotated[
        Texts,
        Meta(description="Networks that the host's name may lead to beside public addresses."),
        Form(forms.reachable_network),
    ] = ()

    @property
    def credential(self) -> Secret | SecretFile | None:
        """The key, wherever it lies; `credential.current().reveal()` is what is sent now."""
        return self.api_key or self.api_key_file


class Model(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One model that callers may name: served by `provider`, or by `providers` in their order."""

    provider: Annotated[Name | None, Meta(description="A name under [providers].")] = None
    providers: Annotated[
        tuple[Name, ...] | None,
        Meta(
            description="Names in order; the next one serves where the former is unreachable or "
            "at its limit."
        ),
    ] = None
    upstream_name: Annotated[
        str, Meta(min_length=1, max_length=256, description="Default: the model's own name.")
    ] = ""

    @property
    def chain(self) -> tuple[str, ...]:
        """The providers, in the order in which they are asked."""
        return (self.provider,) if self.provider is not None else self.providers or ()


class Limits(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one person may use, and what follows from failed logins and attacks."""

    requests_per_minute: Positive = 60
    tokens_per_hour: Positive = 100_000
    failed_logins: Positive = 5
    throttle_seconds: Positive = 300
    block_seconds: Positive = 900
    history_tokens: Annotated[
        Positive, Meta(description="The newest whole turns that fit go to the model.")
    ] = 16_000


class Policy(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is done with findings; `kinds` holds exceptions from the default policy."""

    mode: Annotated[
        Literal["enforce", "observe"], Meta(description='"observe" records and changes nothing.')
    ] = "enforce"
    kinds: Mapping[str, Action] = {}
    opaque: Annotated[
        Literal["refuse", "record"], Meta(description="Parts that cannot be inspected.")
    ] = "refuse"


class Store(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where state lies, and which exchanges are kept."""

    kind: Literal["sqlite"] = "sqlite"
    record: Annotated[
        Literal["native", "none"], Meta(description='"native" keeps those of /api/chat.')
    ] = "native"


class Counters(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the counts behind the limits lie."""

    kind: Literal["memory"] = "memory"


class KeyVault(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the root key lies."""

    kind: Literal["file"] = "file"


class Network(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whether upstreams must be private, and what must not be reachable at all."""

    private: Annotated[
        bool,
        Meta(description="Upstreams have private addresses only, over TLS, or nothing starts."),
    ] = False
    canaries: Annotated[
        Texts,
        Meta(description="host:port that must not be reachable from here (network verify)."),
        Form(forms.host_and_port),
    ] = ()


class Role(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A role beside the built-in ones."""

    permissions: Annotated[tuple[Permission, ...], Meta(min_length=1)]


class Sections(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The settings of Ostiary."""

    server: Server = Server()
    identity: Identity = Identity()
    providers: Mapping[Name, Provider] = {}
    models: Mapping[Name, Model] = {}
    limits: Limits = Limits()
    policy: Policy = Policy()
    store: Store = Store()
    counters: Counters = Counters()
    keyvault: KeyVault = KeyVault()
    network: Network = Network()
    roles: Mapping[Name, Role] = {}


class Settings(Sections, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The effective settings: complete, checked against each other, never changed.

    `home` is the absolute folder of state; it is no setting of the tree and not in the hash.
    """

    home: Path
    hash: str

    def redacted(self) -> dict[str, Any]:
        """The effective settings nested under their keys, secrets as `***`; unset keys absent."""
        return redacted(self)


def redacted(sections: Sections) -> dict[str, Any]:
    """The sections as JSON-ready values, secrets as `***`; keys without a value are absent."""
    return {field.name: _plain(getattr(sections, field.name)) for field in fields(Sections)}


def fingerprint(sections: Sections) -> str:
    """Lower-case hex SHA-256 over the sections without secret values.

    Same settings, same hash, in whatever order and from whatever source they were given.
    """
    text = json.dumps(redacted(sections), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, Struct):
        named = ((field.name, getattr(value, field.name)) for field in fields(value))
        return {name: _plain(item) for name, item in named if item is not None}
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Secret):
        return HIDDEN
    if isinstance(value, SecretFile | PemFile):
        return value.path
    return value.value if isinstance(value, StrEnum) else value
