"""Access tokens of Microsoft Entra ID, versions 1.0 and 2.0, proven without asking anybody.

The development issuer's tokens go the same way, with another key source. What is checked, and
in which order, is written once, above `EntraAuthenticator._prove`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import msgspec
from joserfc import jws
from joserfc.errors import JoseError
from msgspec import UNSET, Meta, UnsetType

from ostiary.errors import ConfigurationError, ServiceUnavailable, Unauthenticated
from ostiary.exchange import Subject, Vouched
from ostiary.issuer_keys import (
    PUBLIC_AUTHORITY,
    IssuerUnavailable,
    KeySource,
    SigningKey,
    canonical_authority,
    v2_issuer,
)
from ostiary.wire.strict_json import StrictJSONError, decode

_TOKEN_BYTES = 16 * 1024
_KID_CHARACTERS = 256
_REMEMBERED = 4096
_KEY_PREFIX = "aif_"
# A tuple: a set would have to hash what the token holds, which may be a list.
_TYPES = ("JWT", "at+jwt")
_COMPACT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_GUID = re.compile(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
_CHALLENGE = {"WWW-Authenticate": 'Bearer error="invalid_token"'}

_SENTENCES = {
    "token-malformed": "The credential is not a signed JWT access token in compact form.",
    "token-header": (
        "The token's header is not one that this gateway takes: alg RS256, typ JWT or at+jwt, "
        "a kid, and no crit."
    ),
    "token-tenant": "The token is of a tenant that this gateway does not serve.",
    "token-key-unknown": "The token's issuer does not publish the key that its kid names.",
    "token-signature": "The token's signature does not verify.",
    "token-claims": (
        "A claim of the token is missing or of the wrong type. Needed are iss, aud, exp, iat, "
        "ver, tid, oid, and azp (version 2.0) or appid (version 1.0); an ID token is no access "
        "token."
    ),
    "token-issuer": "The token's iss is not the issuer that its tid and ver call for.",
    "token-audience": "The token is for another audience; request one for this gateway's API.",
    "token-expired": "The token has expired; request a new one.",
    "token-early": "The token is not valid yet; compare the clocks of the issuer and the gateway.",
    "token-lifetime": "The token's lifetime is longer than an access token may live.",
}

# Hosts of Microsoft's own services: a token for one of them was not meant for this gateway, and
# whoever receives such a token could otherwise replay it here.
_MICROSOFT_HOSTS = re.compile(
    r"(?:.+\.)?(?:azure\.(?:com|net|us|cn)|microsoft\.com|microsoftonline\.com|windows\.net"
    r"|usgovcloudapi\.net|chinacloudapi\.cn|office\.com|office365\.com|sovcloud-api\.fr)",
    re.IGNORECASE,
)
_MICROSOFT_APPLICATIONS = frozenset(
    {
        "00000002-0000-0000-c000-000000000000",  # Azure AD Graph
        "00000003-0000-0000-c000-000000000000",  # Microsoft Graph
        "797f4846-ba00-4fd7-ba43-dac1f8f63013",  # Azure Resource Manager
        "7d312290-28c8-473c-a0ed-8e53749b6d6d",  # Azure Cognitive Services
        "18a66f5f-dbdf-4c17-9dd7-1634712a9cbe",  # Azure Machine Learning
        "cfa8b339-82a2-471a-a3c9-0fc0be7a4093",  # Azure Key Vault
    }
)


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whose tokens are taken: tenants and audiences by allow-list. Times are in seconds."""

    tenants: tuple[str, ...] = ()
    audiences: tuple[str, ...] = ()
    authority: str = PUBLIC_AUTHORITY
    clock_skew: float = 60.0
    max_lifetime: float = 30 * 3600.0


_Time = Annotated[int, Meta(ge=0, le=1 << 53)] | Annotated[float, Meta(ge=0, le=1 << 53)]
_Identifier = Annotated[str, Meta(pattern=rf"\A{_GUID.pattern}\Z")]
_Named = Annotated[str, Meta(min_length=1)]


class Claims(msgspec.Struct, frozen=True):
    """The claims that decide or that are shown, strictly typed; all others are ignored.

    An optional claim is absent or has its type: null is refused, because an absent `scp` makes a
    token an application's.
    """

    iss: str
    aud: str
    exp: _Time
    iat: _Time
    ver: Literal["1.0", "2.0"]
    tid: _Identifier
    oid: _Identifier
    nbf: _Time | UnsetType = UNSET
    azp: _Named | UnsetType = UNSET
    appid: _Named | UnsetType = UNSET
    scp: str | UnsetType = UNSET
    roles: tuple[str, ...] = ()
    idtyp: Literal["app", "user"] | UnsetType = UNSET
    nonce: Any = UNSET
    at_hash: Any = UNSET
    c_hash: Any = UNSET
    preferred_username: str = ""
    upn: str = ""
    unique_name: str = ""
    name: str = ""
    app_displayname: str = ""

    def __repr__(self) -> str:
        """Name the class alone: claims are personal."""
        return "Claims(…)"

    @property
    def client(self) -> str | None:
        """The application that asked for the token; None where this is no access token."""
        named = self.azp if self.ver == "2.0" else self.appid
        identity = (self.nonce, self.at_hash, self.c_hash)
        return None if named is UNSET or any(c is not UNSET for c in identity) else named

    @property
    def personal(self) -> bool:
        """Whether it speaks for a person: `scp` is there, even empty, or `idtyp` says so."""
        return self.scp is not UNSET or self.idtyp == "user"


@dataclass(frozen=True, slots=True)
class _Remembered:
    """A proof that was done: whom it vouches for, until when, and the key that it rests on."""

    vouched: Vouched
    exp: float
    tenant: str = field(repr=False)
    key: SigningKey


class _Registry(jws.JWSRegistry):
    """Entra's headers are longer than joserfc's default allows, and hold members of its own."""

    max_header_length = 4096
    max_payload_length = _TOKEN_BYTES


_REGISTRY = _Registry(algorithms=["RS256"], strict_check_header=False)


def is_guid(text: str) -> bool:
    """Whether the text is a GUID in its canonical form, of either case."""
    return _GUID.fullmatch(text) is not None


def is_microsofts(audience: str) -> bool:
    """Whether an audience is one of Microsoft's own services, so that its tokens are not ours."""
    if audience.lower() in _MICROSOFT_APPLICATIONS:
        return True
    try:
        host = urlsplit(audience).hostname
    except ValueError:
        return False
    return "://" in audience and host is not None and _MICROSOFT_HOSTS.fullmatch(host) is not None


def build(options: Options, keys: KeySource, clock: Callable[[], float]) -> EntraAuthenticator:
    """Make the authenticator; `clock` gives seconds since the epoch.

    Raises ConfigurationError where a list is empty, a tenant is no GUID, an audience is
    Microsoft's own, or the authority is not an https URL.
    """
    canonical_authority(options.authority)
    if not options.tenants or not all(map(is_guid, options.tenants)):
        raise ConfigurationError("identity.tenants must name at least one tenant, each by its GUID")
    if not options.audiences or not all(options.audiences):
        raise ConfigurationError("identity.audiences must name at least one audience")
    if any(map(is_microsofts, options.audiences)):
        raise ConfigurationError(
            "identity.audiences names an audience of Microsoft's own; its tokens are not ours"
        )
    if options.clock_skew < 0 or options.max_lifetime <= 0:
        raise ConfigurationError("identity.clock_skew and identity.max_lifetime must be positive")
    return EntraAuthenticator(options, keys, clock)


def verify_rs256(token: str, key: SigningKey) -> bytes:
    """Return the payload of a compact JWS if this key signed it with RS256 (RFC 7515 §5.2).

    Raises ValueError where it did not, whatever the token's form. The header's `kid`, `jku`,
    `x5u`, `x5c` and `jwk` are not looked at: the key was chosen before.
    """
    try:
        return jws.deserialize_compact(token, key.rsa, registry=_REGISTRY).payload
    except (JoseError, ValueError, TypeError, RecursionError):
        raise ValueError("not signed by this key") from None


class EntraAuthenticator:
    """Proves access tokens of the tenants and audiences that it was built for."""

    method = "token"

    def __init__(self, options: Options, keys: KeySource, clock: Callable[[], float]) -> None:
        """See `build`, which checks the options."""
        self._authority = canonical_authority(options.authority)
        self._tenants = frozenset(tenant.lower() for tenant in options.tenants)
        self._audiences = frozenset(
            audience.lower() if is_guid(audience) else audience for audience in options.audiences
        )
        self._skew = options.clock_skew
        self._max_lifetime = options.max_lifetime
        self._keys = keys
        self._clock = clock
        self._proven: OrderedDict[bytes, _Remembered] = OrderedDict()

    def claims(self, credential: str) -> bool:
        """Whatever is not an API key by its prefix is taken for a token."""
        return not credential.startswith(_KEY_PREFIX)

    async def authenticate(self, credential: str, address: str) -> Vouched:  # noqa: ARG002
        """Prove a token, or raise Unauthenticated with a rule that says what is wrong with it.

        Raises ServiceUnavailable (rule `issuer-unavailable`) where the proof needs a key of an
        issuer that cannot be asked. A token that was proven before costs one hash until it
        expires or its key leaves the issuer's set.
        """
        if len(credential) > _TOKEN_BYTES or not credential.isascii():  # 1
            raise _refused("token-malformed")
        digest = hashlib.sha256(credential.encode()).digest()
        known = self._proven.get(digest)
        if known is not None:
            if self._clock() >= known.exp + self._skew:
                del self._proven[digest]
                raise _refused("token-expired")
            if self._keys.current(known.tenant, known.key.kid) is known.key:
                self._proven.move_to_end(digest)
                return known.vouched
            del self._proven[digest]
        try:
            proof = await self._prove(credential)
        except IssuerUnavailable as error:
            raise ServiceUnavailable(
                "The identity provider's keys cannot be loaded now.",
                layer="authn",
                rule="issuer-unavailable",
                retry_after=error.retry_after,
            ) from error
        self._proven[digest] = proof
        if len(self._proven) > _REMEMBERED:
            self._proven.popitem(last=False)
        return proof.vouched

    # The proof, in the order in which it is done. Nothing that is cheap to forge causes work that
    # is not: the size and form are checked before anything is decoded, the tenant before a key
    # is looked for, and a key is looked for only at that tenant's configured issuer.
    #
    #  1. At most 16 KB, three parts in the alphabet of base64url.
    #  2. The header, decoded strictly: alg is RS256, typ is JWT or at+jwt, kid is a string, and
    #     there is no crit or b64 (RFC 7515 §4.1). No other member is read: a key or an address
    #     that the token brings along (jwk, x5c, jku, x5u) is never used.
    #  3. The payload, decoded strictly, only to read tid; it is in the allow-list.
    #  4. The key that this tenant's issuer publishes under that kid.
    #  5. The signature, over the very bytes that were decoded.
    #  6. The claims and their types; neither an ID token nor one without a client.
    #  7. The issuer that tid and ver call for.
    #  8. The audience, by allow-list.
    #  9. The times: exp, nbf and iat with the allowed skew, and a lifetime that is not longer
    #     than an access token's.
    async def _prove(self, token: str) -> _Remembered:
        if _COMPACT.fullmatch(token) is None:  # 1
            raise _refused("token-malformed")
        head, body, _signature = token.split(".")
        kid = _kid(_decoded(_bytes(head)))  # 2
        payload = _bytes(body)  # 3
        tree = _decoded(payload)
        tenant = _tenant(tree)
        if tenant not in self._tenants:
            raise _refused("token-tenant")
        key = await self._keys.key(tenant, kid)  # 4
        if key is None:
            raise _refused("token-key-unknown")
        try:
            signed = verify_rs256(token, key)  # 5
        except ValueError:
            raise _refused("token-signature") from None
        if signed != payload:
            raise _refused("token-signature")
        claims, client = _claims(tree)  # 6
        await self._check_issuer(claims, tenant)  # 7
        if claims.aud not in self._audiences:  # 8
            raise _refused("token-audience")
        self._check_times(claims)  # 9
        return _Remembered(_vouched(claims, tenant, client), claims.exp, tenant, key)

    async def _check_issuer(self, claims: Claims, tenant: str) -> None:
        if claims.ver == "2.0":
            expected: str | None = v2_issuer(self._authority, tenant)
        else:
            expected = await self._keys.v1_issuer(tenant)
        if expected is None or claims.iss != expected:
            raise _refused("token-issuer")

    def _check_times(self, claims: Claims) -> None:
        now = self._clock()
        if now >= claims.exp + self._skew:
            raise _refused("token-expired")
        begins = claims.iat if claims.nbf is UNSET else max(claims.iat, claims.nbf)
        if begins > now + self._skew:
            raise _refused("token-early")
        if not 0 < claims.exp - claims.iat <= self._max_lifetime:
            raise _refused("token-lifetime")


def _refused(rule: str) -> Unauthenticated:
    return Unauthenticated(_SENTENCES[rule], layer="authn", rule=rule, headers=_CHALLENGE)


def _bytes(part: str) -> bytes:
    """Decode base64url without padding; step 5 refuses what is not its canonical form."""
    try:
        return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except (binascii.Error, ValueError):
        raise _refused("token-malformed") from None


def _decoded(data: bytes) -> dict[str, Any]:
    try:
        tree = decode(data)
    except StrictJSONError:
        raise _refused("token-malformed") from None
    if not isinstance(tree, dict):
        raise _refused("token-malformed")
    return tree


def _kid(header: dict[str, Any]) -> str:
    kid = header.get("kid")
    if (
        header.get("alg") != "RS256"
        or header.get("typ") not in _TYPES
        or not isinstance(kid, str)
        or not 0 < len(kid) <= _KID_CHARACTERS
        or "crit" in header
        or "b64" in header
    ):
        raise _refused("token-header")
    return kid


def _tenant(tree: dict[str, Any]) -> str:
    tenant = tree.get("tid")
    if not isinstance(tenant, str) or not is_guid(tenant):
        raise _refused("token-claims")
    return tenant.lower()


def _claims(tree: dict[str, Any]) -> tuple[Claims, str]:
    try:
        claims = msgspec.convert(tree, Claims)
    except msgspec.ValidationError:
        raise _refused("token-claims") from None
    client = claims.client
    if client is None:
        raise _refused("token-claims")
    return claims, client


def _vouched(claims: Claims, tenant: str, client: str) -> Vouched:
    scopes = None
    if claims.personal:
        scp = "" if claims.scp is UNSET else claims.scp
        scopes = frozenset(filter(None, scp.split(" ")))
    name = claims.preferred_username or claims.upn or claims.unique_name or claims.name
    return Vouched(
        method=EntraAuthenticator.method,
        application=scopes is None,
        roles=claims.roles,
        scopes=scopes,
        grants=None,
        subject=Subject(tenant, claims.oid.lower(), name or claims.app_displayname),
        client=client,
        issued_at=float(claims.iat),
    )
