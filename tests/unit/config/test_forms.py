from __future__ import annotations

import pytest

from ostiary.config import forms


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("https://api.example.com/v1", "https://api.example.com/v1"),
        ("HTTPS://API.Example.com:443/v1/", "https://api.example.com:443/v1"),
        ("http://127.0.0.1:9000/v1", "http://127.0.0.1:9000/v1"),
        ("http://[::1]:9000", "http://[::1]:9000"),
        ("http://[2001:DB8::1]/V1", "http://[2001:db8::1]/V1"),
        ("http://localhost", "http://localhost"),
    ],
)
def test_an_upstream_url_is_kept_in_one_spelling(text: str, canonical: str) -> None:
    assert forms.upstream_url(text) == canonical


@pytest.mark.parametrize(
    "text",
    [
        "",
        "api.example.com",
        "ftp://api.example.com",
        "https://",
        "https:///v1",
        "https://user@api.example.com",
        "https://user:word@api.example.com/v1",
        "https://api.example.com/v1?x=1",
        "https://api.example.com/v1?",
        "https://api.example.com/v1#part",
        "https://api.example.com:0/v1",
        "https://api.example.com:65536/v1",
        "https://api.example.com:http/v1",
        "https://api.example.com\\@evil.example/v1",
        "https://api.exa\tmple.com/v1",
        "https://api.example.com/v1\n",
        "https://bücher.example",
        "https://-a.example",
        "https://a..example",
        "https://a.example.",
        "http://2130706433/",
        "http://0x7f000001/",
        "http://0x7f.0.0.1/",
        "http://0177.0.0.1/",
        "http://127.1/",
        "http://127.0.0.1./",
        "http://127.0.0.01/",
        "http://1.2.3.4.5/",
        "http://[::ffff:127.0.0.1]/",
        "http://[::ffff:7f00:1]/",
        "http://[::127.0.0.1]/",
        "http://[64:ff9b::7f00:1]/",
        "http://[64:ff9b:1::7f00:1]/",
        "http://[2002:7f00:1::]/",
        "http://[2001:0:7f00:1::]/",
        "http://[0:0:0:0:0:0:0:1]/",
        "http://[fe80::1%25eth0]/",
        "http://[::1/",
        "http://::1/",
        "http://%31%32%37.0.0.1/",
    ],
)
def test_a_url_that_two_readers_could_read_differently_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"URL|host") as caught:
        forms.upstream_url(text)
    assert not text or text not in str(caught.value)


def test_an_authority_is_https() -> None:
    assert forms.authority_url("https://login.example/") == "https://login.example"
    with pytest.raises(ValueError, match="an https URL"):
        forms.authority_url("http://login.example")


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("192.0.2.7", "192.0.2.7/32"),
        ("2001:DB8::/32", "2001:db8::/32"),
    ],
)
def test_a_network_has_no_host_bits(text: str, canonical: str) -> None:
    assert forms.network(text) == canonical


@pytest.mark.parametrize(
    "text",
    [
        "10.0.0.1/8",
        "10.0.0.0/33",
        "10.0.0.0/255.0.0.0",
        "10.0.0.0/0.255.255.255",
        "proxy",
        "",
        "*",
        "0.0.0.0/0",
        "::/0",
        "fe80::%eth0/64",
    ],
)
def test_other_networks_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="network"):
        forms.network(text)


@pytest.mark.parametrize("text", ["gateway.example", "127.0.0.1", "localhost", "[::1]", "a-b.c"])
def test_a_host_is_a_name_or_an_address(text: str) -> None:
    assert forms.host_name(text.upper()) == text


@pytest.mark.parametrize(
    "text",
    [
        "gateway.example:8787",
        "127.0.0.1:80",
        "::1",
        "[::1]:80",
        "*",
        "*.example",
        "",
        "a b",
        "127.1",
    ],
)
def test_a_host_with_a_port_or_a_wildcard_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="host name"):
        forms.host_name(text)


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
        ("gateway.example", False),
        ("localhost.example", False),
    ],
)
def test_only_this_machine_is_loopback(host: str, loopback: bool) -> None:
    assert forms.is_loopback(forms.bind_host(host)) is loopback


@pytest.mark.parametrize("text", ["[::1]", "127.1", "127.0.0.1:80", "a:80", "", "2130706433"])
def test_a_host_to_listen_on_is_one_host(text: str) -> None:
    with pytest.raises(ValueError, match="host name"):
        forms.bind_host(text)


def test_a_tenant_is_a_guid_in_one_spelling() -> None:
    tenant = "72F988BF-86F1-41AF-91AB-2D7CD011DB47"
    assert forms.tenant_id(tenant) == tenant.lower()


@pytest.mark.parametrize("text", ["*", "common", "organizations", "consumers", "", "contoso.com"])
def test_a_shared_or_named_tenant_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="GUID"):
        forms.tenant_id(text)


@pytest.mark.parametrize(
    "text",
    [
        "api://ostiary",
        "6f6b0f0e-6a1c-4d3e-9c3a-0d0f7a1f2b3c",
        "https://gateway.example",
        "https://contoso.onmicrosoft.com/ostiary",
        "https://notmicrosoft.com",
        "api://azure.com",
    ],
)
def test_an_audience_of_ones_own_is_kept_byte_by_byte(text: str) -> None:
    assert forms.audience(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "https://cognitiveservices.azure.com",
        "https://cognitiveservices.azure.com/",
        "https://cognitiveservices.azure.com/.default",
        "https://cognitiveservices.azure.com//.default",
        "HTTPS://AI.Azure.com",
        "https://ml.azure.com",
        "https://management.azure.com/",
        "https://management.core.windows.net/",
        "https://graph.microsoft.com",
        "https://vault.azure.net",
        "graph.microsoft.com",
        "00000003-0000-0000-c000-000000000000",
        "00000003-0000-0000-C000-000000000000/.default",
        "00000002-0000-0000-c000-000000000000",
        "00000003-0000-0ff1-ce00-000000000000",
        "api://00000003-0000-0000-c000-000000000000",
        "7d312290-28c8-473c-a0ed-8e53749b6d6d",
        "",
        "api://two words",
    ],
)
def test_an_audience_of_microsofts_own_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"audience|characters"):
        forms.audience(text)
