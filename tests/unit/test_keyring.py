"""The keyring: one key per subject, found by every process, gone for good when destroyed."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ostiary import keyring as module
from ostiary import keystore
from ostiary.errors import ConfigurationError, IntegrityError, UnavailableError
from ostiary.keyring import KeyDestroyed, Keyring, Wrapped
from ostiary.keyvaults.file import FileVault

ANN, BOB = "8f7b1c1e-ann", "3a5d9b20-bob"


class PublicKeyVault:
    """Like RSA: whoever sees the public half can wrap whatever he likes for it."""

    provider = "file"

    async def wrap(self, key: bytes) -> Wrapped:
        return Wrapped("1", bytes(byte ^ 0x5A for byte in key))

    async def unwrap(self, version: str, blob: bytes) -> bytes:
        return bytes(byte ^ 0x5A for byte in blob)


class OtherVault(PublicKeyVault):
    provider = "azure"


def opened(home: Path, vault: object = None, *, create: bool = True, **options: object) -> Keyring:
    vault = vault or FileVault(home / "root.key")
    return asyncio.run(Keyring.open(home / "keystore.db", vault, create=create, **options))


@pytest.fixture
def keyring(tmp_path: Path) -> Iterator[Keyring]:
    keyring = opened(tmp_path)
    yield keyring
    keyring.close()


def attack(home: Path, statement: str, *values: object) -> list[tuple]:
    """What somebody does who can write the file."""
    connection = sqlite3.connect(home / "keystore.db", isolation_level=None)
    try:
        return connection.execute(statement, values).fetchall()
    finally:
        connection.close()


def exchange_wrapped(home: Path, table: str) -> None:
    rows = [
        attack(home, f"SELECT wrapped FROM {table} WHERE subject = ?", s)[0][0] for s in (ANN, BOB)
    ]
    for subject, wrapped in zip((BOB, ANN), rows, strict=True):
        attack(home, f"UPDATE {table} SET wrapped = ? WHERE subject = ?", wrapped, subject)


def bytes_on_disk(home: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(home.glob("keystore.db*")))


def test_a_subject_has_one_key_that_outlives_the_process(tmp_path: Path) -> None:
    first = opened(tmp_path)
    first.create_subject(ANN)
    key, name = first.data_key(ANN), first.pseudonym(ANN, "2026-11")
    first.close()
    second = opened(tmp_path, create=False)
    assert second.data_key(ANN) == second.key_by_id(key.key_id) == key
    assert second.pseudonym(ANN, "2026-11") == name
    second.close()


def test_every_subject_has_its_own_keys(keyring: Keyring) -> None:
    for subject in (ANN, BOB):
        keyring.create_subject(subject)
    ann, bob = keyring.data_key(ANN), keyring.data_key(BOB)
    assert ann.key != bob.key
    assert ann.key_id != bob.key_id
    assert keyring.pseudonym(ANN, "2026-11") != keyring.pseudonym(BOB, "2026-11")


def test_making_a_subject_again_changes_nothing(keyring: Keyring) -> None:
    keyring.create_subject(ANN)
    key = keyring.data_key(ANN)
    keyring.create_subject(ANN)
    assert keyring.data_key(ANN) == key


def test_an_unknown_subject_or_key_is_refused_without_quoting_it(keyring: Keyring) -> None:
    assert not keyring.has_subject(ANN)
    for ask in (
        lambda: keyring.data_key(ANN),
        lambda: keyring.pseudonym(ANN, "2026-11"),
        lambda: keyring.key_by_id(bytes(16)),
    ):
        with pytest.raises(IntegrityError) as caught:
            ask()
        assert not isinstance(caught.value, KeyDestroyed)
        assert ANN not in str(caught.value)


def test_a_pseudonym_changes_with_the_month_and_is_26_base32_characters(keyring: Keyring) -> None:
    keyring.create_subject(ANN)
    november = keyring.pseudonym(ANN, "2026-11")
    assert november == keyring.pseudonym(ANN, "2026-11")
    assert november != keyring.pseudonym(ANN, "2026-12")
    assert len(november) == 26
    assert set(november) <= set("abcdefghijklmnopqrstuvwxyz234567")


@pytest.mark.parametrize("month", ["", "2026", "2026-13", "2026-00", "2026-1", "2026-11-01", "x"])
def test_another_form_of_month_is_refused(keyring: Keyring, month: str) -> None:
    keyring.create_subject(ANN)
    with pytest.raises(ValueError, match="YYYY-MM"):
        keyring.pseudonym(ANN, month)


def test_a_secret_is_made_once_and_can_be_replaced(tmp_path: Path, keyring: Keyring) -> None:
    pepper = keyring.secret("pepper")
    assert len(pepper) == 32
    assert pepper != keyring.secret("blind-index")
    other = opened(tmp_path)
    assert other.secret("pepper") == pepper
    other.put_secret("pepper", b"of any length, such as a private key " * 40)
    assert keyring.secret("pepper") == other.secret("pepper") != pepper
    other.close()


def test_a_replaced_secret_leaves_no_sealed_byte_behind(tmp_path: Path, keyring: Keyring) -> None:
    keyring.secret("pepper")
    [(old,)] = attack(tmp_path, "SELECT wrapped FROM secrets WHERE name = 'pepper'")
    keyring.put_secret("pepper", b"new")
    assert old[22:] not in bytes_on_disk(tmp_path)


def test_destroyed_is_destroyed(tmp_path: Path, keyring: Keyring) -> None:
    for subject in (ANN, BOB):
        keyring.create_subject(subject)
    key = keyring.data_key(ANN)
    assert keyring.destroy_subject(ANN) == (key.key_id,)
    assert not keyring.has_subject(ANN)
    assert keyring.is_destroyed(ANN)
    assert not keyring.is_destroyed(BOB)
    for ring in (keyring, opened(tmp_path)):
        for ask in (
            lambda ring=ring: ring.data_key(ANN),
            lambda ring=ring: ring.key_by_id(key.key_id),
            lambda ring=ring: ring.pseudonym(ANN, "2026-11"),
            lambda ring=ring: ring.create_subject(ANN),
        ):
            with pytest.raises(KeyDestroyed):
                ask()
        assert ring.has_subject(BOB)
        ring.close()


def test_destroying_again_gives_the_same_ids(keyring: Keyring) -> None:
    keyring.create_subject(ANN)
    assert keyring.destroy_subject(ANN) == keyring.destroy_subject(ANN) != ()
    assert keyring.destroy_subject("never-was") == ()


def test_nothing_of_a_destroyed_subject_is_left_in_any_file(tmp_path: Path) -> None:
    keyring = opened(tmp_path)
    for subject in [ANN, *(f"other-{number}" for number in range(50))]:
        keyring.create_subject(subject)
    traces = [
        row[0][22:]
        for table in ("subject_keys", "pseudonym_keys")
        for row in attack(tmp_path, f"SELECT wrapped FROM {table} WHERE subject = ?", ANN)
    ]
    traces.append(ANN.encode())
    before = bytes_on_disk(tmp_path)
    assert all(trace in before for trace in traces)
    assert len(traces) == 3
    keyring.destroy_subject(ANN)
    after = bytes_on_disk(tmp_path)
    assert [trace in after for trace in traces] == [False] * 3
    keyring.close()


def test_a_reader_that_keeps_the_wal_open_is_told_and_a_repetition_empties_it(
    tmp_path: Path, keyring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    keyring.create_subject(ANN)
    keyring._connection.execute("PRAGMA busy_timeout = 50")
    reader = sqlite3.connect(tmp_path / "keystore.db", isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM subject_keys").fetchall()
    with pytest.raises(UnavailableError, match="WAL"):
        keyring.destroy_subject(ANN)
    assert not keyring.has_subject(ANN)
    reader.close()
    assert len(keyring.destroy_subject(ANN)) == 1
    assert (tmp_path / "keystore.db-wal").stat().st_size == 0


def test_another_process_sees_new_and_destroyed_subjects_at_its_next_call(
    tmp_path: Path, keyring: Keyring
) -> None:
    beside = opened(tmp_path)
    beside.create_subject(ANN)
    key = keyring.data_key(ANN)
    assert keyring.key_by_id(key.key_id) == key == beside.data_key(ANN)
    name = keyring.pseudonym(ANN, "2026-11")
    assert name == beside.pseudonym(ANN, "2026-11")
    beside.destroy_subject(ANN)
    beside.close()
    for ask in (
        lambda: keyring.data_key(ANN),
        lambda: keyring.key_by_id(key.key_id),
        lambda: keyring.pseudonym(ANN, "2026-11"),
    ):
        with pytest.raises(KeyDestroyed):
            ask()
    assert not keyring.has_subject(ANN)


def test_another_root_is_refused(tmp_path: Path) -> None:
    opened(tmp_path).close()
    with pytest.raises(ConfigurationError, match="backup"):
        opened(tmp_path, FileVault(tmp_path / "absent.key"), create=True)
    asyncio.run(FileVault(tmp_path / "other.key").wrap(bytes(32)))
    with pytest.raises(IntegrityError):
        opened(tmp_path, FileVault(tmp_path / "other.key"))


def test_another_vault_is_refused_by_name(tmp_path: Path) -> None:
    opened(tmp_path).close()
    with pytest.raises(ConfigurationError, match="azure"):
        opened(tmp_path, OtherVault())


def test_nothing_is_made_unasked(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="missing"):
        opened(tmp_path, create=False)
    assert os.listdir(tmp_path) == []


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "keystore.db").write_bytes(b"this is not a database at all " * 100)
    (tmp_path / "keystore.db").chmod(0o600)
    with pytest.raises(IntegrityError):
        opened(tmp_path)


def test_a_planted_epoch_is_refused_even_where_anybody_can_wrap(tmp_path: Path) -> None:
    vault, known = PublicKeyVault(), b"\x07" * 32
    genuine = opened(tmp_path, vault)
    genuine.close()
    planted = asyncio.run(vault.wrap(known)).blob
    attack(tmp_path, "UPDATE epochs SET state = 'decrypt_only'")
    attack(
        tmp_path,
        "INSERT INTO epochs VALUES (2, 'file', '1', ?, ?, 'active', 0)",
        planted,
        keystore.commitment(known),
    )
    connection = keystore.connect(tmp_path / "keystore.db", create=False)
    found = keystore.read_epochs(connection)
    connection.close()
    forged = keystore.manifest_mac(keystore._manifest(found.identity, found.epochs), [known])
    attack(tmp_path, "UPDATE manifest SET mac = ?", forged)
    with pytest.raises(IntegrityError, match="planted"):
        opened(tmp_path, vault)


def test_a_replaced_epoch_changes_the_manifest_hash(tmp_path: Path) -> None:
    hashes = set()
    for name in ("one", "two"):
        keyring = opened(tmp_path / name)
        hashes.add(keyring.manifest_hash())
        keyring.close()
        again = opened(tmp_path / name)
        assert again.manifest_hash() in hashes
        again.close()
    assert len(hashes) == 2
    assert {len(found) for found in hashes} == {64}


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE epochs SET wrapped = randomblob(126)",
        "UPDATE epochs SET wrapped = 'text'",
        "UPDATE epochs SET commitment = randomblob(32)",
        "UPDATE epochs SET commitment = 7",
        "UPDATE epochs SET version = 'x'",
        "UPDATE epochs SET state = 'decrypt_only'",
        "UPDATE epochs SET state = 'destroyed', wrapped = NULL",
        "UPDATE epochs SET id = 2",
        "DELETE FROM epochs",
        "DELETE FROM manifest",
        "UPDATE manifest SET mac = randomblob(64)",
        "UPDATE manifest SET mac = NULL",
        "UPDATE manifest SET identity = 'other'",
    ],
)
def test_a_changed_epoch_or_manifest_is_refused(tmp_path: Path, change: str) -> None:
    opened(tmp_path).close()
    before = attack(tmp_path, "SELECT * FROM epochs"), attack(tmp_path, "SELECT * FROM manifest")
    try:
        attack(tmp_path, change)
    except sqlite3.IntegrityError:
        attack(tmp_path, "UPDATE manifest SET mac = x''")
    after = attack(tmp_path, "SELECT * FROM epochs"), attack(tmp_path, "SELECT * FROM manifest")
    assert before != after
    with pytest.raises(IntegrityError):
        opened(tmp_path)


@pytest.mark.parametrize("column", ["wrapped", "subject"])
def test_exchanged_subject_keys_are_refused(tmp_path: Path, column: str) -> None:
    keyring = opened(tmp_path)
    for subject in (ANN, BOB):
        keyring.create_subject(subject)
    ids = [keyring.data_key(subject).key_id for subject in (ANN, BOB)]
    if column == "wrapped":
        exchange_wrapped(tmp_path, "subject_keys")
    else:
        attack(tmp_path, "UPDATE subject_keys SET subject = '-' WHERE subject = ?", ANN)
        attack(tmp_path, "UPDATE subject_keys SET subject = ? WHERE subject = ?", ANN, BOB)
        attack(tmp_path, "UPDATE subject_keys SET subject = ? WHERE subject = '-'", BOB)
    for ask in (
        lambda: keyring.data_key(ANN),
        lambda: keyring.data_key(BOB),
        lambda: keyring.key_by_id(ids[0]),
        lambda: keyring.key_by_id(ids[1]),
    ):
        with pytest.raises(IntegrityError):
            ask()
    keyring.close()


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE subject_keys SET generation = 2",
        "UPDATE subject_keys SET generation = 'x'",
        "UPDATE subject_keys SET generation = -1",
        "UPDATE subject_keys SET epoch = 2",
        "UPDATE subject_keys SET epoch = 'x'",
        "UPDATE subject_keys SET wrapped = 'text'",
        "UPDATE subject_keys SET wrapped = (SELECT wrapped FROM secrets LIMIT 1)",
        "UPDATE subject_keys SET wrapped = (SELECT wrapped FROM pseudonym_keys LIMIT 1)",
        "UPDATE subject_keys SET wrapped = (SELECT wrapped FROM epochs LIMIT 1)",
        "UPDATE subject_keys SET key_id = x'00'",
        "UPDATE subject_keys SET key_id = 'sixteen letters.'",
    ],
)
def test_a_changed_subject_row_is_refused(tmp_path: Path, keyring: Keyring, change: str) -> None:
    keyring.create_subject(ANN)
    attack(tmp_path, change)
    with pytest.raises(IntegrityError):
        keyring.data_key(ANN)


def test_exchanged_secrets_and_pseudonym_keys_are_refused(tmp_path: Path, keyring: Keyring) -> None:
    for subject in (ANN, BOB):
        keyring.create_subject(subject)
    for name in ("one", "two"):
        keyring.secret(name)
    attack(tmp_path, "UPDATE secrets SET name = '-' WHERE name = 'one'")
    attack(tmp_path, "UPDATE secrets SET name = 'one' WHERE name = 'two'")
    exchange_wrapped(tmp_path, "pseudonym_keys")
    with pytest.raises(IntegrityError):
        keyring.secret("one")
    for subject in (ANN, BOB):
        with pytest.raises(IntegrityError):
            keyring.pseudonym(subject, "2026-11")


def test_rows_of_another_keystore_under_the_same_root_are_refused(tmp_path: Path) -> None:
    vault = FileVault(tmp_path / "root.key")
    rings = [opened(tmp_path / name, vault) for name in ("one", "two")]
    for ring in rings:
        ring.secret("pepper")
        ring.close()
    [(foreign,)] = attack(tmp_path / "one", "SELECT wrapped FROM secrets WHERE name = 'pepper'")
    attack(tmp_path / "two", "UPDATE secrets SET wrapped = ? WHERE name = 'pepper'", foreign)
    ring = opened(tmp_path / "two", vault)
    with pytest.raises(IntegrityError):
        ring.secret("pepper")
    ring.close()


def test_wrapped_keys_are_bound_to_the_identity_of_their_keystore(keyring: Keyring) -> None:
    keyring.create_subject(ANN)
    keyring._forget()
    keyring._identity = "another keystore"
    with pytest.raises(IntegrityError):
        keyring.data_key(ANN)


def test_an_epoch_that_unwraps_to_another_key_is_refused_by_its_commitment(tmp_path: Path) -> None:
    vault = PublicKeyVault()
    opened(tmp_path, vault).close()
    attack(tmp_path, "UPDATE epochs SET wrapped = ?", asyncio.run(vault.wrap(b"k" * 32)).blob)
    with pytest.raises(IntegrityError, match="an epoch of the keystore was changed"):
        opened(tmp_path, vault)


def test_a_subject_whose_making_fails_half_way_has_nothing(
    tmp_path: Path, keyring: Keyring
) -> None:
    def deny(action: int, table: str | None, *rest: object) -> int:
        denied = action == sqlite3.SQLITE_INSERT and table == "pseudonym_keys"
        return sqlite3.SQLITE_DENY if denied else sqlite3.SQLITE_OK

    keyring._connection.set_authorizer(deny)
    with pytest.raises((IntegrityError, UnavailableError)):
        keyring.create_subject(ANN)
    keyring._connection.set_authorizer(None)
    assert attack(tmp_path, "SELECT * FROM subject_keys") == []
    keyring.create_subject(ANN)
    assert keyring.pseudonym(ANN, "2026-11")


WORKER = """
import asyncio, pathlib, sys
from ostiary.keyring import Keyring
from ostiary.keyvaults.file import FileVault
home = pathlib.Path(sys.argv[1])
ring = asyncio.run(
    Keyring.open(home / "keystore.db", FileVault(home / "root.key"), create=True)
)
print(ring.manifest_hash(), ring.secret("pepper").hex(), flush=True)
for number in range(int(sys.argv[2])):
    ring.create_subject(f"subject-{number}")
    print(f"subject-{number}", ring.data_key(f"subject-{number}").key_id.hex(), flush=True)
"""


def worker(home: Path, subjects: int) -> subprocess.Popen[str]:
    source = str(Path(module.__file__).parents[1])
    return subprocess.Popen(
        [sys.executable, "-c", WORKER, str(home), str(subjects)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": source},
    )


def test_processes_that_start_at_once_agree_on_every_key(tmp_path: Path) -> None:
    running = [worker(tmp_path, 20) for _ in range(4)]
    outputs = [process.communicate(timeout=60)[0] for process in running]
    assert [process.returncode for process in running] == [0] * 4
    assert len(set(outputs)) == 1
    assert len(outputs[0].splitlines()) == 21
    assert sorted(os.listdir(tmp_path)) == ["keystore.db", "root.key"]


@pytest.mark.parametrize("lines", [0, 1, 2, 7])
def test_a_killed_process_loses_nothing_that_it_reported(tmp_path: Path, lines: int) -> None:
    process = worker(tmp_path, 10_000)
    assert process.stdout is not None
    reported = [process.stdout.readline().split() for _ in range(lines)]
    if not lines:
        time.sleep(0.25)
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=10)
    process.stdout.close()
    keyring = opened(tmp_path)
    if reported:
        assert reported[0] == [keyring.manifest_hash(), keyring.secret("pepper").hex()]
    for subject, key_id in reported[1:]:
        assert keyring.data_key(subject).key_id.hex() == key_id
        assert keyring.pseudonym(subject, "2026-11")
    keyring.close()


def test_threads_share_one_keyring(keyring: Keyring) -> None:
    seen: list[tuple[str, bytes]] = []

    def work() -> None:
        for number in range(40):
            subject = f"subject-{number}"
            keyring.create_subject(subject)
            seen.append((subject, keyring.data_key(subject).key))
            keyring.pseudonym(subject, "2026-11")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 160
    assert len(set(seen)) == 40


def test_caches_are_bounded_and_an_evicted_key_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CACHE_LIMIT", 3)
    keyring = opened(tmp_path)
    keys = {}
    for number in range(8):
        keyring.create_subject(f"subject-{number}")
        keys[f"subject-{number}"] = keyring.data_key(f"subject-{number}")
        keyring.pseudonym(f"subject-{number}", "2026-11")
        keyring.secret(f"secret-{number}")
    caches = (keyring._active, keyring._by_id, keyring._pseudonyms, keyring._secrets)
    assert [len(cache._entries) for cache in caches] == [3, 3, 3, 3]
    assert {subject: keyring.data_key(subject) for subject in keys} == keys
    keyring.close()


def test_clock_and_randomness_are_the_given_ones(tmp_path: Path) -> None:
    drawn: list[int] = []

    def random(length: int) -> bytes:
        drawn.append(length)
        return os.urandom(length)

    keyring = opened(tmp_path, clock=lambda: 12.5, random=random)
    keyring.create_subject(ANN)
    keyring.close()
    assert attack(tmp_path, "SELECT created FROM epochs") == [(12.5,)]
    assert attack(tmp_path, "SELECT created FROM subject_keys") == [(12.5,)]
    assert drawn.count(32) == 4
    assert drawn.count(16) == 2


def test_files_are_closed_to_others(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        keyring = opened(tmp_path / "home")
        keyring.create_subject(ANN)
    finally:
        os.umask(before)
    home = tmp_path / "home"
    modes = {entry.name: stat.S_IMODE(entry.stat().st_mode) for entry in home.iterdir()}
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert set(modes) == {"root.key", "keystore.db", "keystore.db-wal", "keystore.db-shm"}
    assert set(modes.values()) == {0o600}
    keyring.close()


def test_a_closed_keyring_answers_nothing(tmp_path: Path) -> None:
    keyring = opened(tmp_path)
    keyring.create_subject(ANN)
    keyring.close()
    keyring.close()
    for ask in (
        lambda: keyring.data_key(ANN),
        lambda: keyring.secret("pepper"),
        lambda: keyring.create_subject(BOB),
        lambda: keyring.destroy_subject(ANN),
    ):
        with pytest.raises(UnavailableError):
            ask()


def test_no_key_is_in_a_repr_or_in_the_file(tmp_path: Path, keyring: Keyring) -> None:
    keyring.create_subject(ANN)
    key, pepper = keyring.data_key(ANN).key, keyring.secret("pepper")
    shown = repr(keyring) + repr(vars(keyring)) + repr(keyring.data_key(ANN))
    on_disk = bytes_on_disk(tmp_path)
    for secret in (key, pepper):
        assert repr(secret)[2:-1] not in shown
        assert secret.hex() not in shown
        assert secret not in on_disk
