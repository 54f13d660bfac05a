"""The forms that texts among the settings must have.

Each function returns the text in its one canonical spelling, so that equal settings hash alike, or
raises ValueError with a sentence that says what is expected and never quotes the text.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final
from urllib.parse import urlsplit

from ostiary.upstream.addresses import EMBEDDING

_LABEL: Final = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)")
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")
_PREFIX: Final = re.compile(r"[^/%]+(?:/[0-9]{1,3})?")
_VERSION: Final = re.compile(r"20[0-9]{2}-[0-9]{2}-[0-9]{2}(?:-preview)?")
_GUID: Final = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")
_AUDIENCE: Final = re.compile(r"[!-~]{1,512}")
_PRINTABLE: Final = re.compile(r"[!-~]+")
_URL: Final = re.compile(
    r"(?P<scheme>[A-Za-z]+)://(?P<host>\[[^\[\]/]*\]|[^:/\[\]]+)"
    r"(?::(?P<port>[0-9]{1,5}))?(?P<path>(?:/.*)?)"
)

_BARRED: Final = (
    ip_network("169.254.0.0/16"),
    ip_network("fe80::/10"),
    ip_network("168.63.129.16/32"),
    *EMBEDDING,
)
_OWN_ADDRESSES: Final = (IPv6Address("::1"), IPv6Address("::"))

# Audiences that Microsoft's own services accept. A token made for one of them proves nothing to
# this gateway: whoever received it there could replay it here (the confused deputy).
_MICROSOFT_DOMAINS: Final = (
    "azure.com",
    "azure.net",
    "azure.us",
    "azure.cn",
    "microsoft.com",
    "microsoft.us",
    "microsoftonline.com",
    "microsoftonline.us",
    "windows.net",
    "office.com",
    "office.net",
    "office365.com",
    "outlook.com",
)
_MICROSOFT_GUID_TAILS: Final = ("-0000-0000-c000-000000000000", "-0000-0ff1-ce00-000000000000")
_MICROSOFT_GUIDS: Final = frozenset(
    {
        "797f4846-ba00-4fd7-ba43-dac1f8f63013",  # Azure Resource Manager
        "7d312290-28c8-473c-a0ed-8e53749b6d6d",  # Cognitive Services
        "18a66f5f-dbdf-4c17-9dd7-1634712a9cbe",  # Azure Machine Learning
        "cfa8b339-82a2-471a-a3c9-0fc0be7a4093",  # Key Vault
        "e406a681-f3d4-42a8-90b6-c2b029497af1",  # Storage
        "022907d3-0f1b-48f7-badc-1ba6abab6d66",  # SQL Database
        "04b07795-8ddb-461a-bbee-02f9e1bf7b46",  # Azure CLI
    }
)


def bind_host(text: str) -> str:
    """An address to listen on, or a host name; IPv6 without brackets."""
    try:
        return str(ip_address(text))
    except ValueError:
        return _name(text, "an IP address (IPv6 without brackets) or a host name, without a port")


def is_loopback(host: str) -> bool:
    """Whether a canonical `bind_host` is reachable from this machine alone."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def host_name(text: str) -> str:
    """A host as it stands in a Host header, without a port; IPv6 in brackets (RFC 3986 §3.2.2)."""
    expected = "a host name or address without a port, IPv6 in brackets"
    if text.startswith("["):
        return f"[{_bracketed(text, expected)}]"
    return _name(text, expected)


def network(text: str) -> str:
    """A network in CIDR notation without host bits (RFC 4632 §3.1); an address is a network of one.

    The network of all addresses is refused: every caller could then write its own address.
    """
    expected = "a network such as 10.0.0.0/8, without host bits"
    if not _PREFIX.fullmatch(text):
        raise ValueError(expected)
    try:
        found = ip_network(text)
    except ValueError:
        raise ValueError(expected) from None
    if found.prefixlen == 0:
        raise ValueError("smaller networks: with every peer trusted, callers choose their address")
    return str(found)


def reachable_network(text: str) -> str:
    """A network that an upstream's name may lead to; never one of link-local addresses.

    Those of every machine (RFC 3927, RFC 4291 §2.5.6) and Azure's wire server answer with the
    machine's own identity.
    """
    found = ip_network(network(text))
    if any(found.version == barred.version and found.overlaps(barred) for barred in _BARRED):
        raise ValueError(
            "a network without link-local addresses, 168.63.129.16 and IPv6 addresses that embed "
            "IPv4 ones"
        )
    return str(found)


def host_and_port(text: str) -> str:
    """A host and a port, `name:443`, `10.0.0.1:443` or `[fd00::1]:443`."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdigit() or not 0 < int(port[:6]) < 65536:
        raise ValueError("a host and a port such as example.org:443, IPv6 in brackets")
    return f"{host_name(host)}:{int(port)}"


def upstream_url(text: str) -> str:
    """An http or https URL of a model service, without a trailing slash (RFC 3986).

    Its host is a name or a literal address in the one canonical spelling; user name, query and
    fragment are refused, and so are addresses that embed an IPv4 address.
    """
    return _url(text, ("http", "https"))


def authority_url(text: str) -> str:
    """An https URL of an identity authority, with the same rules as `upstream_url`."""
    return _url(text, ("https",))


def token_scope(text: str) -> str:
    """What a token is asked for: an https URL that ends in `/.default`."""
    if not text.startswith("https://") or not text.endswith("/.default"):
        raise ValueError("a scope such as https://cognitiveservices.azure.com/.default")
    return _url(text, ("https",))


def api_version(text: str) -> str:
    """A dated version of Azure's interface, `2024-10-21` or `2025-04-01-preview`."""
    if not _VERSION.fullmatch(text):
        raise ValueError("a dated version such as 2024-10-21; leave it out for the v1 surface")
    return text


def speaks_in_clear(url: str) -> bool:
    """Whether a canonical `upstream_url` leads over plain HTTP to another machine."""
    parts = urlsplit(url)
    return parts.scheme == "http" and not is_loopback(parts.hostname or "")


def tenant_id(text: str) -> str:
    """A directory's id: a GUID in lower case; never a name, `*` or one of the shared tenants."""
    lowered = text.lower()
    if not _GUID.fullmatch(lowered):
        raise ValueError("the GUID of one tenant; names, * and shared tenants are not accepted")
    return lowered


def audience(text: str) -> str:
    """An audience that is this gateway's own: not empty, no spaces, none of Microsoft's services'.

    The text is kept as it is, for a token's `aud` is compared byte by byte.
    """
    if not _AUDIENCE.fullmatch(text):
        raise ValueError("1 to 512 printable ASCII characters without spaces")
    if _is_microsoft(text):
        raise ValueError(
            "an audience of this gateway's own, such as api://ostiary: "
            "a token for a service of Microsoft is not meant for it"
        )
    return text


def _is_microsoft(text: str) -> bool:
    bare = re.sub(r"(/+\.default)?/*$", "", text.lower())
    parts = urlsplit(bare if "://" in bare else f"//{bare}")
    host = (parts.netloc.rpartition("@")[2].partition(":")[0]).rstrip(".")
    if parts.scheme != "api" and any(
        host == domain or host.endswith(f".{domain}") for domain in _MICROSOFT_DOMAINS
    ):
        return True
    return host in _MICROSOFT_GUIDS or (
        _GUID.fullmatch(host) is not None and host.endswith(_MICROSOFT_GUID_TAILS)
    )


def _url(text: str, schemes: tuple[str, ...]) -> str:
    expected = "an http or https URL" if "http" in schemes else "an https URL"
    if not _PRINTABLE.fullmatch(text) or "\\" in text:
        raise ValueError(f"{expected} of printable ASCII without spaces or backslashes")
    if "?" in text or "#" in text:
        raise ValueError(f"{expected} without query and fragment")
    if "@" in text.partition("://")[2].partition("/")[0]:
        raise ValueError(f"{expected} without a user name")
    found = _URL.fullmatch(text)
    if found is None or found["scheme"].lower() not in schemes:
        raise ValueError(f"{expected} with a host")
    port = found["port"]
    if port is not None and not 0 < int(port) < 65536:
        raise ValueError(f"{expected} with a port from 1 to 65535")
    host = _upstream_host(found["host"]) + (f":{int(port)}" if port else "")
    return f"{found['scheme'].lower()}://{host}{found['path'].rstrip('/')}"


def _upstream_host(host: str) -> str:
    expected = "a host that is a name or an address in its usual spelling"
    if not host.startswith("["):
        return _name(host, expected)
    address = _bracketed(host, expected)
    inner = IPv6Address(address)
    if inner not in _OWN_ADDRESSES and any(inner in embedding for embedding in EMBEDDING):
        raise ValueError("a host that does not hide an IPv4 address inside an IPv6 address")
    return f"[{address}]"


def _bracketed(text: str, expected: str) -> str:
    try:
        address = IPv6Address(text.removeprefix("[").removesuffix("]"))
    except ValueError:
        raise ValueError(expected) from None
    if address.scope_id is not None or text.lower() != f"[{address}]":
        raise ValueError(f"{expected} (RFC 5952)")
    return str(address)


def _name(text: str, expected: str) -> str:
    """A host name of letters, digits and hyphens (RFC 1123 §2.1), or a dotted-quad address.

    A name whose last label is a number would be read as an address by some and as a name by
    others (WHATWG URL, "ends in a number"); only the usual spelling passes.
    """
    lowered = text.lower()
    labels = lowered.split(".")
    if _NUMBER.fullmatch(labels[-1]):
        try:
            return str(IPv4Address(lowered))
        except ValueError:
            raise ValueError(expected) from None
    if len(lowered) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError(expected)
    return lowered
