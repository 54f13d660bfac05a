"""Hostile tokens against the token authenticator: each is a 401 with a rule, never anything else.

The issuer's key and a second, foreign key are real; most of these tokens carry a signature that
verifies, because a thief or a careless issuer can produce those.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from ostiary.authenticators import entra
from ostiary.errors import Unauthenticated
from ostiary.exchange import Vouched
from ostiary.issuer_keys import SigningKey
from tests.attacks import forge
from tests.attacks.forge import NOW, TENANT, application, b64, encoded, header, person, token

PEM = forge.private_key().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


class Issuer:
    """A key source of one tenant and one key, whose v1 issuer is the public cloud's."""

    def __init__(self, tenant: str = TENANT) -> None:
        self.keys = {(tenant, forge.KID): forge.public()}

    async def key(self, tenant: str, kid: str) -> SigningKey | None:
        return self.keys.get((tenant, kid))

    def current(self, tenant: str, kid: str) -> SigningKey | None:
        return self.keys.get((tenant, kid))

    async def v1_issuer(self, tenant: str) -> str | None:
        return f"https://sts.windows.net/{tenant}/"


def gateway(**options: Any) -> entra.EntraAuthenticator:
    chosen = {
        "authority": forge.AUTHORITY,
        "tenants": (TENANT,),
        "audiences": (forge.AUDIENCE,),
        **options,
    }
    return entra.build(entra.Options(**chosen), Issuer(), lambda: NOW)


def judge(credential: str, authenticator: entra.EntraAuthenticator | None = None) -> Vouched:
    return asyncio.run((authenticator or gateway()).authenticate(credential, "192.0.2.7"))


def raw(claims: dict[str, Any], *members: str) -> bytes:
    """The claims as JSON text with further members written behind them, as they are."""
    return (json.dumps(claims)[:-1] + "".join(f", {m}" for m in members) + "}").encode()


def resigned(head: dict[str, Any], sign: Any) -> str:
    signed = f"{encoded(head)}.{encoded(person())}"
    return f"{signed}.{b64(sign(signed.encode()))}"


def hs256(key: bytes) -> Any:
    return lambda data: hmac.digest(key, data, hashlib.sha256)


def pss(data: bytes) -> bytes:
    scheme = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
    return forge.private_key().sign(data, scheme, hashes.SHA256())


def rs512(data: bytes) -> bytes:
    return forge.private_key().sign(data, padding.PKCS1v15(), hashes.SHA512())


def es256(data: bytes) -> bytes:
    return ec.generate_private_key(ec.SECP256R1()).sign(data, ec.ECDSA(hashes.SHA256()))


def flipped(part: int, index: int) -> str:
    parts = token(person()).split(".")
    data = bytearray(base64.urlsafe_b64decode(parts[part] + "=="))
    data[index] ^= 1
    parts[part] = b64(bytes(data))
    return ".".join(parts)


def last_character_changed() -> str:
    """The same signature bytes, spelt with other unused bits in the last character."""
    good = token(person())
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return good[:-1] + alphabet[alphabet.index(good[-1]) + 1]


GOOD = token(person())
HEAD, BODY, SIGNATURE = GOOD.split(".")
MALLORY = forge.jwk("mallory", "foreign")

HEADERS: dict[str, tuple[str, str]] = {
    "alg none, no signature": (f"{encoded(header(alg='none'))}.{BODY}.", "token-malformed"),
    "alg none, signature kept": (
        f"{encoded(header(alg='none'))}.{BODY}.{SIGNATURE}",
        "token-header",
    ),
    "alg None": (f"{encoded(header(alg='None'))}.{BODY}.{SIGNATURE}", "token-header"),
    "alg null": (token(person(), header(alg=None)), "token-header"),
    "alg list": (token(person(), header(alg=["RS256"])), "token-header"),
    "alg lower case": (token(person(), header(alg="rs256")), "token-header"),
    "no alg": (token(person(), {"typ": "JWT", "kid": forge.KID}), "token-header"),
    "HS256 with the public PEM": (resigned(header(alg="HS256"), hs256(PEM)), "token-header"),
    "RS256 named, HMAC made": (resigned(header(), hs256(PEM)), "token-signature"),
    "RS512": (resigned(header(alg="RS512"), rs512), "token-header"),
    "RS512 named RS256": (resigned(header(), rs512), "token-signature"),
    "PS256": (resigned(header(alg="PS256"), pss), "token-header"),
    "PS256 named RS256": (resigned(header(), pss), "token-signature"),
    "ES256": (resigned(header(alg="ES256"), es256), "token-header"),
    "typ missing": (token(person(), {"alg": "RS256", "kid": forge.KID}), "token-header"),
    "typ logout+jwt": (token(person(), header(typ="logout+jwt")), "token-header"),
    "typ a list": (token(person(), header(typ=["JWT"])), "token-header"),
    "typ an object": (token(person(), header(typ={"JWT": 1})), "token-header"),
    "crit unknown": (token(person(), header(crit=["exp2"], exp2=1)), "token-header"),
    "crit empty": (token(person(), header(crit=[])), "token-header"),
    "crit b64": (token(person(), header(crit=["b64"], b64=False)), "token-header"),
    "b64 without crit": (token(person(), header(b64=False)), "token-header"),
    "kid missing": (token(person(), {"typ": "JWT", "alg": "RS256"}), "token-header"),
    "kid a number": (token(person(), header(kid=1)), "token-header"),
    "kid an object": (token(person(), header(kid={})), "token-header"),
    "kid empty": (token(person(), header(kid="")), "token-header"),
    "kid long": (token(person(), header(kid="k" * 257)), "token-header"),
    "kid path": (token(person(), header(kid="../../../dev/null")), "token-key-unknown"),
    "kid SQL": (token(person(), header(kid="' OR '1'='1")), "token-key-unknown"),
    "kid CRLF": (token(person(), header(kid="key-1\r\nX: y")), "token-key-unknown"),
    "kid NUL": (token(person(), header(kid="key-1\0")), "token-key-unknown"),
    "kid in other case": (token(person(), header(kid="KEY-1")), "token-key-unknown"),
    "jwk of the attacker": (token(person(), header(jwk=MALLORY), "foreign"), "token-signature"),
    "jku of the attacker": (
        token(person(), header(jku="https://evil.example/keys"), "foreign"),
        "token-signature",
    ),
    "x5u of the attacker": (
        token(person(), header(x5u="https://evil.example/c.pem"), "foreign"),
        "token-signature",
    ),
    "duplicate alg": (
        token(person(), b'{"alg":"none","typ":"JWT","kid":"key-1","alg":"RS256"}'),
        "token-malformed",
    ),
    "header a list": (token(person(), b'["RS256"]'), "token-malformed"),
    "header nested": (
        token(person(), b'{"a":' + b"[" * 3000 + b"]" * 3000 + b"}"),
        "token-malformed",
    ),
    "header 9 KB": (token(person(), header(x="y" * 9000)), "token-signature"),
}

FORMS: dict[str, str] = {
    "empty": "",
    "one part": "abc",
    "dots": "..",
    "two parts": f"{HEAD}.{BODY}",
    "four parts": f"{GOOD}.{SIGNATURE}",
    "five parts, as JWE": f"{GOOD}.{SIGNATURE}.{SIGNATURE}",
    "no signature": f"{HEAD}.{BODY}.",
    "no payload": f"{HEAD}..{SIGNATURE}",
    "padded": f"{HEAD}==.{BODY}.{SIGNATURE}",
    "padded signature": GOOD + "==",
    "plain base64 alphabet": GOOD.replace(".", "+", 1),
    "space inside": GOOD.replace(".", ". "),
    "line feed behind": GOOD + "\n",
    "NUL": GOOD + "\0",
    "not ASCII": GOOD + "é",
    "full-width digits": GOOD + "１",
    "lone surrogate": "\ud800" + GOOD,
    "JSON serialisation": json.dumps({"payload": BODY, "protected": HEAD, "signature": SIGNATURE}),
    "garbage": "Zm9v.YmFy.YmF6",
    "one character parts": "a.b.c",
    "oversized": token(person(name="x" * 16384)),
    "unused bits": last_character_changed(),
    "header bit": flipped(0, 2),
    "payload bit": flipped(1, 20),
    "first signature bit": flipped(2, 0),
    "last signature bit": flipped(2, -1),
    "signature too long": f"{HEAD}.{BODY}.{SIGNATURE}AAAA",
    "signature too short": f"{HEAD}.{BODY}.{SIGNATURE[:-4]}",
    "foreign key": token(person(), None, "foreign"),
}

CLAIMS: dict[str, tuple[dict[str, Any] | bytes, str]] = {
    "no exp": (person(exp=...), "token-claims"),
    "exp null": (person(exp=None), "token-claims"),
    "exp text": (person(exp=str(NOW + 3600)), "token-claims"),
    "exp true": (person(exp=True), "token-claims"),
    "exp 1e300": (raw(person(exp=...), '"exp": 1e300'), "token-claims"),
    "exp Infinity": (raw(person(exp=...), '"exp": Infinity'), "token-malformed"),
    "exp NaN": (raw(person(exp=...), '"exp": NaN'), "token-malformed"),
    "exp 1e999": (raw(person(exp=...), '"exp": 1e999'), "token-malformed"),
    "exp of 400 digits": (raw(person(exp=...), '"exp": ' + "9" * 400), "token-malformed"),
    "exp of 300 digits": (raw(person(exp=...), '"exp": ' + "9" * 300), "token-claims"),
    "exp negative": (person(exp=-1), "token-claims"),
    "exp in ms": (person(exp=(NOW + 3600) * 1000), "token-lifetime"),
    "all times in ms": (
        person(exp=(NOW + 3600) * 1000, iat=NOW * 1000, nbf=NOW * 1000),
        "token-early",
    ),
    "expired": (person(iat=NOW - 7200, nbf=NOW - 7200, exp=NOW - 60), "token-expired"),
    "lives 31 hours": (person(exp=NOW + 31 * 3600), "token-lifetime"),
    "exp before iat": (person(iat=NOW + 30, nbf=NOW, exp=NOW + 20), "token-lifetime"),
    "no iat": (person(iat=...), "token-claims"),
    "iat a list": (person(iat=[NOW]), "token-claims"),
    "iat in the future": (person(iat=NOW + 120, exp=NOW + 3600), "token-early"),
    "nbf in the future": (person(nbf=NOW + 120), "token-early"),
    "nbf text": (person(nbf="0"), "token-claims"),
    "no iss": (person(iss=...), "token-claims"),
    "iss a list": (person(iss=[f"{forge.AUTHORITY}/{TENANT}/v2.0"]), "token-claims"),
    "iss another host": (person(iss=f"https://evil.example/{TENANT}/v2.0"), "token-issuer"),
    "iss for SSRF": (person(iss="http://169.254.169.254/latest/v2.0"), "token-issuer"),
    "iss another tenant": (
        person(iss=f"{forge.AUTHORITY}/{forge.OTHER_TENANT}/v2.0"),
        "token-issuer",
    ),
    "iss with slash behind": (person(iss=f"{forge.AUTHORITY}/{TENANT}/v2.0/"), "token-issuer"),
    "iss a template": (person(iss=f"{forge.AUTHORITY}/{{tenantid}}/v2.0"), "token-issuer"),
    "iss of version 1 in version 2": (
        person(iss=f"https://sts.windows.net/{TENANT}/"),
        "token-issuer",
    ),
    "iss of version 2 in version 1": (
        forge.version_1(iss=f"{forge.AUTHORITY}/{TENANT}/v2.0"),
        "token-issuer",
    ),
    "no aud": (person(aud=...), "token-claims"),
    "aud a list with ours": (person(aud=[forge.AUDIENCE]), "token-claims"),
    "aud Azure AI": (person(aud="https://cognitiveservices.azure.com"), "token-audience"),
    "aud in other case": (person(aud="API://gateway"), "token-audience"),
    "aud longer": (person(aud=forge.AUDIENCE + ".evil"), "token-audience"),
    "aud empty": (person(aud=""), "token-audience"),
    "no ver": (person(ver=...), "token-claims"),
    "ver 3.0": (person(ver="3.0"), "token-claims"),
    "ver a number": (person(ver=2.0), "token-claims"),
    "no tid": (person(tid=...), "token-claims"),
    "tid a list": (person(tid=[TENANT]), "token-claims"),
    "tid common": (person(tid="common"), "token-claims"),
    "tid with line feed": (person(tid=TENANT + "\n"), "token-claims"),
    "tid foreign": (
        person(tid=forge.OTHER_TENANT, iss=f"{forge.AUTHORITY}/{forge.OTHER_TENANT}/v2.0"),
        "token-tenant",
    ),
    "tid of personal accounts": (
        person(tid="9188040d-6c67-4c5b-b112-36a304b66dad"),
        "token-tenant",
    ),
    "tid twice": (raw(person(), f'"tid": "{forge.OTHER_TENANT}"'), "token-malformed"),
    "tid twice, escaped": (raw(person(), f'"t\\u0069d": "{TENANT}"'), "token-malformed"),
    "roles twice": (raw(person(), '"roles": ["Admin"]'), "token-malformed"),
    "no oid": (person(oid=...), "token-claims"),
    "oid a list": (person(oid=[forge.OBJECT]), "token-claims"),
    "oid no GUID": (person(oid="ada"), "token-claims"),
    "oid null": (person(oid=None), "token-claims"),
    "no azp": (person(azp=...), "token-claims"),
    "azp empty": (person(azp=""), "token-claims"),
    "appid in version 2": (person(azp=..., appid=forge.CLIENT), "token-claims"),
    "azp in version 1": (forge.version_1(appid=..., azp=forge.CLIENT), "token-claims"),
    "scp a list": (person(scp=["ai.chat.use"]), "token-claims"),
    "scp null": (person(scp=None), "token-claims"),
    "scp false": (person(scp=False), "token-claims"),
    "roles text": (person(roles="Admin"), "token-claims"),
    "roles of numbers": (person(roles=[1]), "token-claims"),
    "roles null": (person(roles=None), "token-claims"),
    "roles an object": (person(roles={"Admin": True}), "token-claims"),
    "idtyp unknown": (application(idtyp="device"), "token-claims"),
    "idtyp in other case": (application(idtyp="USER"), "token-claims"),
    "name a list": (person(preferred_username=["ada"]), "token-claims"),
    "ID token": (
        person(azp=..., scp=..., nonce="n-0S6", aud=forge.CLIENT),
        "token-claims",
    ),
    "ID token with our audience": (person(azp=..., scp=..., nonce="n-0S6"), "token-claims"),
    "nonce beside azp": (person(nonce="n-0S6"), "token-claims"),
    "payload a list": (b"[]", "token-malformed"),
    "payload empty object": (b"{}", "token-claims"),
    "payload no JSON": (b"foo", "token-malformed"),
    "payload not UTF-8": (b'{"tid": "\xff"}', "token-malformed"),
    "payload UTF-16": (json.dumps(person()).encode("utf-16"), "token-malformed"),
    "payload with BOM": (b"\xef\xbb\xbf" + json.dumps(person()).encode(), "token-malformed"),
    "payload with lone surrogate": (raw(person(), '"name": "\\ud800"'), "token-malformed"),
    "payload two documents": (json.dumps(person()).encode() + b"{}", "token-malformed"),
    "payload nested": (raw(person(), '"x": ' + "[" * 5000 + "]" * 5000), "token-malformed"),
}


@pytest.mark.parametrize("case", HEADERS)
def test_a_hostile_header_is_refused(case: str) -> None:
    credential, rule = HEADERS[case]
    with pytest.raises(Unauthenticated) as refusal:
        judge(credential)
    assert refusal.value.rule == rule


@pytest.mark.parametrize("case", FORMS)
def test_what_is_not_a_signed_token_is_refused(case: str) -> None:
    with pytest.raises(Unauthenticated) as refusal:
        judge(FORMS[case])
    assert refusal.value.rule in {"token-malformed", "token-header", "token-signature"}


@pytest.mark.parametrize("case", CLAIMS)
def test_hostile_claims_under_a_good_signature_are_refused(case: str) -> None:
    claims, rule = CLAIMS[case]
    with pytest.raises(Unauthenticated) as refusal:
        judge(token(claims))
    assert refusal.value.rule == rule


@pytest.mark.parametrize(
    "claims",
    [
        person(),
        person(exp=NOW + 3600.5, iat=NOW + 0.25),
        person(scp=""),
        person(scp=..., idtyp="user"),
        person(iat=NOW - 3600, nbf=NOW - 3600, exp=NOW - 59),
        person(iat=NOW + 60, nbf=NOW + 60),
        person(exp=NOW + 30 * 3600),
        person(nbf=...),
        person(roles=...),
        person(tid=TENANT.upper()),
        person(oid=forge.OBJECT.upper()),
        person(groups=["g"], xms_cc=["cp1"], unknown={"deep": [1]}),
        application(),
        application(idtyp=...),
        forge.version_1(),
        forge.version_1(unique_name="ada@example.com", preferred_username=...),
    ],
)
def test_a_good_token_passes(claims: dict[str, Any]) -> None:
    vouched = judge(token(claims))
    assert vouched.subject is not None
    assert (vouched.subject.tenant, vouched.subject.object_id) == (TENANT, forge.OBJECT)


@pytest.mark.parametrize(
    "head",
    [
        header(),
        header(typ="at+jwt"),
        header(x5t=forge.KID, nonce="n" * 600),
        header(jku="https://evil.example/keys", x5u="https://evil.example/c.pem"),
        header(jwk=MALLORY),
    ],
)
def test_header_members_that_are_not_used_do_no_harm(head: dict[str, Any]) -> None:
    assert judge(token(person(), head)).roles == ("Developer",)


def test_a_refusal_quotes_nothing_of_the_token_and_carries_the_challenge() -> None:
    credential = token(person(aud="api://secret-project", exp=NOW - 100, iat=NOW - 200))
    with pytest.raises(Unauthenticated) as refusal:
        judge(credential)
    assert "secret" not in f"{refusal.value!r}{refusal.value.message}"
    assert refusal.value.headers == {"WWW-Authenticate": 'Bearer error="invalid_token"'}
    assert (refusal.value.layer, refusal.value.status) == ("authn", 401)


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(person(appid="", idtyp="", upn="", c_hash="", nbf=0))), ANY_JSON)
def test_any_value_of_any_claim_is_taken_or_refused_but_never_breaks(
    claim: str, value: Any
) -> None:
    credential = token(person(**{claim: value}))
    try:
        vouched = judge(credential)
    except Unauthenticated:
        return
    assert vouched.subject is not None
    assert vouched.subject.tenant == TENANT


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=60) | st.binary(max_size=60).map(lambda b: f"{b64(b)}.{BODY}.{SIGNATURE}"))
def test_any_text_is_refused_without_breaking(credential: str) -> None:
    with pytest.raises(Unauthenticated):
        judge(credential)
