"""The values that travel. Each is made by exactly one stage, and the next stage takes only it.

Admitted → Identified → Permitted → Funded → Checked → Screened → Released
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Action(StrEnum):
    """What the policy does with a kind of finding, weakest first."""

    OFF = "off"
    OBSERVE = "observe"
    MASK = "mask"
    REDACT = "redact"
    BLOCK = "block"


class Permission(StrEnum):
    """What a role, scope or key can grant."""

    CHAT_USE = "ai.chat.use"
    MODELS_DEPLOY = "ai.models.deploy"
    MODELS_MANAGE = "ai.models.manage"
    FINE_TUNE_CREATE = "ai.fine-tune.create"
    USERS_MANAGE = "users.manage"
    AUDIT_READ = "audit.read"
    THREATS_MANAGE = "threats.manage"
    POLICY_MANAGE = "policy.manage"
    PRIVACY_MANAGE = "privacy.manage"


class Face(StrEnum):
    """Whose shapes a route speaks; it also names the profile that the policy applies."""

    NATIVE = "native"
    OPENAI = "openai"


class Dialect(StrEnum):
    """Which of the model's interfaces a request speaks; upstream it is the same one."""

    CHAT = "chat"
    RESPONSES = "responses"
    EMBEDDINGS = "embeddings"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a detector saw: a kind and a half-open range of code points; never the text itself."""

    kind: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Route:
    """One row of the route table.

    `permission` None on a route that is not `public` means: any credential that holds at least
    one permission. `body_limit` is in bytes; 0 means that the route takes no body. `azure` routes
    say what the policy did in Azure's shapes too; with `default_model` a body may name no model.
    """

    method: str
    path: str
    operation: str
    face: Face
    permission: Permission | None = None
    public: bool = False
    converses: bool = False
    body_limit: int = 0
    dialect: Dialect = Dialect.CHAT
    azure: bool = False
    default_model: bool = False


@dataclass(frozen=True, slots=True)
class Arrival:
    """A request as the server hands it over. `read` gives the body, or raises past its limit.

    `route` is None where nothing matched; `allowed` then holds the methods that the path has, and
    `stateful` says that it asks for an object that a provider would keep.
    """

    request_id: str
    method: str
    route: Route | None
    allowed: tuple[str, ...]
    params: Mapping[str, str] = field(repr=False)
    query: bytes = field(repr=False)
    headers: Sequence[tuple[bytes, bytes]] = field(repr=False)
    peer: str = field(repr=False)
    read: Callable[[int], Awaitable[bytes]] = field(repr=False)
    stateful: bool = False


@dataclass(frozen=True, slots=True)
class Trace:
    """W3C trace context: the caller's trace id (32 hex) and flags (2 hex), or a new one."""

    trace_id: str
    flags: str = "01"


@dataclass(frozen=True, slots=True)
class Admitted:
    """A request whose form is sound: decoded once, from a known host, with one peer address."""

    request_id: str
    at: float
    route: Route
    trace: Trace
    params: Mapping[str, str] = field(repr=False)
    query: Mapping[str, str] = field(repr=False)
    headers: Mapping[str, tuple[str, ...]] = field(repr=False)
    address: str = field(repr=False)
    body: Any = field(repr=False)


@dataclass(frozen=True, slots=True)
class Subject:
    """Who a token is about: `tid` + `oid`, stable across names. `name` never decides anything."""

    tenant: str = field(repr=False)
    object_id: str = field(repr=False)
    name: str = field(repr=False, default="")


@dataclass(frozen=True, slots=True)
class Vouched:
    """What an authenticator proves. Exactly one of `subject` and `person` is set.

    `scopes` is None for an application's token and for a key; a person's token always has a set,
    even an empty one. `grants` is what a key was given, None for a token. `client` is the
    application that asked for a token (`azp` or `appid`), None for a key.
    """

    method: str
    application: bool
    roles: tuple[str, ...]
    scopes: frozenset[str] | None
    grants: frozenset[str] | None
    subject: Subject | None = field(default=None, repr=False)
    person: str | None = None
    key_id: str | None = None
    issued_at: float = 0.0
    client: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Principal:
    """A verified caller: the person (or application) that owns what it makes, and its rights.

    `subject` and `client` are what a token says; a key has neither.
    """

    person: str
    method: str
    application: bool
    roles: tuple[str, ...]
    scopes: frozenset[str] | None
    grants: frozenset[str] | None
    key_id: str | None = None
    issued_at: float = 0.0
    subject: Subject | None = field(default=None, repr=False)
    client: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Identified:
    """An admitted request whose caller is proven."""

    admitted: Admitted
    principal: Principal


@dataclass(frozen=True, slots=True)
class Permitted:
    """An identified request that may use its route; `permissions` is what the caller holds."""

    identified: Identified
    permissions: frozenset[Permission]

    @property
    def admitted(self) -> Admitted:
        """The request."""
        return self.identified.admitted

    @property
    def principal(self) -> Principal:
        """The caller."""
        return self.identified.principal


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit as the caller is told it: `quota` per `window` seconds, `reset` seconds ahead."""

    name: str
    quota: int
    window: int
    remaining: int
    reset: float


@dataclass(frozen=True, slots=True)
class Funded:
    """A permitted request that is within its request rate."""

    permitted: Permitted
    limits: tuple[Limit, ...]

    @property
    def admitted(self) -> Admitted:
        """The request."""
        return self.permitted.admitted

    @property
    def principal(self) -> Principal:
        """The caller."""
        return self.permitted.principal


@dataclass(frozen=True, slots=True)
class Checked:
    """A request for a model whose fields are valid; `body` is a tree of the route's dialect."""

    funded: Funded
    model: str
    body: dict[str, Any] = field(repr=False)
    stream: bool = False
    include_usage: bool = False
    choices: int = 1
    max_tokens: int | None = None
    opaque: tuple[str, ...] = ()
    conversation: str | None = None
    message: str = field(default="", repr=False)

    @property
    def route(self) -> Route:
        """The row that the request matched."""
        return self.funded.admitted.route


@dataclass(frozen=True, slots=True)
class Screened:
    """A checked request after the policy: `body` and `message` are what the model may see.

    `warned` are the kinds that were altered, `personal` whether any personal data was found.
    """

    checked: Checked
    body: dict[str, Any] = field(repr=False)
    message: str = field(default="", repr=False)
    findings: Mapping[str, int] = field(default_factory=dict)
    warned: tuple[str, ...] = ()
    personal: bool = False


@dataclass(slots=True)
class Usage:
    """Tokens of one exchange, as the provider counted them or estimated where it did not."""

    prompt: int = 0
    completion: int = 0
    estimated: bool = True

    @property
    def total(self) -> int:
        """Prompt and completion together."""
        return self.prompt + self.completion


@dataclass(slots=True)
class Course:
    """How asking the model has gone: who was asked last, and how often anybody may still be."""

    provider: str | None = None
    calls: int = 3


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, for a provider that is to be told; `person` is empty for a key or application."""

    person: Subject | None = field(default=None, repr=False)
    client: str | None = field(default=None, repr=False)
    address: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Call:
    """What a provider is asked: a screened body under the name that it knows the model by.

    `spare` says that another provider stands by: this one's limit or absence is not waited for.
    """

    request_id: str
    model: str
    body: dict[str, Any] = field(repr=False)
    stream: bool = False
    traceparent: str = ""
    dialect: Dialect = Dialect.CHAT
    caller: Caller = field(default_factory=Caller)
    course: Course = field(default_factory=Course)
    spare: bool = False
