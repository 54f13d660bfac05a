"""Which addresses an upstream may have."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest

from ostiary.upstream.addresses import Egress, egress_of, is_private, never_dialled

PUBLIC = ("8.8.8.8", "2606:4700::1111")
INNER = ("10.0.0.1", "172.16.0.1", "192.168.1.1", "127.0.0.1", "100.64.0.1", "fd00::1", "::1")
NEVER = (
    *("169.254.169.254", "168.63.129.16", "0.0.0.0", "224.0.0.1", "fe80::1", "ff02::1", "::"),
    *("::ffff:8.8.8.8", "64:ff9b::808:808", "64:ff9b:1::a00:1", "2002:808:808::1", "2001::1"),
)


@pytest.mark.parametrize("address", PUBLIC)
def test_a_name_may_lead_to_public_addresses(address):
    assert Egress("model.example").permits(ip_address(address))


@pytest.mark.parametrize("address", [*INNER, *NEVER])
def test_a_name_may_lead_nowhere_else(address):
    assert not Egress("model.example").permits(ip_address(address))


def test_listed_networks_are_allowed_beside_public_addresses():
    egress = Egress("model.example", (ip_network("10.44.9.0/28"),))
    assert egress.permits(ip_address("10.44.9.3"))
    assert egress.permits(ip_address("8.8.8.8"))
    assert not egress.permits(ip_address("10.44.9.16"))


@pytest.mark.parametrize("address", NEVER)
def test_what_is_never_dialled_cannot_be_listed(address):
    everything = tuple(ip_network(n) for n in ("0.0.0.0/1", "128.0.0.0/1", "::/1", "8000::/1"))
    assert never_dialled(ip_address(address))
    assert not Egress("model.example", everything).permits(ip_address(address))


@pytest.mark.parametrize("host", ["10.0.0.5", "127.0.0.1", "::1", "192.168.7.7", "8.8.8.8"])
def test_a_literal_host_is_exactly_itself(host):
    egress = Egress(host)
    assert not egress.bars_itself
    assert egress.permits(ip_address(host))
    assert not egress.permits(ip_address("8.8.4.4"))


@pytest.mark.parametrize("host", ["169.254.169.254", "168.63.129.16", "fe80::1", "0.0.0.0", "::"])
def test_a_literal_host_that_is_never_dialled_bars_itself(host):
    assert Egress(host).bars_itself


def test_localhost_is_this_machine_alone():
    egress = Egress("localhost")
    assert egress.permits(ip_address("127.0.0.1"))
    assert egress.permits(ip_address("::1"))
    assert not egress.permits(ip_address("8.8.8.8"))
    assert not egress.permits(ip_address("10.0.0.1"))


@pytest.mark.parametrize("address", ["10.0.0.1", "172.31.255.1", "192.168.0.1", "fd12::1"])
def test_private_mode_takes_private_addresses_only(address):
    assert is_private(ip_address(address))
    assert Egress("model.example", private=True).permits(ip_address(address))


@pytest.mark.parametrize("address", [*PUBLIC, *NEVER, "127.0.0.1", "100.64.0.1", "172.32.0.1"])
def test_private_mode_takes_nothing_else(address):
    listed = (ip_network("100.64.0.0/10"), ip_network("127.0.0.0/8"))
    assert not Egress("model.example", listed, private=True).permits(ip_address(address))


def test_the_host_comes_out_of_a_url():
    assert egress_of("https://[fd00::1]:8443/v1").host == "fd00::1"
    assert egress_of("http://localhost:9000/v1").host == "localhost"
