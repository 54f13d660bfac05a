"""The keystore's file: its modes, its schema, and its manifest."""

from __future__ import annotations

import os
import sqlite3
import stat
from pathlib import Path

import pytest

from ostiary import keystore
from ostiary.errors import ConfigurationError, IntegrityError, UnavailableError
from ostiary.keystore import Epoch, Stored

KEY_1, KEY_2 = b"1" * 32, b"2" * 32


def laid_out(path: Path) -> sqlite3.Connection:
    connection = keystore.connect(path, create=True)
    first = Epoch(1, "file", "v", b"wrapped", keystore.commitment(KEY_1), "active")
    keystore.lay_out(connection, "id", first, KEY_1, 1.0)
    return connection


def epoch(number: int, key: bytes, state: str = "active") -> Epoch:
    return Epoch(number, "file", "v", b"w", keystore.commitment(key), state)


def stored(epochs: list[Epoch], keys: list[bytes]) -> Stored:
    manifest = keystore._manifest("id", epochs)
    return Stored("id", keystore.manifest_mac(manifest, keys), epochs)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
def test_every_file_is_closed_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        connection = laid_out(tmp_path / "home" / "keystore.db")
    finally:
        os.umask(before)
    home = tmp_path / "home"
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    modes = {entry.name: stat.S_IMODE(entry.stat().st_mode) for entry in home.iterdir()}
    connection.close()
    assert modes == dict.fromkeys(["keystore.db", "keystore.db-wal", "keystore.db-shm"], 0o600)


def test_the_file_is_durable_and_deletes_securely(tmp_path: Path) -> None:
    connection = laid_out(tmp_path / "keystore.db")
    pragmas = ("journal_mode", "synchronous", "secure_delete")
    values = [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in pragmas]
    connection.close()
    assert values == ["wal", 2, 1]


def test_secure_deletion_is_asked_for_whatever_sqlite_was_built_with(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "plain.db", isolation_level=None)
    connection.execute("PRAGMA secure_delete = OFF")
    keystore._prepare(connection, tmp_path / "plain.db")
    assert connection.execute("PRAGMA secure_delete").fetchone() == (1,)
    connection.close()


def test_a_missing_file_is_not_made_unasked(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="missing"):
        keystore.connect(tmp_path / "keystore.db", create=False)
    assert os.listdir(tmp_path) == []


def test_a_file_open_to_others_is_refused_with_the_command_to_run(tmp_path: Path) -> None:
    path = tmp_path / "keystore.db"
    laid_out(path).close()
    path.chmod(0o640)
    for create in (True, False):
        with pytest.raises(ConfigurationError, match="chmod 600"):
            keystore.connect(path, create=create)


def test_a_newer_schema_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "keystore.db"
    connection = laid_out(path)
    connection.execute("PRAGMA user_version = 2")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(ConfigurationError, match="newer Ostiary"):
        keystore.connect(path, create=True)
    assert path.read_bytes() == before


def test_a_folder_that_cannot_be_made_is_a_wrong_setting(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "keystore.db", tmp_path / "file" / "deep" / "keystore.db"):
        for create in (True, False):
            with pytest.raises(ConfigurationError):
                keystore.connect(path, create=create)


def test_an_empty_file_is_not_a_keystore(tmp_path: Path) -> None:
    connection = keystore.connect(tmp_path / "keystore.db", create=True)
    with pytest.raises(ConfigurationError, match="empty"):
        keystore.read_epochs(connection)
    connection.close()


@pytest.mark.parametrize(
    "planted",
    [
        "CREATE TABLE copies (wrapped)",
        "CREATE TRIGGER keep BEFORE UPDATE ON subject_keys BEGIN SELECT 1; END",
        "CREATE VIEW seen AS SELECT * FROM secrets",
        "DROP TABLE secrets",
        "DROP INDEX one_active_key",
    ],
)
def test_a_planted_or_missing_part_of_the_schema_is_refused(tmp_path: Path, planted: str) -> None:
    connection = laid_out(tmp_path / "keystore.db")
    connection.execute(planted)
    with pytest.raises(IntegrityError, match="schema"):
        keystore.read_epochs(connection)
    connection.close()


def test_laying_out_twice_keeps_the_first(tmp_path: Path) -> None:
    connection = laid_out(tmp_path / "keystore.db")
    keystore.lay_out(connection, "other", epoch(1, KEY_2), KEY_2, 2.0)
    found = keystore.read_epochs(connection)
    connection.close()
    assert found.identity == "id"
    assert [row.commitment for row in found.epochs] == [keystore.commitment(KEY_1)]


def test_a_killed_layout_leaves_nothing_that_stops_the_next(tmp_path: Path) -> None:
    path = tmp_path / "keystore.db"
    steps: list[str] = []
    whole = laid_out(tmp_path / "whole.db")
    whole.close()
    for limit in range(1, 9):
        connection = keystore.connect(path, create=True)
        steps.clear()

        def stop(action: int, *rest: object, limit: int = limit) -> int:
            if action in {sqlite3.SQLITE_CREATE_TABLE, sqlite3.SQLITE_INSERT}:
                steps.append("step")
            return sqlite3.SQLITE_DENY if len(steps) > limit else sqlite3.SQLITE_OK

        connection.set_authorizer(stop)
        with pytest.raises(sqlite3.DatabaseError):
            keystore.lay_out(connection, "id", epoch(1, KEY_1), KEY_1, 1.0)
        connection.close()
    connection = laid_out(path)
    assert keystore.read_epochs(connection).identity == "id"
    connection.close()


def test_a_failed_transaction_leaves_the_connection_usable(tmp_path: Path) -> None:
    connection = laid_out(tmp_path / "keystore.db")
    with pytest.raises(ZeroDivisionError), keystore.transaction(connection):
        connection.execute("DELETE FROM manifest")
        raise ZeroDivisionError
    assert not connection.in_transaction
    assert keystore.read_epochs(connection).identity == "id"
    connection.close()


def test_the_manifest_holds_for_the_keys_it_was_made_with() -> None:
    epochs = [epoch(1, KEY_1, "decrypt_only"), epoch(2, KEY_2)]
    manifest = keystore.verify_manifest(stored(epochs, [KEY_1, KEY_2]), {2: KEY_2, 1: KEY_1})
    assert manifest == (
        b'{"epochs":[{"commitment":"%s","id":1,"state":"decrypt_only"},'
        b'{"commitment":"%s","id":2,"state":"active"}],"keystore":"id","v":1}'
        % (epochs[0].commitment.hex().encode(), epochs[1].commitment.hex().encode())
    )


def test_an_epoch_planted_by_who_lacks_one_living_key_is_refused() -> None:
    epochs = [epoch(1, KEY_1, "decrypt_only"), epoch(2, KEY_2)]
    for known in ([KEY_2], [KEY_2, KEY_2], [b"0" * 32, KEY_2], []):
        with pytest.raises(IntegrityError, match="planted"):
            keystore.verify_manifest(stored(epochs, known), {1: KEY_1, 2: KEY_2})


@pytest.mark.parametrize(
    "changed",
    [
        [epoch(1, KEY_1), epoch(2, KEY_2, "decrypt_only")],
        [epoch(1, KEY_1), epoch(2, KEY_2)],
        [epoch(1, KEY_1, "decrypt_only"), epoch(2, KEY_2, "decrypt_only")],
        [epoch(2, KEY_2)],
        [],
    ],
)
def test_a_changed_state_or_set_of_epochs_is_refused(changed: list[Epoch]) -> None:
    keys = {1: KEY_1, 2: KEY_2}
    genuine = stored([epoch(1, KEY_1, "decrypt_only"), epoch(2, KEY_2)], [KEY_1, KEY_2])
    with pytest.raises(IntegrityError):
        keystore.verify_manifest(Stored("id", genuine.mac, changed), keys)
    with pytest.raises(IntegrityError):
        keystore.verify_manifest(Stored("other", genuine.mac, genuine.epochs), keys)


def test_sqlite_errors_become_ours() -> None:
    for raised, expected in (
        (sqlite3.OperationalError("locked"), UnavailableError),
        (sqlite3.ProgrammingError("closed"), UnavailableError),
        (sqlite3.DatabaseError("malformed"), IntegrityError),
    ):
        with pytest.raises(expected), keystore.explained():
            raise raised


def test_no_wrapped_key_is_in_a_repr() -> None:
    assert "wrapped" not in repr(epoch(1, KEY_1))
