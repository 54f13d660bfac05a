"""A model, and an identity provider, behind TLS: their certificates are verified."""

from __future__ import annotations

import datetime
import json
import ssl
from typing import Any

import pytest
import trustme
from aiohttp import web

from tests.simulator.client import bearer, chat, check_problem, send
from tests.simulator.gateway import Gateway
from tests.simulator.upstream import Upstream

TENANT = "11111111-1111-4111-8111-111111111111"
CLIENT = "22222222-2222-4222-8222-222222222222"
YESTERDAY = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)


class TlsUpstream(Upstream):
    """The same model behind a certificate of the test's own."""

    def __init__(self, certificate: trustme.LeafCert) -> None:
        super().__init__()
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(self._context)

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        if request.path.endswith("/oauth2/v2.0/token"):
            form = await request.post()
            return self.issue(dict(form))
        return await super()._serve(request)

    def issue(self, form: dict[str, Any]) -> web.Response:
        assert form["scope"] == "https://cognitiveservices.azure.com/.default"
        assert form["client_secret"] == "client-secret"
        token = {"token_type": "Bearer", "expires_in": 3600, "access_token": "token-over-tls"}
        return web.json_response(token)

    async def _start(self) -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self._context)
        await site.start()
        self.url = f"https://localhost:{site._server.sockets[0].getsockname()[1]}/v1"


@pytest.fixture(scope="module")
def models():
    ours, other = trustme.CA(), trustme.CA()
    certificates = {
        "good": ours.issue_cert("localhost", "127.0.0.1"),
        "name": ours.issue_cert("elsewhere.example"),
        "expired": ours.issue_cert("localhost", not_after=YESTERDAY),
        "stranger": other.issue_cert("localhost"),
    }
    running = {name: TlsUpstream(certificate) for name, certificate in certificates.items()}
    for one in running.values():
        one.__enter__()
    yield ours, running
    for one in running.values():
        one.__exit__()


@pytest.fixture(scope="module", params=["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"])
def gateway(request, models, tmp_path_factory):
    ours, running = models
    folder = tmp_path_factory.mktemp("tls")
    ours.cert_pem.write_to_path(folder / "ca.pem")
    variables = {request.param: str(folder / "ca.pem")}
    for name, upstream in running.items():
        variables[f"OSTIARY_PROVIDERS__{name.upper()}__KIND"] = "openai"
        variables[f"OSTIARY_PROVIDERS__{name.upper()}__BASE_URL"] = upstream.url
        variables[f"OSTIARY_PROVIDERS__{name.upper()}__API_KEY"] = "k"
        variables[f"OSTIARY_MODELS__{name.upper()}__PROVIDER"] = name
    variables["OSTIARY_MODELS__BAD-THEN-GOOD__PROVIDERS"] = '["stranger", "good"]'
    root = running["good"].url.removesuffix("/v1")
    variables |= {
        "AZURE_AUTHORITY_HOST": root,
        "AZURE_TENANT_ID": TENANT,
        "AZURE_CLIENT_ID": CLIENT,
        "AZURE_CLIENT_SECRET": "client-secret",
        "OSTIARY_PROVIDERS__ENTRA__KIND": "azure",
        "OSTIARY_PROVIDERS__ENTRA__BASE_URL": root,
        "OSTIARY_PROVIDERS__ENTRA__AUTH": "entra",
        "OSTIARY_MODELS__ENTRA__PROVIDER": "entra",
    }
    with Gateway(folder / "home", variables) as running_gateway:
        yield running_gateway


def ask(gateway, model: str, *, streamed: bool = False):
    body = {**chat(stream=streamed), "model": model}
    return send(gateway.url, "POST", "/v1/chat/completions", body, bearer(gateway.key))


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_a_certificate_of_a_known_authority_is_taken(gateway, streamed):
    assert ask(gateway, "good", streamed=streamed).status == 200


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("model", ["name", "expired", "stranger", "bad-then-good"])
def test_a_certificate_that_does_not_verify_is_502(gateway, models, model, streamed):
    _, running = models
    for upstream in running.values():
        upstream.received.clear()
    problem = check_problem(ask(gateway, model, streamed=streamed), 502)
    assert (problem["layer"], problem["rule"]) == ("forward", "provider-tls")
    assert all(not upstream.received for upstream in running.values())


def test_a_service_principal_gets_its_token_over_tls(gateway, models):
    _, running = models
    running["good"].received.clear()
    assert ask(gateway, "entra").status == 200
    [received] = running["good"].received
    assert received.headers["Authorization"] == "Bearer token-over-tls"
    told = gateway.log + json.dumps(gateway.records())
    assert "token-over-tls" not in told
    assert "client-secret" not in told
