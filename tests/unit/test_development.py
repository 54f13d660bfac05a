"""The development issuer's tokens are real ones: the same authenticator proves them."""

from __future__ import annotations

import asyncio
from functools import cache
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from ostiary import development
from ostiary.authenticators import entra
from ostiary.development import DevelopmentIssuer, generate_private_key
from ostiary.errors import ConfigurationError, Unauthenticated
from ostiary.exchange import Vouched

NOW = 1_800_000_000.75


@cache
def key(name: str) -> bytes:
    return generate_private_key()


def issuer(name: str = "first") -> DevelopmentIssuer:
    return DevelopmentIssuer(key(name))


def judge(token: str, now: float = NOW, by: str = "first") -> Vouched:
    authenticator = entra.build(issuer(by).options, issuer(by).keys(), lambda: now)
    return asyncio.run(authenticator.authenticate(token, "127.0.0.1"))


def made(user: str = "alice", **options: Any) -> str:
    scopes = options.pop("scopes", ["ai.chat.use", "whatever.else"])
    return issuer().token(user, ["Developer"], scopes, clock=lambda: NOW, **options)


def test_a_persons_token_vouches_for_the_persons_subject() -> None:
    vouched = judge(made())
    assert vouched.subject == issuer().subject("alice")
    assert vouched.subject is not None
    assert vouched.subject.name == "alice"
    assert vouched.roles == ("Developer",)
    assert vouched.scopes == {"ai.chat.use", "whatever.else"}
    assert not vouched.application


def test_a_name_is_the_same_person_whatever_key_signs() -> None:
    assert issuer().subject("alice") == issuer("second").subject("alice")
    assert issuer().subject("alice").object_id != issuer().subject("Alice").object_id


def test_an_applications_token_has_no_scopes_and_is_no_users_namesake() -> None:
    vouched = judge(made("alice", application=True, scopes=None))
    assert (vouched.application, vouched.scopes) == (True, None)
    assert vouched.subject == issuer().subject("alice", application=True)
    assert vouched.subject != issuer().subject("alice")
    with pytest.raises(ConfigurationError):
        made(application=True)


def test_a_person_without_scopes_has_the_empty_set() -> None:
    assert judge(made(scopes=None)).scopes == frozenset()


def test_a_token_ends_when_it_was_told_to() -> None:
    judge(made(expires_in=10), NOW + 60)
    with pytest.raises(Unauthenticated) as refusal:
        judge(made(expires_in=10), NOW + 70)
    assert refusal.value.rule == "token-expired"
    with pytest.raises(Unauthenticated):
        judge(made(expires_in=-100))


def test_another_gateways_token_is_refused() -> None:
    with pytest.raises(Unauthenticated) as refusal:
        judge(made(), by="second")
    assert refusal.value.rule == "token-key-unknown"


def test_a_name_in_any_script_survives() -> None:
    assert judge(made("Zoë 山田 🦉")).subject == issuer().subject("Zoë 山田 🦉")


@pytest.mark.parametrize("user", ["", " ", "a" * 257, "a\nb", "a\0", "\ud800"])
def test_an_unusable_name_is_refused(user: str) -> None:
    with pytest.raises(ConfigurationError):
        made(user)


def test_a_generated_key_is_rsa_2048_in_pkcs8() -> None:
    pem = generate_private_key()
    key = load_pem_private_key(pem, None)
    assert isinstance(key, rsa.RSAPrivateKey)
    assert key.key_size == 2048
    assert pem.startswith(b"-----BEGIN PRIVATE KEY-----")


def pem(key: Any, **encryption: Any) -> bytes:
    how = encryption.get("encryption", NoEncryption())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----",
        pem(ec.generate_private_key(ec.SECP256R1())),
        pem(rsa.generate_private_key(public_exponent=65537, key_size=1024)),
        pem(
            ec.generate_private_key(ec.SECP256R1()),
            encryption=BestAvailableEncryption(b"secret"),
        ),
    ],
)
def test_a_key_of_another_kind_is_refused(text: bytes) -> None:
    with pytest.raises(ConfigurationError):
        DevelopmentIssuer(text)


def test_the_development_audience_is_not_microsofts() -> None:
    assert not entra.is_microsofts(development.AUDIENCE)
