"""Clients that sign in: tokens that msal and azure-identity get from an issuer over TLS.

The issuer speaks as Entra ID does; the gateway serves TLS with a certificate of the same
authority, because Azure's clients send a token over nothing else.
"""

from __future__ import annotations

import json
import time

import pytest

from tests.sdk.test_clients import OPENAI_3, report
from tests.simulator.gateway import Gateway, upstream_settings
from tests.simulator.issuer import AUDIENCE, FOREIGN, SERVED, Application, Issuer
from tests.simulator.upstream import Upstream

WAYS = ["AzureOpenAI", "OpenAI", "langchain", "projects", "inference"]
PAST = int(time.time()) - 7200
GOOD = Application()
EXPIRED = Application(claims={"iat": PAST, "nbf": PAST, "exp": PAST + 3600})
REASONS = {"audience": "audience", "expired": "expired", "tenant": "tenant"}


@pytest.fixture(scope="module")
def upstream():
    with Upstream("Signed in.") as running:
        yield running


@pytest.fixture(scope="module")
def issuer(tmp_path_factory):
    with Issuer(tmp_path_factory.mktemp("issuer"), [GOOD, EXPIRED]) as running:
        yield running


@pytest.fixture(scope="module")
def gateway(upstream, issuer, tmp_path_factory):
    folder = tmp_path_factory.mktemp("entra")
    chain, key = issuer.pair(folder)
    settings = {
        **upstream_settings(upstream.url),
        "OSTIARY_IDENTITY__AUTHORITY": issuer.authority,
        "OSTIARY_IDENTITY__TENANTS": json.dumps([SERVED]),
        "OSTIARY_IDENTITY__AUDIENCES": json.dumps([AUDIENCE]),
        "OSTIARY_IDENTITY__DEVELOPMENT": "false",
        "OSTIARY_SERVER__TLS": "files",
        "OSTIARY_SERVER__TLS_CERT_FILE": str(chain),
        "OSTIARY_SERVER__TLS_KEY_FILE": str(key),
        "SSL_CERT_FILE": str(issuer.trust),
    }
    with Gateway(folder / "home", settings) as running:
        yield running


@pytest.fixture(scope="module")
def seen(gateway, issuer, tmp_path_factory):
    """What each client saw: way → credential → result."""
    given = {
        "authority": issuer.authority,
        "trust": str(issuer.trust),
        "tenant": SERVED,
        "foreign": FOREIGN,
        "application": GOOD.id,
        "expired": EXPIRED.id,
        "secret": GOOD.secret,
        "scope": f"{AUDIENCE}/.default",
        "url": gateway.url,
        "model": "gpt-4o",
    }
    variables = {
        "HOME": str(tmp_path_factory.mktemp("nobody")),
        "REQUESTS_CA_BUNDLE": str(issuer.trust),
        "SSL_CERT_FILE": str(issuer.trust),
    }
    return report(OPENAI_3, "with_entra", given, variables)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("credential", ["good", "environment"])
def test_a_token_that_azure_identity_got_opens_the_gateway(seen, way, credential):
    assert seen[way][credential] == {"said": "Signed in."}


def test_a_token_that_msal_got_opens_the_gateway(seen):
    assert seen["msal"]["good"] == {"said": "Signed in."}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("credential", REASONS)
def test_a_wrong_token_is_the_clients_own_error_and_says_why(seen, way, credential):
    error = seen[way][credential]
    kind = "ClientAuthenticationError" if way == "inference" else "AuthenticationError"
    assert kind in error["types"]
    assert error["status"] == 401
    assert REASONS[credential] in error["message"]


def test_a_token_for_microsofts_own_api_is_not_taken(seen):
    error = seen["projects alone"]["good"]
    assert error["status"] == 401
    assert "another audience" in error["message"]


def test_a_token_of_a_foreign_tenant_asks_its_issuer_nothing(seen, issuer):
    keys = [path for path in issuer.asked if path.endswith("/discovery/v2.0/keys")]
    assert keys == [f"/{SERVED}/discovery/v2.0/keys"]
