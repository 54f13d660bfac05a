"""Identity: exactly one credential, judged by exactly one authenticator.

There is no fall-through: the authenticator that claims a credential decides alone, and a
refusal is final. Failures are counted per address and per address and public key id, never per
claimed person, and never stop a valid credential from the same address: nobody can lock out
somebody else.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass

from ostiary.errors import TooManyRequests, Unauthenticated
from ostiary.exchange import Admitted, Identified, Principal, Vouched
from ostiary.persons import Persons
from ostiary.ports import Authenticator, Counters

LAYER = "authn"
CHALLENGE = 'Bearer realm="ostiary"'
_PUBLIC_ID = re.compile(r"aif_[lt]([0-9A-Za-z]{11})")
_LOGIN_WINDOW = 3_600


@dataclass(frozen=True, slots=True)
class Identities:
    """What `authn` needs: the authenticators, the persons behind them, and what failing costs."""

    authenticators: Sequence[Authenticator]
    persons: Persons
    counters: Counters
    failed_logins: int
    throttle_seconds: int


async def authenticate(admitted: Admitted, identities: Identities) -> Identified:
    """Prove the caller, or refuse: 401, 429 after too many failures, 503 without an issuer."""
    credential = _credential(admitted)
    try:
        vouched = await _judge(credential, admitted.address, identities)
    except Unauthenticated:
        await _count_failure(credential, admitted.address, identities)
        raise
    person = await identities.persons.recognise(vouched)
    if not person.active:
        raise _refused("This person may not sign in any more.", "person-inactive")
    principal = Principal(
        person=person.id,
        method=vouched.method,
        application=vouched.application,
        roles=person.roles,
        scopes=vouched.scopes,
        grants=vouched.grants,
        key_id=vouched.key_id,
        issued_at=vouched.issued_at,
        subject=vouched.subject,
        client=vouched.client,
    )
    return Identified(admitted, principal)


def _credential(admitted: Admitted) -> str:
    found: set[str] = set()
    for value in admitted.headers.get("authorization", ()):
        scheme, _, rest = value.partition(" ")
        if scheme.lower() != "bearer" or not rest.strip():
            raise _refused("Authorization must be: Bearer <token or key>.", "credential-scheme")
        found.add(rest.strip())
    for name in ("x-api-key", "api-key"):
        found.update(admitted.headers.get(name, ()))
    if not found:
        raise _refused(
            "Send a credential: Authorization: Bearer <token or key>, or x-api-key.",
            "credential-missing",
        )
    if len(found) > 1:
        raise _refused("The request carries two different credentials.", "credential-conflict")
    return found.pop()


def _refused(message: str, rule: str) -> Unauthenticated:
    return Unauthenticated(message, layer=LAYER, rule=rule, headers={"WWW-Authenticate": CHALLENGE})


async def _judge(credential: str, address: str, identities: Identities) -> Vouched:
    for authenticator in identities.authenticators:
        if authenticator.claims(credential):
            return await authenticator.authenticate(credential, address)
    raise _refused("No way of authenticating takes this credential.", "credential-unknown")


async def _count_failure(credential: str, address: str, identities: Identities) -> None:
    places = [f"login:{network_of(address)}"]
    public_id = _PUBLIC_ID.match(credential)
    if public_id:
        places.append(f"login:{address}:{public_id[1]}")
    waits = [
        await identities.counters.strike(
            place,
            limit=identities.failed_logins,
            window=_LOGIN_WINDOW,
            hold=identities.throttle_seconds,
        )
        for place in places
    ]
    if max(waits) > 0:
        raise TooManyRequests(
            "Too many failed logins from this address; a valid credential still passes.",
            layer=LAYER,
            rule="failed-logins",
            retry_after=max(waits),
        )


def network_of(address: str) -> str:
    """What failures are counted by: an IPv4 address, or the /64 of an IPv6 address."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if parsed.version == 4:
        return str(parsed)
    return str(ipaddress.ip_network((parsed, 64), strict=False).network_address)
