"""The gateway that stands on a foundation: pipeline, background work, application."""

from __future__ import annotations

import ipaddress
import secrets
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from ostiary import __version__, policy
from ostiary.assemble.chosen import detectors, models_of, provider_of
from ostiary.assemble.foundation import Foundation
from ostiary.authenticators import apikey, entra
from ostiary.background import Background, Periodic
from ostiary.config import Settings
from ostiary.counters import memory
from ostiary.edge.app import Application, Edge, Probe
from ostiary.edge.openapi import document
from ostiary.edge.overload import Overload
from ostiary.edge.routes import ROUTES
from ostiary.edge.shed import FLUSH_SECONDS, ShedRecords
from ostiary.edge.tls import POLL_SECONDS, Certificates
from ostiary.exchange import Arrival
from ostiary.issuer_keys import DiscoveredKeys, KeySource
from ostiary.operations.conversations import Conversations
from ostiary.operations.models import Models
from ostiary.pipeline import Operation, Parts, Pipeline
from ostiary.stages.admit import Door, over_tls
from ostiary.stages.authn import Identities
from ostiary.stages.budget import Budget
from ostiary.stages.check import Rules
from ostiary.stages.forward import Model
from ostiary.stages.keep import Keeper

SCAN_THREADS = 2
SEQUENCE_EVERY, TOUCH_EVERY, KEYS_EVERY = 0.5, 30.0, 3_600.0


@dataclass(frozen=True, slots=True)
class Gateway:
    """A running gateway: its application, and what ends with it."""

    app: Application
    foundation: Foundation


def raise_gateway(foundation: Foundation, certificates: Certificates | None = None) -> Gateway:
    """Build the pipeline and the application; the application starts and stops the rest.

    `recover` comes first. `certificates` are looked after while the application runs.
    """
    settings, clock = foundation.settings, foundation.clock
    counters = memory.build(memory.Options(), clock=time.monotonic)
    private = settings.network.private
    providers = {
        name: provider_of(name, provider, private=private)
        for name, provider in settings.providers.items()
    }
    models = models_of(settings, providers)
    keys_source = _key_source(foundation)
    key_authenticator = _key_authenticator(foundation)
    threads = ThreadPoolExecutor(SCAN_THREADS, thread_name_prefix="scan")
    door = _door(settings)
    shed = ShedRecords(foundation.ledger, door)
    load = Overload(most=settings.server.max_requests)
    background = Background(
        (
            *_edge_work(shed, load, certificates),
            *_work(foundation, key_authenticator, keys_source),
        )
    )
    keeper = _keeper(foundation)
    pipeline = Pipeline(
        Parts(
            door=door,
            identities=Identities(
                authenticators=(
                    key_authenticator,
                    entra.build(_token_options(foundation), keys_source, clock),
                ),
                persons=foundation.persons,
                counters=counters,
                failed_logins=settings.limits.failed_logins,
                throttle_seconds=settings.limits.throttle_seconds,
            ),
            roles=foundation.roles,
            budget=Budget(
                counters, settings.limits.requests_per_minute, settings.limits.tokens_per_hour
            ),
            rules=Rules(tuple(models), settings.policy.opaque),
            policy=policy.build(
                detectors(),
                settings.policy.kinds,
                observe_only=settings.policy.mode == "observe",
            ),
            models=models,
            keeper=keeper,
            ledger=foundation.ledger,
            operations=_operations(foundation, models, keeper),
            threads=threads,
            spawn=background.spawn,
        )
    )

    async def start() -> None:
        background.start()

    async def stop() -> None:
        await background.stop()
        for provider in providers.values():
            await provider.close()
        threads.shutdown()

    edge = Edge(
        pipeline,
        _probes(foundation, background),
        new_request_id,
        start,
        stop,
        load,
        shed.note,
        _over_tls(settings, door),
    )
    return Gateway(Application(edge), foundation)


def _key_authenticator(foundation: Foundation) -> apikey.KeyAuthenticator:
    return apikey.build(
        apikey.Options(),
        foundation.store,
        foundation.clock,
        pepper=foundation.keyring.secret("api-key-pepper"),
        row_key=foundation.keyring.secret("api-key-rows"),
        hashes=foundation.hashes,
    )


def _keeper(foundation: Foundation) -> Keeper:
    return Keeper(
        foundation.store,
        foundation.keyring,
        foundation.clock,
        history_tokens=foundation.settings.limits.history_tokens,
        record=foundation.settings.store.record,
    )


def _door(settings: Settings) -> Door:
    return Door(
        hosts=frozenset(host.lower() for host in settings.server.hosts),
        trusted_proxies=tuple(
            ipaddress.ip_network(network) for network in settings.server.trusted_proxies
        ),
        new_trace_id=lambda: secrets.token_hex(16),
    )


def _over_tls(settings: Settings, door: Door) -> Callable[[Arrival], bool]:
    """Whose answers carry Strict-Transport-Security for what a proxy says."""
    proxied = settings.server.tls == "proxy"
    return lambda arrival: proxied and over_tls(arrival, door)


def _edge_work(
    shed: ShedRecords, load: Overload, certificates: Certificates | None
) -> tuple[Periodic, ...]:
    work = [
        Periodic("overload", 1.0, load.watch),
        Periodic("shed-records", FLUSH_SECONDS, shed.flush, last=True),
    ]
    if certificates is not None:
        work.append(Periodic("tls-files", POLL_SECONDS, certificates.refresh))
    return tuple(work)


def _token_options(foundation: Foundation) -> entra.Options:
    if foundation.issuer is not None:
        return foundation.issuer.options
    identity = foundation.settings.identity
    return entra.Options(
        tenants=identity.tenants, audiences=identity.audiences, authority=identity.authority
    )


def _key_source(foundation: Foundation) -> KeySource:
    if foundation.issuer is not None:
        return foundation.issuer.keys()
    identity = foundation.settings.identity
    return DiscoveredKeys(identity.authority, identity.tenants)


def _operations(
    foundation: Foundation, models: Mapping[str, Model], keeper: Keeper
) -> Mapping[str, Operation]:
    conversations = Conversations(foundation.store, keeper, foundation.ledger)
    rules = Rules(tuple(models), foundation.settings.policy.opaque)
    catalogue = Models(models, foundation.ledger, rules.default_model)
    return {
        "conversations.list": conversations.list,
        "conversations.read": conversations.read,
        "conversations.delete": conversations.delete,
        "keys.create": foundation.keys.create,
        "keys.list": foundation.keys.list,
        "keys.revoke": foundation.keys.revoke,
        "models.list": catalogue.list,
        "models.read": catalogue.read,
        "models.info": catalogue.info,
    }


def _work(
    foundation: Foundation, keys: apikey.KeyAuthenticator, issuer_keys: KeySource
) -> tuple[Periodic, ...]:
    async def touch() -> None:
        used = keys.used()
        if used:
            await foundation.store.commit(*used)

    work = [
        Periodic("last-used", TOUCH_EVERY, touch, last=True),
        Periodic("sequencer", SEQUENCE_EVERY, foundation.sequencer.drain, last=True),
    ]
    if isinstance(issuer_keys, DiscoveredKeys):
        work.append(Periodic("issuer-keys", KEYS_EVERY, issuer_keys.refresh))
    return tuple(work)


def _probes(foundation: Foundation, background: Background) -> Mapping[str, Probe]:
    document_body = document(ROUTES, foundation.settings.models, __version__)

    async def livez() -> tuple[int, dict[str, Any]]:
        return 200, {"status": "ok"}

    async def readyz() -> tuple[int, dict[str, Any]]:
        failing = sorted(background.failing & {"sequencer"})
        body = {"status": "unready" if failing else "ok", "config": foundation.settings.hash}
        return (503 if failing else 200), {**body, **({"failing": failing} if failing else {})}

    async def openapi() -> tuple[int, dict[str, Any]]:
        return 200, document_body

    return {"livez": livez, "readyz": readyz, "startupz": livez, "openapi": openapi}


def new_request_id() -> str:
    """A UUIDv7 (RFC 9562 §5.7): sorts by time, says nothing else."""
    stamp = time.time_ns() // 1_000_000
    value = (stamp << 80) | (7 << 76) | (secrets.randbits(12) << 64)
    value |= (2 << 62) | secrets.randbits(62)
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
