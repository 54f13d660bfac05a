"""Every route with every kind of credential, and what one person sees of another: nothing."""

from __future__ import annotations

import asyncio
import http.client
import json
import uuid
from dataclasses import dataclass, field

import pytest

from ostiary.assemble import lay
from ostiary.config import load
from ostiary.development import DevelopmentIssuer, generate_private_key
from ostiary.edge.routes import ROUTES
from ostiary.exchange import Permission
from tests.simulator.command import ostiary
from tests.simulator.gateway import Gateway

# What the contract says, written down a second time: a new route or role needs a line here.
PUBLIC = {("GET", p) for p in ("/livez", "/healthz", "/readyz", "/startupz", "/openapi.json")}
NEEDS = {
    ("POST", "/api/chat"): "ai.chat.use",
    ("GET", "/api/conversations"): "ai.chat.use",
    ("GET", "/api/conversations/{id}"): "ai.chat.use",
    ("DELETE", "/api/conversations/{id}"): "ai.chat.use",
    ("POST", "/api/keys"): None,
    ("GET", "/api/keys"): None,
    ("DELETE", "/api/keys/{id}"): None,
    ("POST", "/v1/chat/completions"): "ai.chat.use",
    ("GET", "/v1/models"): "ai.chat.use",
    ("GET", "/v1/models/{id}"): "ai.chat.use",
    ("POST", "/v1/responses"): "ai.chat.use",
    ("POST", "/v1/embeddings"): "ai.chat.use",
    ("POST", "/openai/deployments/{deployment}/chat/completions"): "ai.chat.use",
    ("POST", "/openai/deployments/{deployment}/embeddings"): "ai.chat.use",
    ("GET", "/openai/deployments/{deployment}/info"): "ai.chat.use",
    ("POST", "/openai/v1/chat/completions"): "ai.chat.use",
    ("POST", "/openai/v1/responses"): "ai.chat.use",
    ("POST", "/openai/v1/embeddings"): "ai.chat.use",
    ("GET", "/openai/v1/models"): "ai.chat.use",
    ("GET", "/openai/v1/models/{id}"): "ai.chat.use",
    ("POST", "/openai/chat/completions"): "ai.chat.use",
    ("POST", "/openai/responses"): "ai.chat.use",
    ("POST", "/openai/embeddings"): "ai.chat.use",
    ("GET", "/openai/models"): "ai.chat.use",
    ("GET", "/openai/models/{id}"): "ai.chat.use",
    ("POST", "/models/chat/completions"): "ai.chat.use",
    ("POST", "/models/embeddings"): "ai.chat.use",
    ("GET", "/models/info"): "ai.chat.use",
    ("POST", "/api/projects/{project}/openai/v1/chat/completions"): "ai.chat.use",
    ("POST", "/api/projects/{project}/openai/v1/responses"): "ai.chat.use",
}
USER = {"ai.chat.use"}
DEVELOPER = {"ai.models.deploy", "ai.chat.use", "ai.fine-tune.create"}
GRANTS = {
    "User": USER,
    "Developer": DEVELOPER,
    "Analyst": {"audit.read", "threats.manage"},
    "PrivacyOfficer": {"audit.read", "privacy.manage"},
    "Admin": {
        *DEVELOPER,
        "ai.models.manage",
        "users.manage",
        "audit.read",
        "threats.manage",
        "policy.manage",
        "privacy.manage",
    },
    "Stranger": set(),
}


@dataclass(frozen=True)
class Credential:
    """`held` None: it proves nothing (401). Else what its holder may do."""

    name: str
    headers: dict[str, str] = field(repr=False)
    held: frozenset[str] | None

    def expected(self, method: str, path: str) -> int | None:
        """401 or 403, or None: neither of both."""
        if (method, path) in PUBLIC:
            return None
        if self.held is None:
            return 401
        needed = NEEDS[method, path]
        return None if self.held and (needed is None or needed in self.held) else 403


def bearer(name: str, credential: str, held: set[str] | None) -> Credential:
    allowed = None if held is None else frozenset(held)
    return Credential(name, {"Authorization": f"Bearer {credential}"}, allowed)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    with Gateway(tmp_path_factory.mktemp("access") / "home") as running:
        yield running


@pytest.fixture(scope="module")
def credentials(gateway):
    return [*without_proof(gateway), *asyncio.run(made(gateway))]


def without_proof(gateway) -> list[Credential]:
    foreign = DevelopmentIssuer(generate_private_key())
    wrong = gateway.key[:-1] + ("A" if gateway.key[-1] != "A" else "B")
    return [
        Credential("none", {}, None),
        Credential("basic", {"Authorization": "Basic YTpi"}, None),
        Credential("empty", {"Authorization": "Bearer "}, None),
        Credential(
            "two that differ", {"Authorization": f"Bearer {gateway.key}", "api-key": "x"}, None
        ),
        bearer("garbled", "not.a.token", None),
        bearer("a key with a wrong end", wrong, None),
        bearer("a key of nobody", "aif_t" + "0" * 60, None),
        bearer(
            "a foreign signature", foreign.token("eve", ["Admin"], sorted(GRANTS["Admin"])), None
        ),
        bearer(
            "foreign, an application", foreign.token("x", ["Admin"], None, application=True), None
        ),
    ]


async def made(gateway) -> list[Credential]:
    """Tokens and keys of every role, made beside the running server."""
    settings = load(
        flags={},
        environ={"OSTIARY_HOME": str(gateway.home)},
        cwd=gateway.home.parent,
        config_path=None,
        known_kinds=frozenset(),
    )
    foundation = await lay(settings)
    try:
        found = [*tokens(foundation.issuer)]
        for role in GRANTS:
            found += await keys(foundation, role)
        return found
    finally:
        await foundation.close()


def tokens(issuer):
    for role, granted in GRANTS.items():
        full = sorted(granted)

        def token(name, scopes, *, role=role, **more):
            return issuer.token(f"{role} {name}", [role], scopes, **more)

        yield bearer(f"{role}, token", token("full", full), granted)
        yield bearer(f"{role}, empty scope", token("empty", []), set())
        yield bearer(f"{role}, narrow scope", token("narrow", full[:1]), set(full[:1]))
        every = sorted(GRANTS["Admin"])
        yield bearer(f"{role}, scopes beyond it", token("wide", every), granted)
        yield bearer(f"{role}, unknown scopes", token("odd", ["ai.chat.use.all", "*"]), set())
        yield bearer(f"{role}, expired", token("expired", full, expires_in=-120), None)
        yield bearer(f"{role}, application", token("app", None, application=True), granted)
    several = issuer.token("several", ["Analyst", "User"], ["audit.read", "ai.chat.use"])
    yield bearer("Analyst and User, token", several, {"audit.read", "ai.chat.use"})


async def keys(foundation, role: str) -> list[Credential]:
    """Keys of a person of this role; some exceed it, which the command line refuses to make."""
    granted = GRANTS[role]
    person = await foundation.persons.named(
        foundation.issuer.subject(f"{role} keys"), roles=(role,)
    )

    async def key(*permissions, expires_in=None):
        names = [Permission(name) for name in permissions]
        record = foundation.ledger.command("keys.create", person=person.id)
        return await foundation.keys.make(person.id, "k", names, expires_in, lambda _: record)

    every = sorted(GRANTS["Admin"])
    narrow = sorted(granted)[:1]
    found = [bearer(f"{role}, key beyond it", (await key(*every)).text, granted)]
    if narrow:
        found.append(bearer(f"{role}, narrow key", (await key(*narrow)).text, set(narrow)))
    if role == "Developer":
        own = await key(*sorted(granted))
        for header in ("x-api-key", "api-key"):
            found.append(Credential(f"key in {header}", {header: own.text}, frozenset(granted)))
        revoked = await key(*sorted(granted))
        await foundation.keys.end(revoked.row, foundation.ledger.command("keys.revoke"))
        found.append(bearer("revoked key", revoked.text, None))
        expired = await key(*sorted(granted), expires_in=-5)
        found.append(bearer("expired key", expired.text, None))
    return found


def call(gateway, method, path, headers=None, body=None, connection=None):
    own = connection or http.client.HTTPConnection(gateway.url.removeprefix("http://"), timeout=20)
    data = None if body is None else json.dumps(body)
    extra = {"Content-Type": "application/json"} if data else {}
    own.request(method, path, data, {**(headers or {}), **extra})
    response = own.getresponse()
    content = response.read()
    if connection is None:
        own.close()
    decoded = json.loads(content) if content else None
    return response.status, decoded, response.headers


def test_every_route_is_in_the_table_with_what_it_needs():
    built = {
        (route.method, route.path): route.permission and route.permission.value
        for route in ROUTES
        if not route.public
    }
    assert built == NEEDS
    assert {(route.method, route.path) for route in ROUTES if route.public} == PUBLIC


def test_every_permission_is_some_roles(credentials):
    assert {p for granted in GRANTS.values() for p in granted} == {p.value for p in Permission}
    held = [frozenset(c.held) for c in credentials if c.held is not None]
    assert frozenset() in held
    assert frozenset(GRANTS["Admin"]) in held
    assert sum(c.held is None for c in credentials) > 12


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_each_route_and_credential_gets_the_status_that_the_table_says(gateway, credentials, route):
    path = route.path.replace("{id}", str(uuid.uuid4()))
    body = {} if route.body_limit else None
    connection = http.client.HTTPConnection(gateway.url.removeprefix("http://"), timeout=20)
    wrong = []
    for credential in credentials:
        status, answer, headers = call(
            gateway, route.method, path, credential.headers, body, connection
        )
        expected = credential.expected(route.method, route.path)
        if status != expected if expected else status in (401, 403) or status >= 500:
            wrong.append((credential.name, status, expected))
        if status == 401:
            assert headers["WWW-Authenticate"]
            assert answer["layer"] == "authn"
        if status == 403:
            assert answer["layer"] == "authz"
    connection.close()
    assert not wrong


def person(gateway, name):
    return token_of(gateway, name, "Admin")


def token_of(gateway, name, role, *more):
    done = ostiary(gateway.home, "token", "--user", name, "--role", role, *more)
    return {"Authorization": f"Bearer {done.out.strip()}"}


def test_another_persons_objects_are_unknown(gateway):
    hers, his = person(gateway, "hannah"), person(gateway, "henry")
    _, said, _ = call(gateway, "POST", "/api/chat", hers, {"message": "mine alone"})
    conversation = said["conversationId"]
    new = {"name": "hers", "permissions": ["ai.chat.use"]}
    _, key, _ = call(gateway, "POST", "/api/keys", hers, new)
    unknown = str(uuid.uuid4())
    for path, known in (("/api/conversations/", conversation), ("/api/keys/", key["keyId"])):
        for method in ("GET", "DELETE"):
            if (method, path) == ("GET", "/api/keys/"):
                continue
            foreign = call(gateway, method, path + known, his)
            missing = call(gateway, method, path + unknown, his)
            assert (foreign[0], missing[0]) == (404, 404)
            for answer in (foreign[1], missing[1]):
                del answer["requestId"]
            assert foreign[1] == missing[1]
    status, _, _ = call(
        gateway, "POST", "/api/chat", his, {"message": "more", "conversationId": conversation}
    )
    assert status == 404
    assert call(gateway, "GET", "/api/conversations", his)[1]["data"] == []
    assert call(gateway, "GET", "/api/keys", his)[1]["data"] == []
    status, kept, _ = call(gateway, "GET", f"/api/conversations/{conversation}", hers)
    assert (status, len(kept["messages"])) == (200, 2)
    assert call(gateway, "GET", "/v1/models", {"api-key": key["apiKey"]})[0] == 200


def test_her_key_and_her_token_are_the_same_person(gateway):
    token = person(gateway, "ida")
    _, said, _ = call(gateway, "POST", "/api/chat", token, {"message": "by token"})
    done = ostiary(gateway.home, "keys", "create", "--user", "ida", "--name", "n", "--json")
    key = {"x-api-key": done.json["apiKey"]}
    assert call(gateway, "GET", f"/api/conversations/{said['conversationId']}", key)[0] == 200


def test_a_key_follows_its_owners_roles_at_the_next_request(gateway):
    as_developer = token_of(gateway, "jo", "Developer")
    new = {"name": "n", "permissions": ["ai.models.deploy"]}
    _, made_key, _ = call(gateway, "POST", "/api/keys", as_developer, new)
    key = {"x-api-key": made_key["apiKey"]}
    assert call(gateway, "GET", "/api/keys", key)[0] == 200
    as_user = token_of(gateway, "jo", "User")
    assert call(gateway, "GET", "/api/keys", as_user)[0] == 200
    assert call(gateway, "GET", "/api/keys", key)[0] == 403


def test_nobody_makes_a_key_that_exceeds_its_maker(gateway):
    narrow = token_of(gateway, "kim", "Admin", "--scope", "ai.chat.use")
    for permission in sorted(GRANTS["Admin"] - USER):
        status, answer, _ = call(
            gateway,
            "POST",
            "/api/keys",
            narrow,
            {"name": "n", "permissions": [permission]},
        )
        assert (status, answer["layer"]) == (403, "authz")
