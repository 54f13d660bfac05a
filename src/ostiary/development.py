"""The development issuer: real RS256 tokens without a directory, for one machine.

It is one configuration of the Entra authenticator (its own authority, tenant, audience and key),
not a second way in: a development token is proven by the same steps as any other.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterable
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from joserfc import jws
from joserfc.jwk import RSAKey

from ostiary.authenticators import entra
from ostiary.errors import ConfigurationError
from ostiary.exchange import Subject
from ostiary.issuer_keys import StaticKeys, signing_key, v2_issuer

AUTHORITY = "https://development.ostiary.invalid"
TENANT = "05710a12-de7e-4000-8000-000000000000"
AUDIENCE = "api://ostiary"
CLIENT = "05710a12-de7e-4000-8000-000000000001"

_USERS = uuid.UUID("05710a12-de7e-4000-8000-000000000002")
_APPLICATIONS = uuid.UUID("05710a12-de7e-4000-8000-000000000003")
_NAME_CHARACTERS = 256


def generate_private_key() -> bytes:
    """Return a new RSA-2048 private key as unencrypted PKCS #8 PEM (RFC 5958)."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


class DevelopmentIssuer:
    """Issues tokens that only a gateway with the same private key takes.

    The object id is a UUIDv5 of the name, so that a name is the same person in every token.
    """

    def __init__(self, private_key_pem: bytes) -> None:
        """Take the key that signs; raises ConfigurationError where it is not RSA-2048 or more."""
        try:
            key = load_pem_private_key(private_key_pem, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise ConfigurationError("the development key is not an unencrypted PEM key") from None
        if not isinstance(key, rsa.RSAPrivateKey) or key.key_size < 2048:
            raise ConfigurationError("the development key must be RSA of at least 2048 bits")
        self._key = RSAKey.import_key(key)
        self._kid = self._key.thumbprint()

    @property
    def options(self) -> entra.Options:
        """The options of the authenticator that takes these tokens."""
        return entra.Options(authority=AUTHORITY, tenants=(TENANT,), audiences=(AUDIENCE,))

    def keys(self) -> StaticKeys:
        """Return the public half, under its RFC 7638 thumbprint as `kid`."""
        public = self._key.as_dict(private=False)
        jwk = {"kty": "RSA", "kid": self._kid, "n": public["n"], "e": public["e"]}
        return StaticKeys(TENANT, [signing_key(jwk)])

    def subject(self, user: str, *, application: bool = False) -> Subject:
        """Return whom a token of this name is about; an application is never a user's namesake."""
        _check_name(user)
        oid = uuid.uuid5(_APPLICATIONS if application else _USERS, user)
        return Subject(TENANT, str(oid), user)

    def token(
        self,
        user: str,
        roles: Iterable[str],
        scopes: Iterable[str] | None,
        *,
        expires_in: int = 3600,
        application: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> str:
        """Return a signed token in compact form, with the claims of an Entra v2.0 access token.

        A person's token holds `scp`, empty where `scopes` is None; an application's holds none,
        and goes by its roles alone. `expires_in` is in seconds and may be negative. Raises
        ConfigurationError where the name is unusable or an application is given scopes.
        """
        subject = self.subject(user, application=application)
        if application and scopes is not None:
            raise ConfigurationError("an application's token has no scopes: roles decide alone")
        now = int(clock())
        claims: dict[str, Any] = {
            "iss": v2_issuer(AUTHORITY, TENANT),
            "aud": AUDIENCE,
            "iat": now,
            "nbf": now,
            "exp": now + expires_in,
            "ver": "2.0",
            "tid": TENANT,
            "oid": subject.object_id,
            "sub": subject.object_id,
            "azp": subject.object_id if application else CLIENT,
            "azpacr": "1" if application else "0",
            "idtyp": "app" if application else "user",
            "roles": list(roles),
        }
        if application:
            claims["app_displayname"] = user
        else:
            claims |= {"preferred_username": user, "name": user, "scp": " ".join(scopes or ())}
        header = {"typ": "JWT", "alg": "RS256", "kid": self._kid}
        payload = json.dumps(claims, separators=(",", ":"), ensure_ascii=False).encode()
        return jws.serialize_compact(header, payload, self._key, algorithms=["RS256"])


def _check_name(user: str) -> None:
    try:
        user.encode()
    except UnicodeEncodeError:
        raise ConfigurationError("the user's name is not valid Unicode") from None
    if not user.strip() or len(user) > _NAME_CHARACTERS or not user.isprintable():
        raise ConfigurationError(
            f"the user's name must be 1 to {_NAME_CHARACTERS} printable characters, not blank"
        )
