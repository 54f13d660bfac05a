"""Failed logins and the address they are counted by, behind a proxy and without one."""

from __future__ import annotations

import pytest

from tests.simulator.client import bearer, check_problem, send
from tests.simulator.gateway import Gateway

FAILED_LOGINS = 5


@pytest.fixture(scope="module")
def proxied(tmp_path_factory):
    """A gateway whose clients come through a trusted proxy; the failed logins are the default."""
    home = tmp_path_factory.mktemp("proxied") / "home"
    trusted = {"OSTIARY_SERVER__TRUSTED_PROXIES": '["127.0.0.0/8", "10.0.0.0/8"]'}
    with Gateway(home, trusted, limits="default") as running:
        yield running


def knock(gateway, *forwarded: str, credential: str = "wrong", **more: str):
    headers = [*bearer(credential).items(), *(("X-Forwarded-For", line) for line in forwarded)]
    headers += [(name.replace("_", "-"), value) for name, value in more.items()]
    return send(gateway.url, "GET", "/v1/models", headers=headers)


def fail(gateway, *forwarded: str, times: int = FAILED_LOGINS) -> None:
    for _ in range(times):
        check_problem(knock(gateway, *forwarded), 401)


def is_throttled(gateway, *forwarded: str) -> bool:
    """Whether one more failed login from there is too many; nothing else is ever answered."""
    answered = knock(gateway, *forwarded)
    if answered.status == 429:
        problem = check_problem(answered, 429)
        assert (problem["layer"], problem["rule"]) == ("authn", "failed-logins")
        return True
    check_problem(answered, 401)
    return False


def test_the_sixth_failed_login_is_429_and_a_valid_key_still_passes(proxied):
    fail(proxied, "203.0.113.1")
    answered = knock(proxied, "203.0.113.1")
    problem = check_problem(answered, 429)
    assert problem["rule"] == "failed-logins"
    assert 1 <= int(answered.headers["retry-after"]) <= 300
    for _ in range(3):
        assert knock(proxied, "203.0.113.1", credential=proxied.key).status == 200
        assert is_throttled(proxied, "203.0.113.1")
    assert not is_throttled(proxied, "203.0.113.2")


def test_the_rightmost_hop_outside_the_trusted_networks_counts(proxied):
    fail(proxied, "198.51.100.77, 203.0.113.11")
    assert is_throttled(proxied, "203.0.113.11")
    assert is_throttled(proxied, "8.8.8.8, 203.0.113.11, 10.1.2.3, 127.0.0.9")
    assert is_throttled(proxied, "not-an-address, 203.0.113.11")
    assert not is_throttled(proxied, "203.0.113.11, 198.51.100.77")


def test_several_lines_are_one_list_and_a_port_is_dropped(proxied):
    fail(proxied, "203.0.113.21")
    assert is_throttled(proxied, "198.51.100.1", "203.0.113.21")
    assert is_throttled(proxied, "203.0.113.21", "10.0.0.1, 10.0.0.2")
    assert is_throttled(proxied, "203.0.113.21:40000")
    assert is_throttled(proxied, " 203.0.113.21 ")
    assert is_throttled(proxied, "::ffff:203.0.113.21")


def test_an_ipv6_client_is_counted_by_its_64(proxied):
    fail(proxied, "2001:db8:1:2::1")
    assert is_throttled(proxied, "2001:db8:1:2:ffff::9")
    assert is_throttled(proxied, "[2001:db8:1:2::5]:443")
    assert not is_throttled(proxied, "2001:db8:1:3::1")


def test_other_headers_name_no_address(proxied):
    fail(proxied, "203.0.113.31")
    forged = {"X_Real_IP": "198.51.100.31", "Forwarded": "for=198.51.100.31"}
    check_problem(knock(proxied, "203.0.113.31", **forged), 429)
    check_problem(knock(proxied, "203.0.113.32", **forged), 401)


@pytest.mark.parametrize(
    "hop", ["unknown", "", "203.0.113.300", "1.2.3", "_hidden", "[::1", "[::1]x", "1.2.3.4:x"]
)
def test_an_unreadable_hop_is_400(proxied, hop):
    answered = knock(proxied, f"203.0.113.41, {hop}", credential=proxied.key)
    assert check_problem(answered, 400)["rule"] == "forwarded-for"


def test_without_a_trusted_proxy_the_peer_counts_whatever_it_says(tmp_path):
    with Gateway(tmp_path / "home", limits="default") as gateway:
        for number in range(FAILED_LOGINS):
            check_problem(knock(gateway, f"203.0.113.{number}"), 401)
        assert is_throttled(gateway, "203.0.113.99")
        assert is_throttled(gateway, "unreadable")
        assert knock(gateway, "unreadable", credential=gateway.key).status == 200
