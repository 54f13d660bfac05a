"""Secrets cannot be printed; a file that changes is used without a restart."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ostiary.config import Secret, SecretFile


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_no_print_shows_a_secret() -> None:
    secret = Secret("sk-123")
    shown = [repr(secret), str(secret), f"{secret}", f"{secret!r}", repr([secret])]
    assert not [text for text in shown if "123" in text]
    assert secret.reveal() == "sk-123"


def test_secrets_are_equal_by_value() -> None:
    assert Secret("a") == Secret("a") != Secret("b")
    assert Secret("a") != "a"


@pytest.mark.parametrize("text", ["", "a b", "a\n", "\x00", "ключ"])
def test_what_no_header_can_carry_is_no_secret(text: str) -> None:
    with pytest.raises(ValueError, match="printable ASCII") as caught:
        Secret(text)
    assert not text or text not in str(caught.value)


def test_a_rewritten_file_is_used_within_ten_seconds(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "key"
    path.write_text("first\n")
    secret = SecretFile("key", folder=tmp_path, clock=clock)
    path.write_text("second\r\n")
    assert secret.current().reveal() == "first"
    clock.now += 10
    assert secret.current().reveal() == "second"


def test_a_swapped_link_is_used_within_ten_seconds(tmp_path: Path, clock: Clock) -> None:
    for name in ("first", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "key").write_text(name)
        os.utime(tmp_path / name / "key", ns=(1, 1))
    (tmp_path / "now").symlink_to("first")
    secret = SecretFile("now/key", folder=tmp_path, clock=clock)
    (tmp_path / "next").symlink_to("other")
    (tmp_path / "next").replace(tmp_path / "now")
    clock.now += 10
    assert secret.current().reveal() == "other"


@pytest.mark.parametrize("content", [None, b"", b"two words", b"\xff", b"x" * 70_000])
def test_a_broken_rotation_leaves_the_former_secret(
    tmp_path: Path, clock: Clock, content: bytes | None
) -> None:
    path = tmp_path / "key"
    path.write_text("first")
    secret = SecretFile("key", folder=tmp_path, clock=clock)
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    clock.now += 10
    assert secret.current().reveal() == "first"
    path.write_text("mended")
    clock.now += 10
    assert secret.current().reveal() == "mended"


def test_a_file_is_looked_at_once_a_second_at_most(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "key"
    path.write_text("first")
    secret = SecretFile("key", folder=tmp_path, clock=clock)
    path.write_text("second")
    clock.now += 0.5
    assert secret.current().reveal() == "first"


def test_a_file_has_no_print_of_its_secret(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("sk-123")
    assert repr(SecretFile("key", folder=tmp_path)) == "***"
