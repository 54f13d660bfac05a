"""What a token vouches for, what is remembered of it, and which configuration is refused."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from ostiary.authenticators import entra
from ostiary.errors import ConfigurationError, ServiceUnavailable, Unauthenticated
from ostiary.exchange import Subject, Vouched
from ostiary.issuer_keys import IssuerUnavailable, SigningKey, signing_key
from tests import vectors
from tests.attacks import forge
from tests.attacks.forge import NOW, TENANT, application, person, token, version_1


class Issuer:
    """A key source that a test can change; it counts how often a key is asked for."""

    def __init__(self) -> None:
        self.keys = {(TENANT, forge.KID): forge.public()}
        self.asked = 0
        self.down = False
        self.v1: str | None = f"https://sts.windows.net/{TENANT}/"

    async def key(self, tenant: str, kid: str) -> SigningKey | None:
        self.asked += 1
        if self.down:
            raise IssuerUnavailable("down", retry_after=7.0)
        return self.keys.get((tenant, kid))

    def current(self, tenant: str, kid: str) -> SigningKey | None:
        return self.keys.get((tenant, kid))

    async def v1_issuer(self, tenant: str) -> str | None:
        if self.down:
            raise IssuerUnavailable("down", retry_after=7.0)
        return self.v1


class Gateway:
    """An authenticator with its issuer and a clock that the test moves."""

    def __init__(self, **options: Any) -> None:
        self.issuer = Issuer()
        self.now = float(NOW)
        chosen = {
            "authority": forge.AUTHORITY,
            "tenants": (TENANT,),
            "audiences": (forge.AUDIENCE,),
            **options,
        }
        self.authenticator = entra.build(entra.Options(**chosen), self.issuer, lambda: self.now)

    def judge(self, credential: str) -> Vouched:
        return asyncio.run(self.authenticator.authenticate(credential, "192.0.2.7"))

    def refusal(self, credential: str) -> str:
        with pytest.raises(Unauthenticated) as refusal:
            self.judge(credential)
        return refusal.value.rule


def test_a_persons_token_vouches_for_tid_and_oid_with_scopes() -> None:
    assert Gateway().judge(token(person(scp="ai.chat.use  audit.read"))) == Vouched(
        method="token",
        application=False,
        roles=("Developer",),
        scopes=frozenset({"ai.chat.use", "audit.read"}),
        grants=None,
        subject=Subject(TENANT, forge.OBJECT, "ada@example.com"),
        issued_at=float(NOW),
        client=forge.CLIENT,
    )


@pytest.mark.parametrize(
    "claims",
    [
        person(scp=""),
        person(scp=..., idtyp="user"),
        person(scp="", idtyp="app"),
        version_1(scp=""),
    ],
)
def test_a_persons_token_without_a_scope_has_the_empty_set(claims: dict[str, Any]) -> None:
    vouched = Gateway().judge(token(claims))
    assert (vouched.application, vouched.scopes) == (False, frozenset())


@pytest.mark.parametrize("claims", [application(), application(idtyp=...), version_1(scp=...)])
def test_an_applications_token_has_roles_and_no_scopes(claims: dict[str, Any]) -> None:
    vouched = Gateway().judge(token(claims))
    assert (vouched.application, vouched.scopes) == (True, None)
    assert vouched.roles == ("Developer",)
    assert vouched.client == forge.CLIENT


def test_scopes_are_separated_by_spaces_alone() -> None:
    vouched = Gateway().judge(token(person(scp="a\tb c\u00a0d")))
    assert vouched.scopes == {"a\tb", "c\u00a0d"}


def test_the_names_that_can_change_do_not_change_who_it_is() -> None:
    gateway = Gateway()
    before = gateway.judge(token(person())).subject
    after = gateway.judge(token(person(preferred_username="grace@example.com", name="G"))).subject
    assert before is not None
    assert after is not None
    assert (before.tenant, before.object_id) == (after.tenant, after.object_id)


def test_nothing_personal_is_in_a_repr() -> None:
    gateway = Gateway()
    shown = repr(gateway.judge(token(person()))) + repr(gateway.authenticator._proven)
    assert "ada" not in shown
    assert forge.OBJECT not in shown
    assert TENANT not in shown


def test_whatever_is_no_key_is_a_token() -> None:
    claims = Gateway().authenticator.claims
    assert claims("eyJ")
    assert claims("")
    assert claims("AIF_")
    assert not claims("aif_")


def test_a_proven_token_is_not_proven_again() -> None:
    gateway = Gateway()
    first = gateway.judge(token(person()))
    assert gateway.judge(token(person())) is first
    assert gateway.issuer.asked == 1


def test_a_proven_token_expires_with_its_skew() -> None:
    gateway = Gateway()
    credential = token(person())
    gateway.judge(credential)
    gateway.now = NOW + 3600 + 59.9
    gateway.judge(credential)
    gateway.now = NOW + 3600 + 60
    assert gateway.refusal(credential) == "token-expired"
    assert gateway.refusal(credential) == "token-expired"


def test_a_proven_token_ends_with_its_key() -> None:
    gateway = Gateway()
    credential = token(person())
    gateway.judge(credential)
    gateway.issuer.keys = {(TENANT, forge.KID): forge.public(forge.KID, "second")}
    assert gateway.refusal(credential) == "token-signature"
    gateway.issuer.keys = {}
    assert gateway.refusal(credential) == "token-key-unknown"


def test_a_proven_token_outlives_an_outage_of_its_issuer() -> None:
    gateway = Gateway()
    credential = token(person())
    gateway.judge(credential)
    gateway.issuer.down = True
    gateway.judge(credential)


def test_a_refused_token_is_not_remembered() -> None:
    gateway = Gateway()
    early = token(person(nbf=NOW + 120))
    assert gateway.refusal(early) == "token-early"
    gateway.now += 60
    gateway.judge(early)


def test_what_is_remembered_is_bounded_and_the_longest_unused_goes_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(entra, "_REMEMBERED", 3)
    gateway = Gateway()
    credentials = [token(person(name=str(n))) for n in range(4)]
    for credential in credentials[:3]:
        gateway.judge(credential)
    gateway.judge(credentials[0])
    gateway.judge(credentials[3])
    assert gateway.issuer.asked == 4
    gateway.judge(credentials[0])
    assert gateway.issuer.asked == 4
    gateway.judge(credentials[1])
    assert gateway.issuer.asked == 5


def test_no_token_is_kept_in_memory() -> None:
    gateway = Gateway()
    gateway.judge(token(person()))
    assert [len(digest) for digest in gateway.authenticator._proven] == [32]


def test_claims_are_read_from_the_very_bytes_that_were_signed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(entra, "verify_rs256", lambda token, key: b"{}")
    assert Gateway().refusal(token(person())) == "token-signature"


@pytest.mark.parametrize("claims", [person(), version_1()])
def test_an_issuer_that_cannot_be_asked_is_a_503(claims: dict[str, Any]) -> None:
    gateway = Gateway()
    gateway.issuer.down = True
    with pytest.raises(ServiceUnavailable) as refusal:
        gateway.judge(token(claims))
    assert (refusal.value.rule, refusal.value.layer) == ("issuer-unavailable", "authn")
    assert refusal.value.retry_after == 7.0


@pytest.mark.parametrize(
    "credential",
    ["x", token(person(tid=forge.OTHER_TENANT)), token(person(), forge.header(alg="none"))],
)
def test_what_is_refused_on_sight_never_asks_the_issuer(credential: str) -> None:
    gateway = Gateway()
    gateway.refusal(credential)
    assert gateway.issuer.asked == 0


def test_the_issuer_of_version_1_is_the_sources_word() -> None:
    gateway = Gateway()
    gateway.issuer.v1 = f"https://sts.cloud.example/{TENANT}/"
    gateway.judge(token(version_1(iss=gateway.issuer.v1)))
    assert gateway.refusal(token(version_1())) == "token-issuer"
    gateway.issuer.v1 = None
    assert gateway.refusal(token(version_1(name="again"))) == "token-issuer"


def test_several_tenants_each_have_their_own_keys() -> None:
    gateway = Gateway(tenants=(TENANT, forge.OTHER_TENANT.upper()))
    gateway.issuer.keys[forge.OTHER_TENANT, forge.KID] = forge.public(forge.KID, "second")
    issuer = f"{forge.AUTHORITY}/{forge.OTHER_TENANT}/v2.0"
    claims = person(tid=forge.OTHER_TENANT, iss=issuer)
    gateway.judge(token(claims, None, "second"))
    assert gateway.refusal(token(claims)) == "token-signature"


@pytest.mark.parametrize(
    "options",
    [
        {"tenants": ()},
        {"tenants": ("common",)},
        {"tenants": ("*",)},
        {"tenants": (TENANT, "organizations")},
        {"tenants": (TENANT + "\n",)},
        {"audiences": ()},
        {"audiences": ("",)},
        {"audiences": ("https://cognitiveservices.azure.com",)},
        {"audiences": ("https://ai.azure.com/",)},
        {"audiences": ("https://ML.Azure.com/.default",)},
        {"audiences": ("https://graph.microsoft.com",)},
        {"audiences": ("https://vault.azure.net",)},
        {"audiences": ("00000003-0000-0000-c000-000000000000",)},
        {"audiences": (forge.AUDIENCE, "7D312290-28C8-473C-A0ED-8E53749B6D6D")},
        {"authority": "http://login.example.com"},
        {"clock_skew": -1.0},
        {"max_lifetime": 0.0},
    ],
)
def test_an_unsafe_configuration_is_refused_without_being_quoted(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        Gateway(**options)
    assert str(refusal.value).startswith("identity.")


@pytest.mark.parametrize("audience", ["api://gateway", "https://gateway.example.com", "x", "://["])
def test_an_audience_of_the_operators_own_is_taken(audience: str) -> None:
    Gateway(audiences=(audience,)).judge(token(person(aud=audience)))


def test_an_audience_that_is_a_client_id_is_compared_in_lower_case() -> None:
    Gateway(audiences=(forge.CLIENT.upper(),)).judge(token(person(aud=forge.CLIENT)))


# The README of the vectors explains why these have no right answer.
UNFAIR = {367, 370, 372, 373}
UNFAIR_COMMENTS = ("Figure20", "Figure27")


def signatures() -> list[tuple[dict[str, Any], dict[str, Any]]]:
    loaded: Any = vectors.load("wycheproof/json_web_signature_test.json")
    return [
        (group["public"], case)
        for group in loaded["testGroups"]
        if group.get("public", {}).get("kty") == "RSA"
        for case in group["tests"]
        if case["tcId"] not in UNFAIR and not case["comment"].startswith(UNFAIR_COMMENTS)
    ]


def accepts(public: dict[str, Any], case: dict[str, Any]) -> bool:
    """The key step and the signature step, as the proof does them."""
    try:
        key = signing_key({"kid": "unnamed", **public})
        return entra.verify_rs256(case["jws"], key) is not None
    except ValueError:
        return False


def test_wycheproofs_rsa_signatures_are_judged_as_it_says() -> None:
    wrong = []
    judged = {"valid": 0, "invalid": 0}
    for public, case in signatures():
        # A valid signature of another algorithm is not for RS256, and so refused.
        valid = case["result"] == "valid" and public.get("alg") == "RS256"
        judged["valid" if valid else "invalid"] += 1
        if accepts(public, case) != valid:
            wrong.append((case["tcId"], case["comment"]))
    assert wrong == []
    assert judged == {"valid": 8, "invalid": 308}
