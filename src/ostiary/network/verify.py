"""Is the network what it should be, seen from here: addresses, TLS, egress and the clock.

This dials: the upstreams of the settings, and the canaries that must not be reachable.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from email.utils import parsedate_to_datetime
from typing import Any, Final

from ostiary.config import Settings
from ostiary.network.upstreams import Upstream, resolved, upstreams
from ostiary.upstream.addresses import Address, is_private
from ostiary.upstream.egress import addresses_of

GOOD, BAD, NOT_MEASURED = "good", "bad", "not-measured"
DIAL_SECONDS: Final = 5.0
MOST_SKEW: Final = 60.0
_MOST_HEAD: Final = 16 * 1024


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at. `fix` is empty where nothing is to be done."""

    check: str
    name: str
    state: str
    evidence: str
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the checks need of the machine: its trusted certificates and its clock."""

    trust: ssl.SSLContext
    clock: Callable[[], float]


async def verify(settings: Settings, surroundings: Surroundings) -> tuple[Check, ...]:
    """Every check, in a fixed order; what could not be looked at is `not-measured`."""
    looks = [_look(upstream, surroundings) for upstream in upstreams(settings)]
    looks.append(_egress(settings.network.canaries))
    found = await asyncio.gather(*looks)
    checks = tuple(check for group in found for check in group)
    if not any(check.check == "private-address" for check in checks):
        nothing = Check(
            "private-address", "upstreams", NOT_MEASURED, "No service is called.", _FIX_UPSTREAM
        )
        return (nothing, *checks)
    return checks


def report(checks: Iterable[Check]) -> dict[str, Any]:
    """The checks as JSON."""
    return {"checks": [asdict(check) for check in checks]}


_FIX_UPSTREAM: Final = "Configure a provider under [providers]."


async def _look(upstream: Upstream, surroundings: Surroundings) -> tuple[Check, ...]:
    addresses = await resolved(upstream)
    first = _address(upstream, addresses)
    dialled = [address for address in addresses if upstream.egress.permits(address)]
    if len(dialled) < len(addresses) or not addresses:
        reason = "It was not dialled: its addresses are not allowed or unknown."
        rest = (
            Check("tls", upstream.setting, NOT_MEASURED, reason, first.fix),
            Check("clock", upstream.setting, NOT_MEASURED, reason, first.fix),
        )
        return (first, *rest)
    return (first, *await _greet(upstream, dialled[0], surroundings))


def _address(upstream: Upstream, addresses: tuple[Address, ...]) -> Check:
    check, name = "private-address", upstream.setting
    if not addresses:
        return Check(
            check,
            name,
            NOT_MEASURED,
            f"{upstream.host} has no address here.",
            "Look at the private DNS zone of the service and its link to this network.",
        )
    shown = ", ".join(str(address) for address in addresses)
    if all(is_private(address) for address in addresses):
        return Check(check, name, GOOD, f"{upstream.host} is {shown}.")
    return Check(
        check,
        name,
        BAD,
        f"{upstream.host} is {shown}: not private (RFC 1918, RFC 4193).",
        "Give the service a private endpoint and its DNS zone (ostiary network render), then set "
        "network.private = true.",
    )


async def _greet(
    upstream: Upstream, address: Address, surroundings: Surroundings
) -> tuple[Check, Check]:
    """Open a verified connection, and ask for nothing but a head, for the time in it."""
    if not upstream.tls:
        clear = f"{upstream.host}:{upstream.port} is spoken to in clear."
        fix = f"Give {upstream.setting} an https URL."
        return (
            Check("tls", upstream.setting, BAD, clear, fix),
            Check("clock", upstream.setting, NOT_MEASURED, clear, fix),
        )
    place = f"{upstream.host}:{upstream.port}"
    try:
        async with (
            asyncio.timeout(DIAL_SECONDS),
            _connected(address, upstream, surroundings.trust) as (reader, writer),
        ):
            version = writer.get_extra_info("ssl_object").version()
            before = surroundings.clock()
            date = await _date(reader, writer, upstream.host)
    except ssl.SSLError as cause:
        return _untrusted(upstream, f"{place}: {_reason(cause)}.")
    except (OSError, TimeoutError):
        return _unreached(upstream, f"{place} does not answer.")
    good = Check("tls", upstream.setting, GOOD, f"{place} speaks {version} and verifies.")
    return good, _skew(upstream.setting, place, date, before)


@asynccontextmanager
async def _connected(
    address: Address, upstream: Upstream, trust: ssl.SSLContext
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection to the very address that was judged, verified for the host's name."""
    reader, writer = await asyncio.open_connection(
        str(address), upstream.port, ssl=trust, server_hostname=upstream.host
    )
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def _date(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str
) -> float | None:
    """The time that the other side gives in its answer's Date field (RFC 9110 §6.6.1)."""
    writer.write(f"HEAD / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode("ascii"))
    head = b""
    while b"\r\n\r\n" not in head and len(head) < _MOST_HEAD:
        piece = await reader.read(4096)
        if not piece:
            break
        head += piece
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"date":
            with contextlib.suppress(ValueError):
                return parsedate_to_datetime(value.strip().decode("latin-1")).timestamp()
    return None


def _skew(setting: str, place: str, date: float | None, now: float) -> Check:
    if date is None:
        return Check("clock", setting, NOT_MEASURED, f"{place} gives no time.")
    skew = abs(date - now)
    if skew <= MOST_SKEW:
        return Check("clock", setting, GOOD, f"{place} and this machine differ by {skew:.0f} s.")
    return Check(
        "clock",
        setting,
        BAD,
        f"{place} and this machine differ by {skew:.0f} s; tokens allow 60 s.",
        "Set this machine's clock by NTP.",
    )


def _untrusted(upstream: Upstream, evidence: str) -> tuple[Check, Check]:
    fix = (
        "Let the service present a certificate for this name from a trusted authority; "
        "SSL_CERT_FILE names authorities of your own."
    )
    return (
        Check("tls", upstream.setting, BAD, evidence, fix),
        Check("clock", upstream.setting, NOT_MEASURED, evidence, fix),
    )


def _unreached(upstream: Upstream, evidence: str) -> tuple[Check, Check]:
    fix = "Look at the routes and security groups between here and the service."
    return (
        Check("tls", upstream.setting, NOT_MEASURED, evidence, fix),
        Check("clock", upstream.setting, NOT_MEASURED, evidence, fix),
    )


def _reason(cause: ssl.SSLError) -> str:
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"the certificate does not verify ({cause.verify_message})"
    return "there is no TLS that verifies"


async def _egress(canaries: tuple[str, ...]) -> tuple[Check, ...]:
    if not canaries:
        return (
            Check(
                "egress",
                "canaries",
                NOT_MEASURED,
                "network.canaries is empty.",
                "Name host:port pairs that must not be reachable in network.canaries.",
            ),
        )
    return tuple(await asyncio.gather(*(_canary(canary) for canary in canaries)))


async def _canary(canary: str) -> Check:
    host, _, port = canary.rpartition(":")
    name = host.removeprefix("[").removesuffix("]")
    try:
        async with asyncio.timeout(DIAL_SECONDS):
            for address in await addresses_of(name, int(port)):
                if await _answers(address, int(port)):
                    return Check(
                        "egress",
                        canary,
                        BAD,
                        f"{canary} can be reached from here.",
                        "Deny outbound traffic but to what is needed (ostiary network render).",
                    )
    except (OSError, TimeoutError):
        pass
    return Check("egress", canary, GOOD, f"{canary} cannot be reached from here.")


async def _answers(address: Address, port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(str(address), port)
    except OSError:
        return False
    writer.transport.abort()
    return True
