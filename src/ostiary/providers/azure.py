"""Azure OpenAI and Foundry models: the same interfaces, elsewhere, with Azure's own extras.

Without `api_version` the v1 surface is spoken, which is generally available and needs none. With
one, the dated surface is, on which a deployment stands in the path; it is what older gateways in
front of Azure and some sovereign clouds have.

`user_security_context` tells Microsoft Defender for Cloud who asked. It is personal data that
leaves the gateway, so it is off by default; either way a caller cannot write one of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from ostiary.exchange import Call, Caller, Dialect
from ostiary.upstream.addresses import Network, egress_of
from ostiary.upstream.calls import Service, Upstream, bearer
from ostiary.upstream.credentials import Credential
from ostiary.upstream.paths import PATHS

_CONTEXT = "user_security_context"
_SURFACES = ("/openai/v1", "/openai")


@dataclass(frozen=True, slots=True)
class Options:
    """Which resource (with or without `/openai/v1`), by which surface, and how it is proven.

    `entra` says that the credential is a token and goes where tokens go, else it is a key.
    `allowed` and `private` say which addresses the host may have (`upstream.addresses.Egress`).
    """

    base_url: str
    credential: Credential = field(repr=False)
    timeout_seconds: float = 60.0
    entra: bool = False
    api_version: str | None = None
    user_security_context: bool = False
    allowed: tuple[Network, ...] = ()
    private: bool = False


def build(name: str, options: Options) -> Upstream:
    """The provider under its configured name."""
    resource = resource_of(options.base_url)

    def url(call: Call) -> str:
        path = PATHS[call.dialect]
        if options.api_version is None:
            return f"{resource}/openai/v1{path}"
        deployed = call.dialect is not Dialect.RESPONSES
        where = f"/deployments/{quote(call.model, safe='')}" if deployed else ""
        return f"{resource}/openai{where}{path}?api-version={options.api_version}"

    def body(call: Call) -> Mapping[str, Any]:
        sent = {name: value for name, value in call.body.items() if name != _CONTEXT}
        if options.user_security_context and call.dialect is Dialect.CHAT:
            sent[_CONTEXT] = context_of(call.caller)
        return sent

    return Upstream(
        Service(
            name=name,
            url=url,
            body=body,
            authorise=bearer if options.entra else _key,
            credential=options.credential,
            timeout_seconds=options.timeout_seconds,
            egress=egress_of(options.base_url, options.allowed, private=options.private),
        )
    )


def resource_of(base_url: str) -> str:
    """The resource's endpoint: the URL without the surface that it may end in."""
    base = base_url.rstrip("/")
    for surface in _SURFACES:
        base = base.removesuffix(surface)
    return base


def context_of(caller: Caller) -> dict[str, str]:
    """Azure's UserSecurityContext of a verified caller: what is known of her, nothing made up."""
    person = caller.person
    known = {
        "end_user_id": person.object_id if person else "",
        "end_user_tenant_id": person.tenant if person else "",
        "source_ip": caller.address,
        "application_name": caller.client or "",
    }
    return {name: value for name, value in known.items() if value}


def _key(credential: str) -> tuple[str, str]:
    return "api-key", credential
