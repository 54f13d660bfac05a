"""Anything that speaks the OpenAI API, over HTTP(S)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ostiary.exchange import Call
from ostiary.upstream.addresses import Network, egress_of
from ostiary.upstream.calls import Service, Upstream, bearer
from ostiary.upstream.credentials import Credential
from ostiary.upstream.paths import PATHS


@dataclass(frozen=True, slots=True)
class Options:
    """Where the model is (a URL up to `/v1`), how it is proven who asks, and its patience.

    `allowed` and `private` say which addresses the host may have (`upstream.addresses.Egress`).
    """

    base_url: str
    credential: Credential = field(repr=False)
    timeout_seconds: float = 60.0
    allowed: tuple[Network, ...] = ()
    private: bool = False


def build(name: str, options: Options) -> Upstream:
    """The provider under its configured name."""
    base = options.base_url.rstrip("/")

    def url(call: Call) -> str:
        return base + PATHS[call.dialect]

    return Upstream(
        Service(
            name=name,
            url=url,
            body=_as_it_is,
            authorise=bearer,
            credential=options.credential,
            timeout_seconds=options.timeout_seconds,
            egress=egress_of(options.base_url, options.allowed, private=options.private),
        )
    )


def _as_it_is(call: Call) -> Mapping[str, Any]:
    return call.body
