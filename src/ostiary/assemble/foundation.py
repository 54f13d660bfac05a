"""State and keys of one home: what commands and the server stand on."""

from __future__ import annotations

import fcntl
import hashlib
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from ostiary.authenticators import apikey
from ostiary.config import Settings
from ostiary.development import DevelopmentIssuer, generate_private_key
from ostiary.errors import ConfigurationError, IntegrityError
from ostiary.exchange import Permission
from ostiary.keyring import Keyring
from ostiary.keystore import make_private_folder
from ostiary.keyvaults import file as file_vault
from ostiary.operations.keys import Keys
from ostiary.operations.recovery import close_interrupted
from ostiary.persons import Persons
from ostiary.stages.authz import ROLES
from ostiary.stages.ledger import Ledger, keystore_of, mark_of, sequence_leaf
from ostiary.stores import sqlite
from ostiary.tlog.files import LogFiles
from ostiary.tlog.note import NoteSigner
from ostiary.tlog.sequencer import Sequencer

Clock = Callable[[], float]


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


def _require_same_keystore(foundation: Foundation) -> None:
    """Refuse a keystore that the log does not know: a planted one would open to its planter."""
    known = keystore_of(foundation.log.entry(0)) if foundation.log.size else None
    if known != foundation.keyring.manifest_hash():
        raise IntegrityError("the keystore is not the one that the audit log began with")
