"""Makes tokens of every kind, good and hostile, from parts that no library would put together."""

from __future__ import annotations

import base64
import json
from functools import cache
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from ostiary.issuer_keys import SigningKey, signing_key

NOW = 1_800_000_000
AUTHORITY = "https://login.example.com"
TENANT = "11111111-2222-4333-8444-555555555555"
OTHER_TENANT = "99999999-2222-4333-8444-555555555555"
OBJECT = "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee"
AUDIENCE = "api://gateway"
CLIENT = "77777777-2222-4333-8444-555555555555"
KID = "key-1"


@cache
def private_key(name: str = "issuer") -> rsa.RSAPrivateKey:
    """A key of the test run; one for each name."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def jwk(kid: str = KID, name: str = "issuer", **members: Any) -> dict[str, Any]:
    numbers = private_key(name).public_key().public_numbers()
    n = b64(numbers.n.to_bytes(256))
    return {"kty": "RSA", "kid": kid, "n": n, "e": "AQAB", "use": "sig", **members}


def public(kid: str = KID, name: str = "issuer") -> SigningKey:
    return signing_key(jwk(kid, name))


def header(**members: Any) -> dict[str, Any]:
    return {"typ": "JWT", "alg": "RS256", "kid": KID, **members}


def person(**members: Any) -> dict[str, Any]:
    """The claims of a person's token of version 2.0; a member that is `...` is left out."""
    claims = {
        "iss": f"{AUTHORITY}/{TENANT}/v2.0",
        "aud": AUDIENCE,
        "iat": NOW,
        "nbf": NOW,
        "exp": NOW + 3600,
        "ver": "2.0",
        "tid": TENANT,
        "oid": OBJECT,
        "azp": CLIENT,
        "scp": "ai.chat.use",
        "roles": ["Developer"],
        "preferred_username": "ada@example.com",
    }
    return {k: v for k, v in {**claims, **members}.items() if v is not ...}


def application(**members: Any) -> dict[str, Any]:
    return person(**{"scp": ..., "preferred_username": ..., "idtyp": "app", **members})


def version_1(**members: Any) -> dict[str, Any]:
    iss = f"https://sts.windows.net/{TENANT}/"
    return person(**{"ver": "1.0", "iss": iss, "azp": ..., "appid": CLIENT, **members})


def encoded(part: dict[str, Any] | bytes) -> str:
    return b64(part if isinstance(part, bytes) else json.dumps(part).encode())


def rs256(data: bytes, name: str = "issuer") -> bytes:
    return private_key(name).sign(data, padding.PKCS1v15(), hashes.SHA256())


def token(
    claims: dict[str, Any] | bytes, head: dict[str, Any] | bytes | None = None, name: str = "issuer"
) -> str:
    signed = f"{encoded(header() if head is None else head)}.{encoded(claims)}"
    return f"{signed}.{b64(rs256(signed.encode(), name))}"
