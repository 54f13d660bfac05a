"""Every error that Ostiary raises on purpose.

OstiaryError
├── ConfigurationError      a setting, file or flag is wrong: commands exit 2
├── IntegrityError          a sealed value, key or record cannot be authenticated
├── UnavailableError        a part that the work needs cannot be used now
└── Refusal                 an answer for the caller; carries status, layer, rule and public text
    ├── MalformedRequest    400   admit, check: the request is not what the route takes
    ├── PolicyViolation     400   detect: the policy blocks what was found
    ├── ProviderFiltered    400   forward: the model's own filter blocks the prompt
    ├── Unauthenticated     401   authn: no credential, or one that proves nothing
    ├── Forbidden           403   authz: known, but not allowed
    ├── NotFound            404   no such path or object (or it belongs to somebody else)
    ├── MethodNotAllowed    405   carries Allow
    ├── RequestTimeout      408   the body did not arrive in time
    ├── Conflict            409   the state of the object forbids it
    ├── TooLarge            413   a byte, depth or text limit
    ├── UnsupportedMedia    415   not JSON, or a content coding that is not accepted
    ├── MisdirectedRequest  421   Host is not on the allow-list
    ├── TooManyRequests     429   carries Retry-After
    ├── RecordDamaged       500   a stored record cannot be authenticated
    ├── ProviderFailed      502   the model's answer cannot be used
    ├── ServiceUnavailable  503   carries Retry-After
    └── ProviderSilent      504   the model did not answer in time

`edge/problem.py` is the one place that turns these into bodies; whatever it does not know becomes
a bare 500, so that no private cause can leak. A message never quotes user text or a secret.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar


class OstiaryError(Exception):
    """The root of the tree."""


class ConfigurationError(OstiaryError):
    """A setting is wrong. The text names the key or variable and never quotes its value."""


class IntegrityError(OstiaryError):
    """Something sealed or signed does not verify; nothing of it may be used."""


class UnavailableError(OstiaryError):
    """A dependency cannot be used now; the caller decides what to refuse."""


class Refusal(OstiaryError):
    """What a caller is told: a status, the layer and rule that refused, and a public sentence."""

    status: ClassVar[int] = 500
    title: ClassVar[str] = "Internal error"
    kind: ClassVar[str] = "server_error"
    code: ClassVar[str] = "internal_error"

    def __init__(
        self,
        message: str,
        *,
        layer: str,
        rule: str,
        code: str | None = None,
        param: str | None = None,
        details: Sequence[Mapping[str, str]] = (),
        retry_after: float | None = None,
        headers: Mapping[str, str] | None = None,
        findings: Sequence[str] = (),
    ) -> None:
        """Take a public `message`; `retry_after` is in seconds; `findings` are kinds, never text.

        `recorded` is set once the audit record of this refusal is durable.
        """
        super().__init__(message)
        self.message = message
        self.layer = layer
        self.rule = rule
        self.public_code = code or self.code
        self.param = param
        self.details = tuple(details)
        self.retry_after = retry_after
        self.headers = dict(headers or {})
        self.findings = tuple(findings)
        self.recorded = False


class MalformedRequest(Refusal):
    """400: the request is not what the route takes."""

    status, title = 400, "Bad request"
    kind, code = "invalid_request_error", "invalid_request"


class PolicyViolation(Refusal):
    """400: the policy blocks what was found."""

    status, title = 400, "Blocked by policy"
    kind, code = "invalid_request_error", "content_filter"

    def __init__(
        self,
        message: str,
        *,
        layer: str,
        rule: str,
        findings: Sequence[str] = (),
        blocked: Sequence[str] = (),
    ) -> None:
        """`blocked` are the kinds that the policy blocks, of those in `findings`."""
        super().__init__(message, layer=layer, rule=rule, findings=findings)
        self.blocked = tuple(blocked)


class ProviderFiltered(Refusal):
    """400: the provider's own content filter blocked the request; told apart from our policy."""

    status, title = 400, "Blocked by the model's provider"
    kind, code = "invalid_request_error", "content_filter"

    def __init__(
        self,
        message: str,
        *,
        layer: str,
        rule: str,
        filter_result: Mapping[str, Any] | None = None,
    ) -> None:
        """`filter_result`: what the filter said of each category that is known, and no text."""
        super().__init__(message, layer=layer, rule=rule)
        self.filter_result: Mapping[str, Any] = filter_result or {}


class Unauthenticated(Refusal):
    """401: no credential, or one that proves nothing; always sent with WWW-Authenticate."""

    status, title = 401, "Unauthenticated"
    kind, code = "authentication_error", "invalid_credential"


class Forbidden(Refusal):
    """403: known, but not allowed."""

    status, title = 403, "Forbidden"
    kind, code = "permission_error", "insufficient_permissions"


class NotFound(Refusal):
    """404: no such path or object, or it belongs to somebody else."""

    status, title = 404, "Not found"
    kind, code = "not_found_error", "not_found"


class MethodNotAllowed(Refusal):
    """405: the path exists, the method does not."""

    status, title = 405, "Method not allowed"
    kind, code = "invalid_request_error", "method_not_allowed"


class RequestTimeout(Refusal):
    """408: the request did not arrive in time."""

    status, title = 408, "Request timeout"
    kind, code = "invalid_request_error", "request_timeout"


class Conflict(Refusal):
    """409: the state of the object forbids it."""

    status, title = 409, "Conflict"
    kind, code = "invalid_request_error", "conflict"


class TooLarge(Refusal):
    """413: a byte or text limit."""

    status, title = 413, "Content too large"
    kind, code = "invalid_request_error", "content_too_large"


class UnsupportedMedia(Refusal):
    """415: not JSON, or a content coding that is not accepted."""

    status, title = 415, "Unsupported media type"
    kind, code = "invalid_request_error", "unsupported_media_type"


class MisdirectedRequest(Refusal):
    """421: the Host is not on the allow-list (RFC 9110 §15.5.20)."""

    status, title = 421, "Misdirected request"
    kind, code = "invalid_request_error", "misdirected_request"


class TooManyRequests(Refusal):
    """429: a limit is reached; `retry_after` says when to come back."""

    status, title = 429, "Too many requests"
    kind, code = "rate_limit_error", "rate_limit_exceeded"


class RecordDamaged(Refusal):
    """500: a stored record cannot be authenticated, and is not left out in silence."""

    status, title = 500, "Stored record damaged"
    kind, code = "server_error", "record_not_authentic"


class ProviderFailed(Refusal):
    """502: the model could not be reached or its answer cannot be used."""

    status, title = 502, "Model failed"
    kind, code = "server_error", "provider_failed"


class ServiceUnavailable(Refusal):
    """503: a part that the request needs cannot be used now."""

    status, title = 503, "Service unavailable"
    kind, code = "server_error", "service_unavailable"


class ProviderSilent(Refusal):
    """504: the model did not answer in time."""

    status, title = 504, "Model silent"
    kind, code = "server_error", "provider_timeout"
