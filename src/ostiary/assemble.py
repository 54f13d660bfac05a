"""The only place that builds: settings → chosen files → foundation → pipeline → application.

The foundation (store, keys, log) is what commands and the server share; the gateway stands on it.
"""

from __future__ import annotations

import fcntl
import hashlib
import ipaddress
import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

from ostiary import __version__, policy
from ostiary.authenticators import apikey, entra
from ostiary.background import Background, Periodic
from ostiary.config import Provider as ProviderSettings
from ostiary.config import Settings
from ostiary.counters import memory
from ostiary.development import DevelopmentIssuer, generate_private_key
from ostiary.edge.app import Application, Edge, Probe
from ostiary.edge.openapi import document
from ostiary.edge.overload import Overload
from ostiary.edge.routes import ROUTES
from ostiary.edge.shed import FLUSH_SECONDS, ShedRecords
from ostiary.edge.tls import POLL_SECONDS, Certificates
from ostiary.errors import ConfigurationError, IntegrityError
from ostiary.exchange import Arrival, Permission
from ostiary.issuer_keys import DiscoveredKeys, KeySource
from ostiary.keyring import Keyring
from ostiary.keystore import make_private_folder
from ostiary.keyvaults import file as file_vault
from ostiary.operations.conversations import Conversations
from ostiary.operations.keys import Keys
from ostiary.operations.models import Models
from ostiary.operations.recovery import close_interrupted
from ostiary.parts import part_names
from ostiary.persons import Persons
from ostiary.pipeline import Operation, Parts, Pipeline
from ostiary.ports import Detector, Provider
from ostiary.stages.admit import Door, over_tls
from ostiary.stages.authn import Identities
from ostiary.stages.authz import ROLES
from ostiary.stages.budget import Budget
from ostiary.stages.check import Rules
from ostiary.stages.forward import Model
from ostiary.stages.keep import Keeper
from ostiary.stages.ledger import Ledger, keystore_of, mark_of, sequence_leaf
from ostiary.stores import sqlite
from ostiary.tlog.files import LogFiles
from ostiary.tlog.note import NoteSigner
from ostiary.tlog.sequencer import Sequencer
from ostiary.upstream.credentials import Credential, Key
from ostiary.upstream.entra import SCOPE, default_tokens

Clock = Callable[[], float]
SCAN_THREADS = 2
SEQUENCE_EVERY, TOUCH_EVERY, KEYS_EVERY = 0.5, 30.0, 3_600.0


@dataclass(frozen=True, slots=True)
class Foundation:
    """State and keys of one home: what commands and the server stand on."""

    settings: Settings
    clock: Clock
    store: sqlite.SqliteStore
    keyring: Keyring
    log: LogFiles
    sequencer: Sequencer
    ledger: Ledger
    persons: Persons
    keys: Keys
    hashes: apikey.SlowHashes
    roles: Mapping[str, frozenset[Permission]]
    issuer: DevelopmentIssuer | None = field(repr=False)
    new: bool

    @property
    def verifier_key(self) -> str:
        """What anybody needs to check the log (C2SP signed-note)."""
        return str(self.log.key)

    async def close(self) -> None:
        """Finish writing and close every file."""
        self.hashes.close()
        await self.store.close()
        self.keyring.close()


async def lay(
    settings: Settings,
    *,
    clock: Clock = time.time,
    random: Callable[[int], bytes] = os.urandom,
) -> Foundation:
    """Open the home of these settings, and make it at the first use (0700, files 0600).

    The keystore is made only together with the database: a lost keystore is an error, never
    silently a new one, which could open nothing of what is there.
    """
    home = settings.home
    make_private_folder(home)
    home.chmod(0o700)
    database = home / "ostiary.db"
    missing = not database.exists()
    vault = file_vault.build(file_vault.Options(), home=home, random=random)
    keyring = await Keyring.open(
        home / "keystore.db", vault, create=missing, clock=clock, random=random
    )
    store = sqlite.build(sqlite.Options(path=str(database)))
    await store.open()
    log = _log(home, keyring)
    ledger = Ledger(store, keyring, clock, random, log=log.key.name, configuration=settings.hash)
    hashes = apikey.SlowHashes()
    new = missing or await _never_used(store)
    if new:
        await store.commit(ledger.genesis())
    return Foundation(
        settings=settings,
        clock=clock,
        store=store,
        keyring=keyring,
        log=log,
        sequencer=Sequencer(
            store,
            log,
            home / "sequencer.lock",
            keyring.secret("outbox"),
            leaf=sequence_leaf,
            mark=mark_of,
        ),
        ledger=ledger,
        persons=Persons(store, keyring, clock),
        keys=Keys(store, keyring, ledger, hashes, clock, live=not settings.identity.development),
        hashes=hashes,
        roles=roles_of(settings),
        issuer=_development_issuer(settings, keyring),
        new=new,
    )


async def _never_used(store: sqlite.SqliteStore) -> bool:
    """Whether a first start was cut off before it left a record."""
    state = await store.tree_state()
    return not (state and state.size) and not await store.outbox(1)


@contextmanager
def only_server(home: Path) -> Iterator[None]:
    """Hold the home for one server: a second would take the first one's exchanges for dead."""
    make_private_folder(home)
    handle = os.open(home / "server.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as cause:
            raise ConfigurationError(
                "OSTIARY_HOME: another gateway is running on this folder"
            ) from cause
        yield
    finally:
        os.close(handle)


def _log(home: Path, keyring: Keyring) -> LogFiles:
    seed = keyring.secret("log-signing")
    public = NoteSigner.from_seed("ostiary", seed).verifier_key
    name = f"ostiary/log/{hashlib.sha256(str(public).encode()).hexdigest()[:16]}"
    return LogFiles(home / "ledger", name, NoteSigner.from_seed(name, seed), home / "sequencer")


def _development_issuer(settings: Settings, keyring: Keyring) -> DevelopmentIssuer | None:
    if not settings.identity.development:
        return None
    return DevelopmentIssuer(keyring.secret("development-issuer", make=generate_private_key))


def roles_of(settings: Settings) -> Mapping[str, frozenset[Permission]]:
    """The built-in roles and those that configuration adds."""
    added = {name: frozenset(role.permissions) for name, role in settings.roles.items()}
    return MappingProxyType({**ROLES, **added})


@dataclass(frozen=True, slots=True)
class Gateway:
    """A running gateway: its application, and what ends with it."""

    app: Application
    foundation: Foundation


async def recover(foundation: Foundation) -> None:
    """Bring the state of a home in order, before its one server takes requests.

    Raises IntegrityError where the tree, an outbox row or the keystore is not the one it was.
    """
    try:
        await foundation.sequencer.drain(wait=True)
    except IntegrityError as cause:
        raise IntegrityError(
            f"The audit log cannot be continued: {cause}. `ostiary audit verify` says where; "
            "a keystore, database or log from elsewhere looks the same."
        ) from cause
    _require_same_keystore(foundation)
    await close_interrupted(foundation.store, foundation.log, foundation.ledger)


def raise_gateway(foundation: Foundation, certificates: Certificates | None = None) -> Gateway:
    """Build the pipeline and the application; the application starts and stops the rest.

    `recover` comes first. `certificates` are looked after while the application runs.
    """
    settings, clock = foundation.settings, foundation.clock
    counters = memory.build(memory.Options(), clock=time.monotonic)
    providers = {name: _provider(name, p) for name, p in settings.providers.items()}
    models = _models(settings, providers)
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


def _require_same_keystore(foundation: Foundation) -> None:
    """Refuse a keystore that the log does not know: a planted one would open to its planter."""
    known = keystore_of(foundation.log.entry(0)) if foundation.log.size else None
    if known != foundation.keyring.manifest_hash():
        raise IntegrityError("the keystore is not the one that the audit log began with")


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


def detectors() -> tuple[Detector, ...]:
    """Every detector, in the order of its file name."""
    built = []
    for name in part_names("ostiary.detectors"):
        module = import_module(f"ostiary.detectors.{name}")
        built.append(cast("Detector", module.build(module.Options())))
    return tuple(built)


def _models(settings: Settings, providers: Mapping[str, Provider]) -> Mapping[str, Model]:
    models = {}
    for name, model in settings.models.items():
        first, *spares = (providers[provider] for provider in model.chain)
        models[name] = Model(name, first, model.upstream_name, tuple(spares))
    return models


def _provider(name: str, settings: ProviderSettings) -> Provider:
    """The provider of a kind, built by its file; raises ConfigurationError."""
    module = import_module(f"ostiary.providers.{settings.kind}")
    if settings.kind == "echo":
        return cast("Provider", module.build(name, module.Options()))
    if settings.base_url is None:
        raise ConfigurationError(f"providers.{name}.base_url is missing")
    given: dict[str, Any] = {
        "base_url": settings.base_url,
        "credential": _credential(name, settings),
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
