"""Where the keys come from that an identity provider signs its tokens with.

`DiscoveredKeys` asks the provider (OpenID Connect Discovery 1.0 §4, RFC 7517); `StaticKeys` holds
keys that are known already. Both answer through `KeySource`, so that a token is judged the same
way whoever issued it. Nothing that a token says chooses an address: addresses come from
configuration and from the provider's own metadata.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import math
import re
import ssl
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import urlsplit

import aiohttp
import msgspec
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers
from joserfc.jwk import RSAKey
from msgspec import UNSET, UnsetType

from ostiary.errors import ConfigurationError, UnavailableError
from ostiary.wire.strict_json import StrictJSONError, decode

PUBLIC_AUTHORITY = "https://login.microsoftonline.com"

_TTL = 24 * 3600.0
_SEARCH_EVERY = 300.0
_RETRY_AFTER = 20.0
_DEADLINE = 10.0
_DOCUMENT = 1 << 20
_KEYS = 200
_MODULUS = range(2048, 8193)
_TENANT_SLOT = "{tenantid}"


class IssuerUnavailable(UnavailableError):
    """The issuer cannot be asked, and nothing it said before is at hand.

    `retry_after` is in seconds: before then the issuer is not asked again.
    """

    def __init__(self, message: str, *, retry_after: float) -> None:
        """Take a message without names or addresses."""
        super().__init__(message)
        self.retry_after = retry_after


class _Unusable(UnavailableError):
    """What an issuer sent cannot be used; `status` is its HTTP status."""

    def __init__(self, message: str, *, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True, eq=False)
class SigningKey:
    """An RSA public key that may sign tokens; two are the same only if they are one object.

    A source hands out the same object for as long as the key stays in the issuer's set.
    """

    kid: str
    rsa: RSAKey = field(repr=False)
    modulus: int = field(repr=False)
    exponent: int


class KeySource(Protocol):
    """Knows the signing keys of each tenant's issuer."""

    async def key(self, tenant: str, kid: str) -> SigningKey | None:
        """Return the tenant's key of this id, or None where its issuer has none.

        Raises IssuerUnavailable where the issuer cannot be asked and no key of it is known.
        """
        ...

    def current(self, tenant: str, kid: str) -> SigningKey | None:
        """Return the key if it is in the set as last known; asks nobody."""
        ...

    async def v1_issuer(self, tenant: str) -> str | None:
        """Return the `iss` of the tenant's tokens of version 1.0, or None where it has none.

        Raises IssuerUnavailable where this has to be asked and cannot be.
        """
        ...


class _Jwk(msgspec.Struct, frozen=True):
    """The members of a JSON Web Key that decide (RFC 7517 §4, RFC 7518 §6.3)."""

    kty: str
    kid: str
    n: str
    e: str
    use: str | UnsetType = UNSET
    alg: str | UnsetType = UNSET
    key_ops: list[str] | UnsetType = UNSET
    issuer: str | UnsetType = UNSET


class _KeySetDocument(msgspec.Struct, frozen=True):
    keys: list[dict[str, Any]]


class _Metadata(msgspec.Struct, frozen=True):
    issuer: str
    jwks_uri: str


def canonical_authority(text: str) -> str:
    """Return an authority as its issuers begin: https, a host, no trailing slash.

    Raises ConfigurationError for anything else, such as user information or a query.
    """
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ConfigurationError("identity.authority is not a URL") from None
    plain = not (parts.username or parts.password or parts.query or parts.fragment)
    if parts.scheme != "https" or not parts.hostname or not plain or re.search(r"[\s?#@]", text):
        raise ConfigurationError(
            "identity.authority must be an https URL without user, query or fragment"
        )
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    suffix = f":{port}" if port not in (None, 443) else ""
    return f"https://{host}{suffix}{parts.path.rstrip('/')}"


def v2_issuer(authority: str, tenant: str) -> str:
    """Return the `iss` that a tenant's tokens of version 2.0 must carry, letter for letter."""
    return f"{authority}/{tenant}/v2.0"


def public_v1_issuer(tenant: str) -> str:
    """Return the `iss` of a tenant's tokens of version 1.0 in Microsoft's public cloud."""
    return f"https://sts.windows.net/{tenant}/"


def signing_key(
    jwk: Mapping[str, Any], *, issuer: str | None = None, tenant: str = ""
) -> SigningKey:
    """Return the key of a JWK if it may verify RS256 signatures.

    Raises ValueError where it may not: not RSA, of another use or algorithm (RFC 7517 §4.2 to 4.4),
    fewer than 2048 bits (RFC 7518 §3.3) or more than 8192, an exponent that is even or below 3,
    a modulus with the ROCA fingerprint (CVE-2017-15361), or a member `issuer` that names an
    issuer other than `issuer` once its `{tenantid}` is replaced by `tenant`.
    """
    try:
        fields = msgspec.convert(jwk, _Jwk)
    except msgspec.ValidationError:
        raise ValueError("a member is missing or of the wrong type") from None
    if fields.kty != "RSA" or not fields.kid:
        raise ValueError("not a named RSA key")
    if fields.use not in (UNSET, "sig") or fields.alg not in (UNSET, "RS256"):
        raise ValueError("for another use")
    if fields.key_ops is not UNSET and "verify" not in fields.key_ops:
        raise ValueError("not for verifying")
    if fields.issuer is not UNSET and fields.issuer.replace(_TENANT_SLOT, tenant) != issuer:
        raise ValueError("of another issuer")
    modulus, exponent = _unsigned(fields.n), _unsigned(fields.e)
    if modulus.bit_length() not in _MODULUS or modulus % 2 == 0 or _has_roca_fingerprint(modulus):
        raise ValueError("a weak modulus")
    if exponent < 3 or exponent % 2 == 0 or exponent.bit_length() > 32:
        raise ValueError("an unusual exponent")
    rsa = RSAKey.import_key(RSAPublicNumbers(exponent, modulus).public_key())
    return SigningKey(fields.kid, rsa, modulus, exponent)


def _unsigned(text: str) -> int:
    """Decode Base64urlUInt (RFC 7518 §2)."""
    try:
        return int.from_bytes(base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True))
    except (binascii.Error, ValueError):
        raise ValueError("not base64url") from None


def _residues() -> tuple[tuple[int, int], ...]:
    """For each small prime, the residues that a power of 65537 can leave, as a bit set."""
    primes = [p for p in range(3, 168) if all(p % d for d in range(2, math.isqrt(p) + 1))]
    return tuple((p, sum(1 << r for r in {pow(65537, k, p) for k in range(p)})) for p in primes)


_ROCA = _residues()


def _has_roca_fingerprint(modulus: int) -> bool:
    """Whether the modulus looks like one of Infineon's library (Nemec et al. 2017, §3.3)."""
    return all(powers >> (modulus % prime) & 1 for prime, powers in _ROCA)


class StaticKeys:
    """Keys of one tenant that are known beforehand. It has no tokens of version 1.0."""

    def __init__(self, tenant: str, keys: Iterable[SigningKey]) -> None:
        """Hold `keys` for `tenant`."""
        self._tenant = tenant
        self._keys = {key.kid: key for key in keys}

    async def key(self, tenant: str, kid: str) -> SigningKey | None:
        """Return the key, or None."""
        return self.current(tenant, kid)

    def current(self, tenant: str, kid: str) -> SigningKey | None:
        """Return the key, or None."""
        return self._keys.get(kid) if tenant == self._tenant else None

    async def v1_issuer(self, tenant: str) -> str | None:  # noqa: ARG002 - KeySource's shape
        """Return None."""
        return None


@dataclass(slots=True)
class _Tenant:
    """What is known of one tenant's issuer. Times are the clock's; -inf means never."""

    id: str = field(repr=False)
    keys: dict[str, SigningKey] = field(default_factory=dict, repr=False)
    loaded: float = -math.inf
    searched: float = -math.inf
    failed: float = -math.inf
    loading: asyncio.Task[None] | None = None
    v1_issuer: str = field(default="", repr=False)
    v1_loaded: float = -math.inf
    v1_failed: float = -math.inf
    v1_lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class DiscoveredKeys:
    """The key sets of a provider's tenants, as its metadata names them.

    - https only, no redirects, no compression, at most 1 MB a document, one deadline for a load.
    - A set is used for 24 h; whoever calls `refresh` every hour renews it before.
    - A key id that is not in the set makes it be loaded anew, at most every 5 minutes for each
      tenant; the first load does not count.
    - One load at a time for each tenant: whoever else needs it waits for the same one.
    - After a failed load the last set stays in use, and the issuer is asked again no sooner than
      20 s later, so that an issuer that is back is used within a minute.
    """

    def __init__(
        self,
        authority: str,
        tenants: Sequence[str],
        *,
        tls: ssl.SSLContext | None = None,
        deadline: float = _DEADLINE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Speak for `tenants` of `authority`; `clock` is monotonic, in seconds."""
        self._authority = canonical_authority(authority)
        self._tenants = {tenant: _Tenant(tenant) for tenant in tenants}
        self._tls = tls or ssl.create_default_context()
        self._deadline = deadline
        self._clock = clock

    def current(self, tenant: str, kid: str) -> SigningKey | None:
        """Return the key if it is in the set as last loaded."""
        known = self._tenants.get(tenant)
        return known.keys.get(kid) if known else None

    async def key(self, tenant: str, kid: str) -> SigningKey | None:
        """Return the tenant's key of this id; loads the set where it is old or lacks the id."""
        known = self._tenants.get(tenant)
        if known is None:
            return None
        now = self._clock()
        found = known.keys.get(kid)
        stale = now - known.loaded >= _TTL
        if found is not None and not stale:
            return found
        if stale or now - known.searched >= _SEARCH_EVERY:
            self._begin(known, now, search=not stale)
        if known.loading is not None:
            await asyncio.shield(known.loading)
        if not known.keys:
            left = known.failed + _RETRY_AFTER - self._clock()
            raise IssuerUnavailable(
                "the identity issuer cannot be asked", retry_after=max(1.0, left)
            )
        return known.keys.get(kid)

    async def v1_issuer(self, tenant: str) -> str | None:
        """Return the issuer of version 1.0: in other clouds, what its own metadata says.

        A cloud whose metadata has none, or one without the tenant in it, uses the public form.
        """
        known = self._tenants.get(tenant)
        if known is None or self._authority == PUBLIC_AUTHORITY:
            return public_v1_issuer(tenant) if known else None
        async with known.v1_lock:
            now = self._clock()
            if now - known.v1_loaded >= _TTL and now - known.v1_failed >= _RETRY_AFTER:
                await self._load_v1(known)
        if not known.v1_issuer:
            raise IssuerUnavailable("the identity issuer cannot be asked", retry_after=_RETRY_AFTER)
        return known.v1_issuer

    async def refresh(self) -> None:
        """Load every tenant's set now; raises UnavailableError where one could not be loaded."""
        for known in self._tenants.values():
            self._begin(known, math.inf, search=False)
        loads = [known.loading for known in self._tenants.values() if known.loading is not None]
        await asyncio.shield(asyncio.gather(*loads))
        missed = sum(math.isfinite(known.failed) for known in self._tenants.values())
        if missed:
            raise UnavailableError(
                f"signing keys of {missed} of {len(self._tenants)} tenants could not be loaded"
            )

    def _begin(self, known: _Tenant, now: float, *, search: bool) -> None:
        if known.loading is None and now - known.failed >= _RETRY_AFTER:
            known.loading = asyncio.create_task(self._load(known, search=search))

    async def _load(self, known: _Tenant, *, search: bool) -> None:
        issuer = v2_issuer(self._authority, known.id)
        try:
            async with asyncio.timeout(self._deadline), self._session() as session:
                about = await _metadata(session, f"{issuer}/.well-known/openid-configuration")
                if about.issuer.replace(_TENANT_SLOT, known.id) != issuer:
                    raise _Unusable("the metadata is of another issuer")
                document = await _fetch(session, about.jwks_uri)
            known.keys = _usable(document, issuer, known)
        except (aiohttp.ClientError, OSError, ValueError, UnavailableError):
            # TimeoutError is an OSError.
            known.failed = self._clock()
        else:
            known.loaded = self._clock()
            known.failed = -math.inf
            if search:
                known.searched = known.loaded
        finally:
            known.loading = None

    async def _load_v1(self, known: _Tenant) -> None:
        url = f"{self._authority}/{known.id}/.well-known/openid-configuration"
        fallback = public_v1_issuer(known.id)
        try:
            async with asyncio.timeout(self._deadline), self._session() as session:
                issuer = (await _metadata(session, url)).issuer.replace(_TENANT_SLOT, known.id)
        except _Unusable as error:
            if error.status != 404:
                known.v1_failed = self._clock()
                return
            issuer = fallback
        except (aiohttp.ClientError, OSError, ValueError):
            known.v1_failed = self._clock()
            return
        shaped = issuer.startswith("https://") and issuer.endswith(f"/{known.id}/")
        known.v1_issuer = issuer if shaped else fallback
        known.v1_loaded = self._clock()

    def _session(self) -> aiohttp.ClientSession:
        """Open connections for one load: loads are hours apart, so none is worth keeping."""
        connector = aiohttp.TCPConnector(
            ssl=self._tls, resolver=aiohttp.ThreadedResolver(), force_close=True
        )
        return aiohttp.ClientSession(
            connector=connector,
            headers={"Accept": "application/json", "Accept-Encoding": "identity"},
            cookie_jar=aiohttp.DummyCookieJar(),
            # A compressed answer would be counted after it has grown.
            auto_decompress=False,
            trust_env=False,
        )


async def _metadata(session: aiohttp.ClientSession, url: str) -> _Metadata:
    try:
        return msgspec.convert(await _fetch(session, url), _Metadata)
    except msgspec.ValidationError:
        raise _Unusable("the metadata lacks a member") from None


async def _fetch(session: aiohttp.ClientSession, url: str) -> Any:
    if not url.startswith("https://"):
        raise _Unusable("an address of the issuer is not https")
    try:
        async with session.get(url, allow_redirects=False) as answer:
            if answer.status != 200:
                raise _Unusable("not a plain answer", status=answer.status)
            body = bytearray()
            async for piece in answer.content.iter_any():
                body += piece
                if len(body) > _DOCUMENT:
                    raise _Unusable("a document is longer than 1 MB")
        return decode(bytes(body))
    except StrictJSONError:
        raise _Unusable("a document is not JSON") from None


def _usable(document: Any, issuer: str, known: _Tenant) -> dict[str, SigningKey]:
    """The keys of a set that may sign; a key that stayed is the same object as before."""
    try:
        members = msgspec.convert(document, _KeySetDocument).keys
    except msgspec.ValidationError:
        raise _Unusable("the key set lacks a member") from None
    keys: dict[str, SigningKey] = {}
    for member in members[:_KEYS]:
        try:
            key = signing_key(member, issuer=issuer, tenant=known.id)
        except ValueError:
            # One key of a kind that is not ours must not cost the others.
            continue
        former = known.keys.get(key.kid)
        same = former and (former.modulus, former.exponent) == (key.modulus, key.exponent)
        keys.setdefault(key.kid, former if former and same else key)
    if not keys:
        raise _Unusable("the key set has no usable key")
    return keys
