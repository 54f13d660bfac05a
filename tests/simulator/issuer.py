"""An identity provider over real TLS that speaks as Microsoft Entra ID does to its clients."""

from __future__ import annotations

import asyncio
import ssl
import threading
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trustme
from aiohttp import web

from tests.attacks import forge

SERVED = forge.TENANT
FOREIGN = forge.OTHER_TENANT
AUDIENCE = forge.AUDIENCE
_DEFAULT = "/.default"


@dataclass(frozen=True)
class Application:
    """A registered application: its id, its secret, and what its tokens say beside the usual."""

    secret: str = "application-secret"
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    claims: dict[str, Any] = field(default_factory=dict)


class Issuer:
    """Serves every tenant below one authority: metadata, keys, and tokens for client credentials.

    Tokens are signed with RS256 and are for the audience that the scope names; the applications
    of `applications` may ask, with their secret. `trust` is a file with the authority's
    certificate; `asked` are the paths of every request.
    """

    def __init__(self, folder: Path, applications: list[Application]) -> None:
        self._authority = trustme.CA()
        self.trust = folder / "authority.pem"
        self._authority.cert_pem.write_to_path(str(self.trust))
        self.applications = {application.id: application for application in applications}
        self.authority = ""
        self.asked: list[str] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._runner: web.AppRunner | None = None

    def __enter__(self) -> Issuer:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def pair(self, folder: Path) -> tuple[Path, Path]:
        """A certificate of the same authority for loopback, and its key, for another server."""
        made = self._authority.issue_cert("localhost", "127.0.0.1")
        chain, key = folder / "cert.pem", folder / "key.pem"
        chain.write_bytes(b"".join(blob.bytes() for blob in made.cert_chain_pems))
        key.write_bytes(made.private_key_pem.bytes())
        key.chmod(0o600)
        return chain, key

    async def _start(self) -> None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
        app = web.Application(middlewares=[self._note])
        metadata = "/.well-known/openid-configuration"
        app.router.add_get("/{tenant}/v2.0" + metadata, self._metadata)
        app.router.add_get("/{tenant}" + metadata, self._metadata_v1)
        app.router.add_get("/{tenant}/discovery/v2.0/keys", self._keys)
        app.router.add_post("/{tenant}/oauth2/v2.0/token", self._token)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=context)
        await site.start()
        self.authority = f"https://localhost:{self._runner.addresses[0][1]}"

    @web.middleware
    async def _note(self, request: web.Request, handler: Any) -> web.StreamResponse:
        self.asked.append(request.path)
        return await handler(request)

    async def _metadata(self, request: web.Request) -> web.Response:
        tenant = f"{self.authority}/{request.match_info['tenant']}"
        return web.json_response(
            {
                "issuer": f"{tenant}/v2.0",
                "token_endpoint": f"{tenant}/oauth2/v2.0/token",
                "authorization_endpoint": f"{tenant}/oauth2/v2.0/authorize",
                "device_authorization_endpoint": f"{tenant}/oauth2/v2.0/devicecode",
                "jwks_uri": f"{tenant}/discovery/v2.0/keys",
                "token_endpoint_auth_methods_supported": ["client_secret_post"],
                "response_types_supported": ["code"],
                "subject_types_supported": ["pairwise"],
                "id_token_signing_alg_values_supported": ["RS256"],
                "tenant_region_scope": "EU",
                "cloud_instance_name": "localhost",
            }
        )

    async def _metadata_v1(self, request: web.Request) -> web.Response:
        tenant = f"{self.authority}/{request.match_info['tenant']}"
        return web.json_response(
            {"issuer": f"{tenant}/", "jwks_uri": f"{tenant}/discovery/v2.0/keys"}
        )

    async def _keys(self, request: web.Request) -> web.Response:
        return web.json_response({"keys": [forge.jwk()]})

    async def _token(self, request: web.Request) -> web.Response:
        form = await request.post()
        application = self.applications.get(str(form.get("client_id")))
        if application is None or form.get("client_secret") != application.secret:
            return _no("invalid_client", "AADSTS7000215: Invalid client secret provided.")
        if form.get("grant_type") != "client_credentials":
            return _no("unsupported_grant_type", "AADSTS70003: The grant type is not supported.")
        scope = str(form.get("scope"))
        if not scope.endswith(_DEFAULT):
            return _no("invalid_scope", "AADSTS1002012: The scope must end with /.default.")
        tenant = request.match_info["tenant"]
        return web.json_response(
            {
                "token_type": "Bearer",
                "expires_in": 3599,
                "ext_expires_in": 3599,
                "access_token": self.token(application, tenant, scope.removesuffix(_DEFAULT)),
            }
        )

    def token(self, application: Application, tenant: str, audience: str) -> str:
        """An application's token of version 2.0 for an audience."""
        now = int(time.time())
        claims = {
            "iss": f"{self.authority}/{tenant}/v2.0",
            "aud": audience,
            "tid": tenant,
            "azp": application.id,
            "oid": application.id,
            "iat": now,
            "nbf": now,
            "exp": now + 3599,
            **application.claims,
        }
        return forge.token(forge.application(**claims))


def _no(error: str, description: str) -> web.Response:
    body = {"error": error, "error_description": description, "error_codes": [7000215]}
    return web.json_response(body, status=401 if error == "invalid_client" else 400)
