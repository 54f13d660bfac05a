"""TLS as a client sees it: the profile, the header, and certificates that change under load."""

from __future__ import annotations

import http.client
import os
import shutil
import socket
import ssl
import subprocess
import threading
import time
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.absent import absent
from tests.simulator.certificates import Authority, Mounted
from tests.simulator.client import send
from tests.simulator.gateway import Gateway

HEADER = "strict-transport-security"
TWO_YEARS = "max-age=63072000"
WITHIN = 10.0


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def mounted(tmp_path_factory, authority):
    return Mounted(tmp_path_factory.mktemp("mounted") / "pair", authority)


@pytest.fixture(scope="module")
def served(tmp_path_factory, mounted):
    with Gateway(tmp_path_factory.mktemp("tls") / "home", mounted.settings) as gateway:
        yield gateway


def sslyze() -> str:
    """The scanner, from an environment of its own: it needs an older cryptography than ours."""
    own = Path(__file__).resolve().parents[2] / ".venv-sslyze" / "bin" / "sslyze"
    found = os.environ.get("OSTIARY_SSLYZE") or shutil.which(str(own))
    if found is None:
        absent("no sslyze: `make sslyze` sets it up in .venv-sslyze; OSTIARY_SSLYZE names another")
    return found


def address(gateway: Gateway) -> tuple[str, int]:
    parts = urlsplit(gateway.url)
    return parts.hostname, parts.port


def secure(gateway: Gateway, authority: Authority) -> http.client.HTTPSConnection:
    return http.client.HTTPSConnection(*address(gateway), context=authority.trust(), timeout=20)


def ask(connection: http.client.HTTPConnection, path: str = "/livez") -> tuple[int, str | None]:
    connection.request("GET", path)
    response = connection.getresponse()
    response.read()
    return response.status, response.getheader(HEADER)


def serial(gateway: Gateway, authority: Authority) -> int:
    """The serial number of the certificate that a new connection is shown."""
    with (
        socket.create_connection(address(gateway), timeout=20) as raw,
        authority.trust().wrap_socket(raw, server_hostname="localhost") as connection,
    ):
        return int(connection.getpeercert()["serialNumber"], 16)


def wait_for(gateway: Gateway, authority: Authority, wanted: int) -> float:
    """How long it takes until new connections are shown the wanted certificate."""
    begun = time.monotonic()
    while serial(gateway, authority) != wanted:
        assert time.monotonic() - begun < WITHIN, "the changed files are not served"
        time.sleep(0.1)
    return time.monotonic() - begun


def test_every_answer_over_tls_says_so(served, authority):
    assert served.url.startswith("https://127.0.0.1:")
    with closing(secure(served, authority)) as connection:
        for path in ("/livez", "/openapi.json", "/v1/models", "/nowhere"):
            assert ask(connection, path)[1] == TWO_YEARS
    with (
        socket.create_connection(address(served), timeout=20) as clear,
        authority.trust().wrap_socket(clear, server_hostname="localhost") as raw,
    ):
        raw.sendall(b"no HTTP at all\r\n\r\n")
        assert b"400" in (got := raw.recv(65_536))
        assert f"{HEADER}: {TWO_YEARS}".encode() in got


def test_no_answer_without_tls_says_so(tmp_path):
    with Gateway(tmp_path / "home") as plain:
        for path in ("/livez", "/v1/models"):
            headers = {"X-Forwarded-Proto": "https"}
            assert HEADER not in send(plain.url, "GET", path, headers=headers).headers


def test_behind_a_proxy_its_word_decides_and_nobody_elses(tmp_path):
    settings = {
        "OSTIARY_SERVER__TLS": "proxy",
        "OSTIARY_SERVER__TRUSTED_PROXIES": '["127.0.0.1/32"]',
    }
    with Gateway(tmp_path / "home", settings) as behind:

        def said(*values: str) -> bool:
            pairs = [("X-Forwarded-Proto", value) for value in values]
            return HEADER in send(behind.url, "GET", "/v1/models", headers=pairs).headers

        assert said("https")
        assert not said("http")
        assert not said("https", "http")
        assert not said("http, https")
        assert not said()


def test_clear_text_gets_no_answer(served):
    with socket.create_connection(address(served), timeout=20) as raw:
        raw.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b"HTTP" not in raw.recv(65_536)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_older_protocols_are_refused(served, authority, version):
    context = authority.trust()
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = version
    with socket.create_connection(address(served), timeout=20) as raw, pytest.raises(ssl.SSLError):
        context.wrap_socket(raw, server_hostname="localhost")


@pytest.mark.parametrize("suite", ["ECDHE-ECDSA-AES128-SHA256", "ECDHE-ECDSA-AES256-SHA"])
def test_suites_without_aead_are_refused(served, authority, suite):
    context = authority.trust()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(suite)
    with socket.create_connection(address(served), timeout=20) as raw, pytest.raises(ssl.SSLError):
        context.wrap_socket(raw, server_hostname="localhost")


@pytest.mark.parametrize("group", ["X448", "secp521r1"])
def test_groups_beyond_the_profile_are_refused(served, authority, group):
    context = authority.trust()
    context.set_ecdh_curve(group)
    with socket.create_connection(address(served), timeout=20) as raw, pytest.raises(ssl.SSLError):
        context.wrap_socket(raw, server_hostname="localhost")


def test_mozillas_intermediate_profile_is_met(served, authority):
    port = address(served)[1]
    done = subprocess.run(
        [
            sslyze(),
            "--mozilla_config=intermediate",
            f"--certinfo_ca_file={authority.file}",
            f"127.0.0.1:{port}",
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    verdict = done.stdout.partition("COMPLIANCE AGAINST TLS CONFIGURATION")[2]
    assert f"127.0.0.1:{port}: OK - Compliant." in verdict, verdict
    assert done.returncode == 0


def test_a_handshake_without_an_end_is_let_go(served):
    with socket.create_connection(address(served), timeout=20) as raw:
        raw.sendall(b"\x16\x03\x01")
        begun = time.monotonic()
        assert raw.recv(1) == b""
        assert time.monotonic() - begun < 15


def test_changed_files_are_served_under_load_and_no_request_fails(served, authority, mounted):
    stop = threading.Event()
    faults: list[str] = []
    asked = [0, 0]

    def kept() -> None:
        with closing(secure(served, authority)) as connection:
            while not stop.is_set():
                asked[0] += 1
                if ask(connection) != (200, TWO_YEARS):
                    faults.append("a kept connection failed")
                time.sleep(0.005)

    def new() -> None:
        while not stop.is_set():
            with closing(secure(served, authority)) as connection:
                asked[1] += 1
                if ask(connection) != (200, TWO_YEARS):
                    faults.append("a new connection failed")

    def guarded(work) -> None:
        try:
            work()
        except (OSError, http.client.HTTPException) as cause:
            faults.append(repr(cause))

    threads = [threading.Thread(target=guarded, args=(work,)) for work in (kept, new, new)]
    for thread in threads:
        thread.start()
    try:
        for change in (mounted.renew, mounted.rewrite, mounted.renew):
            wait_for(served, authority, change())
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not faults
    assert min(asked) > 50


def test_a_pair_that_does_not_fit_leaves_the_former(served, authority, mounted):
    before = serial(served, authority)
    logged = served.log.count("tls_files_refused")
    mounted.renew(wrong_key=True)
    time.sleep(5)
    assert serial(served, authority) == before
    assert served.log.count("tls_files_refused") == logged + 1
    assert "server.tls_key_file" in served.log
    mounted.write(b"-----BEGIN nothing", b"-----BEGIN nothing")
    time.sleep(3)
    assert serial(served, authority) == before
    wait_for(served, authority, mounted.renew())
    assert "PRIVATE KEY" not in served.log


@pytest.mark.parametrize("wrong", ["missing", "other"])
def test_a_pair_that_cannot_be_served_ends_the_start(tmp_path, authority, wrong):
    pair = Mounted(tmp_path / "pair", authority)
    if wrong == "other":
        pair.renew(wrong_key=True)
    else:
        (tmp_path / "pair" / "now" / "tls.key").unlink()
    done = Gateway(tmp_path / "home", pair.settings).command("serve", "--port", "0", check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(
        "OSTIARY_SERVER__TLS_KEY_FILE: " if wrong == "missing" else "server.tls_key_file: "
    )
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "home").exists()


def test_the_pastes_of_the_banner_are_right(tmp_path, authority):
    pair = Mounted(tmp_path / "pair", authority)
    chain, key, _ = authority.issue(("gateway.test",))
    pair.write(chain, key)
    hosts = {"OSTIARY_SERVER__HOSTS": '["127.0.0.1", "gateway.test"]'}
    with Gateway(tmp_path / "home", {**pair.settings, **hosts}) as gateway:
        assert gateway.url.startswith("https://gateway.test:")
        paste = next(p for p in gateway.banner.split("\n\n") if p.startswith("curl "))
        done = subprocess.run(
            ["bash", "-c", paste], capture_output=True, text=True, timeout=60, check=False
        )
    assert "Echo: Hello, doorkeeper" in done.stdout


def test_the_settings_are_accepted_and_shown(tmp_path, authority):
    pair = Mounted(tmp_path / "pair", authority)
    gateway = Gateway(tmp_path / "home", pair.settings)
    assert gateway.command("config", "check").returncode == 0
    shown = gateway.command("config", "show", "--redact", "--json").stdout
    assert pair.settings["OSTIARY_SERVER__TLS_KEY_FILE"] in shown
