"""How the server starts, refuses to start, and ends; what it leaves on the disk."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

import pytest

from tests.simulator.command import ostiary
from tests.simulator.gateway import Gateway

SHIM = f'#!/bin/sh\nexec "{sys.executable}" -m ostiary "$@"\n'


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with Gateway(tmp_path_factory.mktemp("served") / "home") as gateway:
        pass
    return gateway.home


@pytest.fixture
def used(served, home):
    """A home that a gateway served and left in order."""
    return shutil.copytree(served, home)


def refused(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`serve` that must end by itself, in words."""
    done = Gateway(home).command("serve", "--port", "0", *arguments, check=False)
    assert "Traceback" not in done.stderr
    assert done.stderr.strip()
    assert "listens" not in done.stdout
    return done


def modes(folder: Path) -> dict[str, int]:
    return {
        str(path.relative_to(folder.parent)): stat.S_IMODE(path.lstat().st_mode)
        for path in (folder, *folder.rglob("*"))
    }


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_order(used, number):
    gateway = Gateway(used)
    gateway.start()
    os.kill(gateway.pid, number)
    assert gateway.stop() == 0
    assert "Traceback" not in gateway.log
    assert not [name for name in os.listdir(used) if name.endswith(("-wal", "-shm"))]


@pytest.mark.parametrize("umask", [0o000, pytest.param(0o022, marks=pytest.mark.slow)])
def test_everything_is_closed_to_others_whatever_the_umask(home, umask):
    before = os.umask(umask)
    try:
        with Gateway(home) as gateway:
            running = modes(home)
            gateway.command("keys", "list")
    finally:
        os.umask(before)
    for found in (running, modes(home)):
        assert len(found) > 8
        folders = {name for name in found if (home.parent / name).is_dir()}
        assert {found[name] for name in folders} == {0o700}
        assert {mode for name, mode in found.items() if name not in folders} == {0o600}


def test_a_second_server_on_one_home_is_refused(used):
    with Gateway(used) as first:
        done = refused(used)
        assert first.alive
    assert done.returncode == 2
    assert "another gateway is running" in done.stderr


def test_a_used_port_is_refused(home):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = refused(home, "--port", str(taken.getsockname()[1]))
    assert done.returncode == 2
    assert "server.port" in done.stderr
    assert not home.exists()


def test_a_keystore_of_another_home_is_refused(used, tmp_path):
    other = tmp_path / "other"
    assert ostiary(other, "token", "--user", "ada").code == 0
    for name in ("keystore.db", "root.key"):
        if (other / name).exists():
            shutil.copyfile(other / name, used / name)
    for path in used.glob("keystore.db-*"):
        path.unlink()
    done = refused(used)
    assert done.returncode == 3


def test_a_lost_keystore_is_refused_and_none_is_made(used):
    for path in used.glob("keystore.db*"):
        path.unlink()
    done = refused(used)
    assert done.returncode in (2, 3)
    assert not (used / "keystore.db").exists()


@pytest.mark.parametrize("lost", ["checkpoint", "tile"])
def test_a_log_that_lost_its_files_is_refused(used, lost):
    path = used / "ledger" / lost
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert refused(used).returncode == 3


def test_nothing_of_an_ephemeral_gateway_remains(home, tmp_path):
    def kept() -> set[str]:
        folders = [Path("/dev/shm"), Path(tempfile.gettempdir())]
        return {str(p) for f in folders if f.is_dir() for p in f.glob("ostiary-*")}

    before = kept()
    with Gateway(home, arguments=["--ephemeral"]) as gateway:
        during = kept() - before
        assert len(during) == 1
        assert modes(Path(during.pop()))
        assert chat(gateway.url, gateway.key) == 200
    assert kept() == before
    assert not home.exists()
    assert list(tmp_path.iterdir()) == [tmp_path / "home.stderr"]


def chat(url: str, key: str) -> int:
    request = urllib.request.Request(
        f"{url}/api/chat",
        b'{"message": "hello"}',
        {"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=20) as response:
        return response.status


def test_the_pastes_of_the_first_start_work_as_they_stand(home, tmp_path):
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "ostiary").write_text(SHIM)
    (programs / "ostiary").chmod(0o755)
    gateway = Gateway(home, limits="default")
    gateway.environment["PATH"] = f"{programs}{os.pathsep}{os.environ['PATH']}"
    with gateway:
        call, attack, doctor = pastes(gateway.banner)
        said = [
            subprocess.run(
                ["bash", "-c", paste],
                env=gateway.environment,
                cwd=tmp_path,
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            for paste in (call, attack, doctor)
        ]
    assert "Echo: Hello, doorkeeper" in said[0].stdout
    assert "malicious content" in said[1].stdout
    assert doctor == "ostiary doctor"
    assert re.search(r"Score: \d+ of 100", said[2].stdout)
    assert said[2].returncode in (0, 1)
    assert all("Traceback" not in done.stderr for done in said)


def pastes(banner: str) -> list[str]:
    """What stands alone between two blank lines of the banner, or at its end."""
    parts = [part.strip("\n") for part in banner.split("\n\n")]
    return [part for part in parts if part.startswith(("curl ", "ostiary "))]


def test_the_key_is_shown_at_the_first_start_alone(home):
    with Gateway(home) as first:
        key = first.key
        assert first.banner.count(key) >= 1
    with Gateway(home) as second:
        assert not second.key
        assert chat(second.url, key) == 200
    files = b"".join(p.read_bytes() for p in home.rglob("*") if p.is_file())
    assert key.encode() not in files
    assert key.encode()[-40:] not in files
