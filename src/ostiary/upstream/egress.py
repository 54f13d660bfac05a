"""Where a connection may go: the addresses of an upstream are checked each time one is made.

A name is resolved by us, every address that it has is checked, and the checked addresses are the
ones that are dialled: a name that changes its mind between check and connection (DNS rebinding)
gains nothing. One forbidden address refuses the whole name, for a name that mixes public and inner
addresses is an attack or a mistake.
"""

from __future__ import annotations

import asyncio
import socket
from functools import partial
from ipaddress import ip_address
from typing import Final

from aiohttp.abc import AbstractResolver, ResolveResult

from ostiary.upstream.addresses import Address, Egress, literal_of

RESOLVE_SECONDS: Final = 10.0


class ForbiddenAddressError(OSError):
    """A name has an address that no connection may go to. The address is not in the text."""


async def addresses_of(host: str, port: int = 0) -> tuple[Address, ...]:
    """The addresses of a host, by the system's resolver; OSError where it has none in 10 s.

    A literal address is its own, without any lookup.
    """
    literal = literal_of(host)
    if literal is not None:
        return (literal,)
    look_up = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    try:
        async with asyncio.timeout(RESOLVE_SECONDS):
            found = await asyncio.get_running_loop().run_in_executor(None, look_up)
    except TimeoutError as cause:
        raise OSError("the name was not resolved in time") from cause
    except UnicodeError as cause:
        raise OSError("the name cannot be resolved") from cause
    return tuple(dict.fromkeys(ip_address(str(entry[4][0])) for entry in found))


class CheckedResolver(AbstractResolver):
    """Resolves for aiohttp: gives addresses that may be dialled, or ForbiddenAddressError."""

    def __init__(self, egress: Egress) -> None:
        """Take the rules of one upstream."""
        self._egress = egress

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Every address of the name, in the resolver's order."""
        found = await addresses_of(host, port)
        if not all(self._egress.permits(address) for address in found):
            raise ForbiddenAddressError("the name has an address that may not be dialled")
        return [
            ResolveResult(
                hostname=host,
                host=str(address),
                port=port,
                family=_family(address),
                proto=0,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for address in found
            if family in {socket.AF_UNSPEC, _family(address)}
        ]

    async def close(self) -> None:
        """Nothing is held."""


def _family(address: Address) -> socket.AddressFamily:
    return socket.AF_INET if address.version == 4 else socket.AF_INET6
