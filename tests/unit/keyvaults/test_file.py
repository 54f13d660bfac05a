"""The file vault: its root is made once, closed to others, and wraps what only it unwraps."""

from __future__ import annotations

import asyncio
import os
import stat
from pathlib import Path

import pytest

from ostiary.errors import ConfigurationError, IntegrityError
from ostiary.keyring import Wrapped
from ostiary.keyvaults.file import FileVault, Options, build

KEY = bytes(range(32))


def wrap(vault: FileVault, key: bytes = KEY) -> Wrapped:
    return asyncio.run(vault.wrap(key))


def unwrap(vault: FileVault, wrapped: Wrapped) -> bytes:
    return asyncio.run(vault.unwrap(wrapped.version, wrapped.blob))


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_what_was_wrapped_comes_back_from_the_same_file(tmp_path: Path) -> None:
    wrapped = wrap(FileVault(tmp_path / "root.key"))
    assert unwrap(FileVault(tmp_path / "root.key"), wrapped) == KEY
    assert KEY not in wrapped.blob


def test_the_path_is_relative_to_the_home_or_absolute(tmp_path: Path) -> None:
    wrap(build(Options(), home=tmp_path))
    assert (tmp_path / "root.key").is_file()
    wrap(build(Options(path=str(tmp_path / "else" / "k")), home=tmp_path))
    assert (tmp_path / "else" / "k").is_file()


def test_building_touches_no_file(tmp_path: Path) -> None:
    build(Options(), home=tmp_path / "home")
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
def test_file_and_folder_are_closed_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        wrap(FileVault(tmp_path / "home" / "root.key"))
    finally:
        os.umask(before)
    assert mode(tmp_path / "home") == 0o700
    assert mode(tmp_path / "home" / "root.key") == 0o600
    assert os.listdir(tmp_path / "home") == ["root.key"]


def test_the_file_has_the_documented_form(tmp_path: Path) -> None:
    wrapped = wrap(FileVault(tmp_path / "root.key", random=lambda n: b"\xab" * n))
    assert (tmp_path / "root.key").read_text() == (
        f"ostiary-root-key 1\n{wrapped.version} {'ab' * 32}\n"
    )


@pytest.mark.parametrize("bits", [0o640, 0o604, 0o620, 0o610, 0o666])
def test_a_file_open_to_others_is_refused_with_the_command_to_run(
    tmp_path: Path, bits: int
) -> None:
    path = tmp_path / "root.key"
    wrapped = wrap(FileVault(path))
    path.chmod(bits)
    with pytest.raises(ConfigurationError, match="chmod 600") as caught:
        unwrap(FileVault(path), wrapped)
    assert str(path) in str(caught.value)
    with pytest.raises(ConfigurationError):
        wrap(FileVault(path))


def test_a_folder_where_others_write_is_refused(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared").chmod(0o777)
    with pytest.raises(ConfigurationError, match="chmod 700"):
        wrap(FileVault(tmp_path / "shared" / "root.key"))
    assert os.listdir(tmp_path / "shared") == []


def test_unwrapping_never_makes_a_root(tmp_path: Path) -> None:
    wrapped = wrap(FileVault(tmp_path / "one.key"))
    with pytest.raises(ConfigurationError, match="backup"):
        unwrap(FileVault(tmp_path / "two.key"), wrapped)
    assert not (tmp_path / "two.key").exists()


def test_another_root_does_not_unwrap(tmp_path: Path) -> None:
    one, two = FileVault(tmp_path / "one.key"), FileVault(tmp_path / "two.key")
    wrapped, other = wrap(one), wrap(two)
    with pytest.raises(IntegrityError):
        unwrap(two, wrapped)
    with pytest.raises(IntegrityError):
        unwrap(one, Wrapped(wrapped.version, other.blob))
    with pytest.raises(IntegrityError):
        unwrap(one, Wrapped(wrapped.version, wrapped.blob[:-1]))


def test_every_changed_character_of_the_file_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "root.key"
    wrapped = wrap(FileVault(path))
    content = path.read_bytes()
    for position in range(len(content) - 1):
        changed = b"1" if content[position : position + 1] != b"1" else b"2"
        path.write_bytes(content[:position] + changed + content[position + 1 :])
        with pytest.raises(IntegrityError) as caught:
            unwrap(FileVault(path), wrapped)
        assert content.split()[-1].decode() not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"\n", b"ostiary-root-key 1\n", b"\xff" * 200, b"x" * 9])
def test_a_file_that_is_no_root_key_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "root.key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(IntegrityError):
        wrap(FileVault(path))
    assert path.read_bytes() == content


def test_the_last_line_is_the_newest_root_and_older_ones_still_unwrap(tmp_path: Path) -> None:
    old, new = tmp_path / "old.key", tmp_path / "new.key"
    before = wrap(FileVault(old))
    newest = wrap(FileVault(new))
    with old.open("a") as file:
        file.write(new.read_text().split("\n", 1)[1])
    after = wrap(FileVault(old))
    assert after.version == newest.version != before.version
    assert unwrap(FileVault(old), before) == unwrap(FileVault(old), after) == KEY


def test_a_root_that_was_just_made_by_another_process_is_used(tmp_path: Path) -> None:
    path = tmp_path / "root.key"
    first = wrap(FileVault(path))
    FileVault(path)._create()
    assert unwrap(FileVault(path), first) == KEY
    assert os.listdir(tmp_path) == ["root.key"]


def test_no_secret_is_in_a_repr(tmp_path: Path) -> None:
    vault = FileVault(tmp_path / "root.key", random=lambda n: b"\xab" * n)
    wrapped = wrap(vault)
    assert "abab" not in repr(vault)
    assert repr(wrapped) == f"Wrapped(version={wrapped.version!r})"
