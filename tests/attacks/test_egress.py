"""Where the gateway connects to, whatever the names of its upstreams say."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import time
from pathlib import Path

import pytest
import trustme
from aiohttp import web

from tests.absent import absent
from tests.attacks.test_upstream_tls import TlsUpstream
from tests.simulator.answers import completion
from tests.simulator.client import bearer, chat, check_problem, send
from tests.simulator.gateway import Gateway, upstream_settings
from tests.simulator.upstream import Upstream

HOST = "model.corp.example"
INNER = "10.44.9.1"
NEVER = (
    *("169.254.169.254", "168.63.129.16"),
    *("::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::1"),
)
SPELLINGS = (
    *("2130706433", "017700000001", "0x7f000001", "127.1", "0177.0.0.1", "127.0.0.1.", "0x7f.1"),
    *("[::ffff:127.0.0.1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::1]", "user@127.0.0.1"),
)


@pytest.fixture
def world(tmp_path):
    """Names of our own: `world(host, addresses…)` sets one."""
    path = tmp_path / "names.json"
    path.write_text("{}")

    def set_name(host: str, *addresses: str) -> Path:
        names = {**json.loads(path.read_text()), host: addresses}
        fresh = tmp_path / "names.new"
        fresh.write_text(json.dumps(names))
        fresh.replace(path)
        return path

    return set_name


@pytest.fixture
def model():
    with Upstream() as upstream:
        yield upstream


@pytest.fixture(scope="module")
def inner():
    """An address of RFC 1918 on this machine, for as long as the tests run."""
    command = ("ip", "addr", "add", f"{INNER}/32", "dev", "lo")
    try:
        added = subprocess.run(command, capture_output=True, check=False)
    except FileNotFoundError:
        absent("the tests of private addresses need iproute2")
    if added.returncode and b"exists" not in added.stderr and b"assigned" not in added.stderr:
        absent("the tests of private addresses need root to give this machine one")
    yield INNER
    subprocess.run(("ip", "addr", "del", f"{INNER}/32", "dev", "lo"), check=False)


def _behind(model: Upstream, host: str, **more: str) -> dict[str, str]:
    port = model.root.rpartition(":")[2]
    settings = upstream_settings(f"http://{host}:{port}/v1")
    return settings | {f"OSTIARY_PROVIDERS__MAIN__{k.upper()}": v for k, v in more.items()}


def _ask(gateway: Gateway):
    return send(gateway.url, "POST", "/v1/chat/completions", chat("hello"), bearer(gateway.key))


def _check_barred(answer, *, hidden: str) -> None:
    body = check_problem(answer, 502)
    assert (body["layer"], body["rule"]) == ("forward", "provider-egress")
    assert hidden not in json.dumps(body)


async def _once(request, body):
    """An answer after which the connection is over."""
    return web.json_response(completion("hello"), headers={"Connection": "close"})


def test_a_name_that_leads_inside_is_refused_unless_listed(tmp_path, world, model):
    names = world(HOST, "127.0.0.1")
    with Gateway(tmp_path / "a", _behind(model, HOST), names=names) as gateway:
        _check_barred(_ask(gateway), hidden="127.0.0.1")
        assert not model.received
        assert "upstream_forbidden" in gateway.log
        assert "127.0.0.1:" not in gateway.log
    listed = _behind(model, HOST, allow_addresses='["127.0.0.0/8"]')
    with Gateway(tmp_path / "b", listed, names=names) as gateway:
        assert _ask(gateway).status == 200


def test_a_name_that_changes_its_mind_is_judged_again(tmp_path, world, model):
    names = world(HOST, "127.0.0.1")
    listed = _behind(model, HOST, allow_addresses='["127.0.0.1/32"]')
    model.behave(_once)
    with Gateway(tmp_path / "home", listed, names=names) as gateway:
        assert _ask(gateway).status == 200
        asked = len(model.received)
        world(HOST, "127.0.0.2")
        _check_barred(_ask(gateway), hidden="127.0.0.2")
        assert len(model.received) == asked
        world(HOST, "127.0.0.1")
        assert _ask(gateway).status == 200


def test_one_forbidden_address_bars_the_whole_name(tmp_path, world, model):
    names = world(HOST, "127.0.0.1", "127.0.0.2")
    listed = _behind(model, HOST, allow_addresses='["127.0.0.1/32"]')
    with Gateway(tmp_path / "home", listed, names=names) as gateway:
        _check_barred(_ask(gateway), hidden="127.0.0.2")
    assert not model.received


@pytest.mark.parametrize("address", NEVER)
def test_some_addresses_are_never_dialled(tmp_path, world, model, address):
    names = world(HOST, address)
    listed = _behind(model, HOST, allow_addresses='["127.0.0.0/8"]')
    with Gateway(tmp_path / "home", listed, names=names) as gateway:
        _check_barred(_ask(gateway), hidden=address)
    assert not model.received


def test_the_machines_own_identity_service_is_no_provider(tmp_path):
    settings = upstream_settings("http://169.254.169.254/v1")
    with Gateway(tmp_path / "home", settings) as gateway:
        began = time.monotonic()
        _check_barred(_ask(gateway), hidden="169.254")
        assert time.monotonic() - began < 2


@pytest.mark.parametrize("host", SPELLINGS)
def test_other_spellings_of_an_address_are_configuration_errors(tmp_path, host):
    gateway = Gateway(tmp_path / "home", upstream_settings(f"http://{host}:9000/v1"))
    done = gateway.command("config", "check", check=False)
    assert done.returncode == 2
    assert "OSTIARY_PROVIDERS__MAIN__BASE_URL" in done.stderr


@pytest.mark.parametrize("network", ["169.254.0.0/16", "168.63.129.0/24", "fe80::/10", "::/0"])
def test_what_is_never_dialled_cannot_be_listed(tmp_path, network):
    settings = upstream_settings("http://model.example/v1")
    settings["OSTIARY_PROVIDERS__MAIN__ALLOW_ADDRESSES"] = json.dumps([network])
    done = Gateway(tmp_path / "home", settings).command("config", "check", check=False)
    assert done.returncode == 2
    assert "OSTIARY_PROVIDERS__MAIN__ALLOW_ADDRESSES" in done.stderr


class InnerModel(TlsUpstream):
    """The model behind TLS, at the private address."""

    async def _start(self) -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, INNER, 0, ssl_context=self._context)
        await site.start()
        self.root = f"https://{INNER}:{site._server.sockets[0].getsockname()[1]}"


@pytest.fixture
def private(tmp_path, inner):
    """A model at a private address behind TLS, and the settings of private mode."""
    authority = trustme.CA()
    bundle = tmp_path / "roots.pem"
    authority.cert_pem.write_to_path(bundle)
    with InnerModel(authority.issue_cert(HOST)) as model:
        port = model.root.rpartition(":")[2]
        settings = upstream_settings(f"https://{HOST}:{port}/v1")
        yield settings | {"OSTIARY_NETWORK__PRIVATE": "true", "SSL_CERT_FILE": str(bundle)}


def test_private_mode_serves_from_private_addresses(tmp_path, world, private):
    names = world(HOST, INNER)
    with Gateway(tmp_path / "home", private, names=names) as gateway:
        assert _ask(gateway).status == 200
        looked = json.loads(gateway.command("network", "verify", "--json", check=False).stdout)
        states = {check["check"]: check["state"] for check in looked["checks"]}
        assert states["private-address"] == states["tls"] == "good"
        assert states["clock"] == "good"
        assert states["egress"] == "not-measured"


@pytest.mark.parametrize("addresses", [("8.8.8.8",), (INNER, "8.8.8.8"), ("127.0.0.1",), ()])
def test_private_mode_does_not_start_beside_anything_else(tmp_path, world, private, addresses):
    names = world(HOST, *addresses)
    done = Gateway(tmp_path / "home", private, names=names).command("serve", check=False)
    assert done.returncode == (2 if addresses else 3)
    assert HOST in done.stderr
    assert "8.8.8.8" not in done.stderr


def test_private_mode_judges_again_at_each_connection(tmp_path, world, private):
    names = world(HOST, INNER)
    with Gateway(tmp_path / "home", private, names=names) as gateway:
        world(HOST, "8.8.8.8")
        _check_barred(_ask(gateway), hidden="8.8.8.8")


def test_private_mode_speaks_to_nobody_in_clear(tmp_path):
    settings = upstream_settings("http://10.0.0.1/v1") | {"OSTIARY_NETWORK__PRIVATE": "true"}
    done = Gateway(tmp_path / "home", settings).command("config", "check", check=False)
    assert done.returncode == 2
    assert "OSTIARY_PROVIDERS__MAIN__BASE_URL" in done.stderr


def test_verify_finds_what_is_wrong(tmp_path, world, model, private):
    """A public name, a certificate of somebody else, a clear channel, a canary that answers."""
    port = model.root.rpartition(":")[2]
    names = world(HOST, INNER)
    world("public.example", "8.8.8.8")
    settings = {k: v for k, v in private.items() if k != "SSL_CERT_FILE"} | {
        "OSTIARY_NETWORK__PRIVATE": "false",
        "OSTIARY_PROVIDERS__MAIN__ALLOW_ADDRESSES": f'["{INNER}/32"]',
        "OSTIARY_PROVIDERS__CLEAR__KIND": "openai",
        "OSTIARY_PROVIDERS__CLEAR__BASE_URL": f"http://127.0.0.1:{port}/v1",
        "OSTIARY_PROVIDERS__CLEAR__AUTH": "none",
        "OSTIARY_NETWORK__CANARIES": json.dumps([f"127.0.0.1:{port}", "127.0.0.1:1"]),
    }
    done = Gateway(tmp_path / "home", settings, names=names).command(
        "network", "verify", "--json", check=False
    )
    assert done.returncode == 1
    found = {(c["check"], c["name"]): c for c in json.loads(done.stdout)["checks"]}
    assert found["private-address", "providers.main.base_url"]["state"] == "good"
    assert found["tls", "providers.main.base_url"]["state"] == "bad"
    assert found["private-address", "providers.clear.base_url"]["state"] == "bad"
    assert found["tls", "providers.clear.base_url"]["state"] == "bad"
    assert found["egress", f"127.0.0.1:{port}"]["state"] == "bad"
    assert found["egress", "127.0.0.1:1"]["state"] == "good"
    assert all(c["fix"] for c in found.values() if c["state"] != "good")


def test_verify_says_what_it_could_not_measure(tmp_path):
    done = Gateway(tmp_path / "home").command("network", "verify", "--json")
    assert {c["state"] for c in json.loads(done.stdout)["checks"]} == {"not-measured"}
    assert done.returncode == 0


def test_the_paths_of_trust_are_the_documented_ones():
    """SSL_CERT_FILE is OpenSSL's own variable: what the tests above rely on."""
    assert ssl.get_default_verify_paths().openssl_cafile_env == "SSL_CERT_FILE"
    assert os.environ.get("SSL_CERT_FILE") is None or Path(os.environ["SSL_CERT_FILE"]).exists()
