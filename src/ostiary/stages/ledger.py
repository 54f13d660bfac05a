"""Audit: an intent before the model is asked, one closing record for every request.

A leaf holds pseudonyms, names from configuration, numbers and salted commitments, never a
personal field: those lie beside it, sealed under the person's key (or, without a person, under
a key of the gateway that is destroyed at retention). Erasing a person leaves every leaf as it is.
"""

from __future__ import annotations

import datetime
import hmac
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import msgspec

from ostiary.envelope import Context, Purpose, seal
from ostiary.errors import IntegrityError, Refusal, ServiceUnavailable, UnavailableError
from ostiary.exchange import Arrival, Permitted, Principal, Screened, Usage
from ostiary.keyring import Keyring
from ostiary.persons import TENANT
from ostiary.ports import Store
from ostiary.rows import AddRecord, Change, OutboxRow, PrivateRow
from ostiary.tlog.sequencer import Mark, outbox_mac

LAYER = "ledger"
VERSION = 1
_ACTIVITY, _AUTHENTICATION, _FINDING = 6003, 3002, 2004
_ENCODER = msgspec.json.Encoder(order="sorted")
INTENT, INTERRUPTED = "intent", "interrupted"
CLOSING = frozenset({"outcome", "refusal", INTERRUPTED})
_OF_THE_INTENT = ("action", "kind", "identity", "actor", "method", "key", "model", "stream")
_SECURITY_LAYERS = frozenset({"authn", "authz", "budget", "detect"})


class Ledger:
    """Builds records and makes them durable. Every record names the configuration in force."""

    def __init__(
        self,
        store: Store,
        keyring: Keyring,
        clock: Callable[[], float],
        random: Callable[[int], bytes],
        *,
        log: str,
        configuration: str,
    ) -> None:
        """`log` is the log's name, `configuration` the settings' hash; `random` makes salts."""
        self._log = log
        self._store = store
        self._keyring = keyring
        self._clock = clock
        self._random = random
        self._configuration = configuration
        self._outbox_key = keyring.secret("outbox")

    def intent(self, screened: Screened) -> AddRecord:
        """That a model is about to be asked, and what the policy found in the question."""
        checked = screened.checked
        fields: dict[str, Any] = {"model": checked.model, "stream": checked.stream}
        if screened.findings:
            fields["findings"] = dict(screened.findings)
        if checked.opaque:
            fields["uninspected"] = sorted(set(checked.opaque))
        record = self._exchange(INTENT, checked.funded.permitted, fields, private=True)
        return replace(record, opens=checked.funded.admitted.request_id)

    def outcome(
        self,
        screened: Screened,
        usage: Usage,
        *,
        findings: Mapping[str, int],
        blocked: bool,
        resource: str | None = None,
        provider: str | None = None,
    ) -> AddRecord:
        """That an answer was given: by whom, what it cost and what the policy found in it."""
        fields = self._used(screened, usage, findings, provider)
        fields["status"] = 200
        fields["success"] = not blocked
        if blocked:
            fields |= {"layer": "guard", "rule": "content-filter"}
        if resource is not None:
            person = screened.checked.funded.principal.person
            fields["resource"] = self._pseudonym(person, resource)
        return self._closing("outcome", screened, fields)

    def broken(
        self,
        screened: Screened,
        usage: Usage,
        refusal: Refusal,
        findings: Mapping[str, int],
        provider: str | None = None,
    ) -> AddRecord:
        """That an exchange whose intent is recorded ended in a refusal."""
        fields = self._used(screened, usage, findings, provider)
        fields |= {"success": False, **_why(refusal)}
        return self._closing("refusal", screened, fields)

    def interrupted(
        self,
        screened: Screened,
        usage: Usage,
        findings: Mapping[str, int],
        provider: str | None = None,
    ) -> AddRecord:
        """That the client left, a deadline passed or the gateway stopped before the end."""
        fields = self._used(screened, usage, findings, provider)
        fields["success"] = False
        return self._closing(INTERRUPTED, screened, fields)

    def recovered(self, intent: bytes) -> AddRecord:
        """That the gateway died during the exchange whose intent is this leaf: who asked what.

        What the exchange had used until then died with it, so the record names no tokens.
        """
        leaf = msgspec.json.decode(intent)
        fields = {name: leaf[name] for name in _OF_THE_INTENT if name in leaf}
        fields |= {"success": False, "recovered": True}
        request = str(leaf["requestId"])
        return replace(self._record(INTERRUPTED, request, fields), closes=request)

    def _closing(self, event: str, screened: Screened, fields: Mapping[str, Any]) -> AddRecord:
        permitted = screened.checked.funded.permitted
        record = self._exchange(event, permitted, fields)
        return replace(record, closes=permitted.admitted.request_id)

    def operation(
        self,
        permitted: Permitted,
        *,
        resource: str | None = None,
        fields: Mapping[str, Any] | None = None,
    ) -> AddRecord:
        """That somebody did something beside conversing, and it was allowed."""
        extra: dict[str, Any] = {"status": 200, "success": True, **(fields or {})}
        if resource is not None:
            extra["resource"] = self._pseudonym(permitted.principal.person, resource)
        return self._exchange("outcome", permitted, extra, private=True)

    def command(
        self, action: str, *, person: str | None = None, fields: Mapping[str, Any] | None = None
    ) -> AddRecord:
        """That the operator did something on the command line."""
        record = {"action": action, "kind": "access", "success": True, **(fields or {})}
        if person is not None:
            record["target"] = self._pseudonym(person)
        return self._record("outcome", str(uuid.uuid4()), record, identity="operator")

    def genesis(self) -> AddRecord:
        """The first record: which keystore this log belongs to (`keystore_of` reads it back)."""
        fields = {
            "action": "genesis",
            "kind": "access",
            "success": True,
            "keystore": self._keyring.manifest_hash(),
        }
        return self._record("genesis", str(uuid.uuid4()), fields, identity="gateway")

    def refused(
        self, arrival: Arrival, address: str, agent: str, refusal: Refusal, caller: Principal | None
    ) -> AddRecord:
        """That a request was refused, at any stage, before a model was asked."""
        route = arrival.route
        fields: dict[str, Any] = {
            "action": route.operation if route else "unknown",
            "success": False,
            **_why(refusal),
        }
        if refusal.findings:
            fields["findings"] = dict.fromkeys(refusal.findings, 1)
        fields["kind"] = "security" if refusal.layer in _SECURITY_LAYERS else "access"
        fields["class"] = _CLASSES.get(refusal.layer, _ACTIVITY)
        return self._record(
            "refusal",
            arrival.request_id,
            fields,
            caller=caller,
            private=_client(address, agent),
        )

    async def commit(self, *changes: Change) -> None:
        """Make changes and their records durable in one transaction, or refuse with 503."""
        try:
            await self._store.commit(*changes)
        except UnavailableError as cause:
            raise unavailable() from cause

    def submit(self, *changes: Change) -> None:
        """Hand in records without waiting, for work that is being cancelled."""
        self._store.submit(*changes)

    def _used(
        self,
        screened: Screened,
        usage: Usage,
        findings: Mapping[str, int],
        provider: str | None,
    ) -> dict[str, Any]:
        """What an exchange used; `provider` is the configured name of the one asked last."""
        fields: dict[str, Any] = {
            "model": screened.checked.model,
            "tokens": {"prompt": usage.prompt, "completion": usage.completion},
        }
        if provider is not None:
            fields["provider"] = provider
        if findings:
            fields["answerFindings"] = dict(findings)
        return fields

    def _exchange(
        self,
        event: str,
        permitted: Permitted,
        fields: Mapping[str, Any],
        *,
        private: bool = False,
    ) -> AddRecord:
        admitted = permitted.admitted
        kind = "ai_operation" if admitted.route.converses else "access"
        return self._record(
            event,
            admitted.request_id,
            {"action": admitted.route.operation, "kind": kind, **fields},
            caller=permitted.principal,
            private=_client(admitted.address, agent_of(admitted.headers.get("user-agent", ())))
            if private
            else None,
        )

    def _record(
        self,
        event: str,
        request_id: str,
        fields: Mapping[str, Any],
        *,
        caller: Principal | None = None,
        private: Mapping[str, str] | None = None,
        identity: str = "none",
    ) -> AddRecord:
        now = self._clock()
        moment = _timestamp(now)
        name = str(uuid.UUID(bytes=self._random(16), version=4))
        leaf: dict[str, Any] = {
            "v": VERSION,
            "log": self._log,
            "id": name,
            "ts": moment,
            "event": event,
            "requestId": request_id,
            "config": self._configuration,
            "class": _ACTIVITY,
            "identity": identity if caller is None else "verified",
            **fields,
        }
        person = caller.person if caller else _gateway_day(now)
        if caller is not None:
            leaf["actor"] = actor = self._keyring.pseudonym(person, _month(moment))
            leaf["method"] = caller.method
            if caller.key_id:
                leaf["key"] = _name_within(actor, caller.key_id)
        rows: tuple[PrivateRow, ...] = ()
        if private:
            if caller is None:
                self._keyring.create_subject(person)
            rows, leaf["private"] = self._seal_private(name, person, private)
        body = _ENCODER.encode(leaf)
        mac = outbox_mac(self._outbox_key, name, body)
        return AddRecord(OutboxRow(name, body, mac), rows)

    def _seal_private(
        self, record: str, person: str, fields: Mapping[str, str]
    ) -> tuple[tuple[PrivateRow, ...], list[dict[str, str]]]:
        """Seal personal fields as one value; the leaf gets only a salted commitment to it."""
        value = _ENCODER.encode(fields)
        salt = self._random(32)
        envelope = seal(
            salt + value,
            self._keyring.data_key(person),
            Purpose.AUDIT_PRIVATE,
            Context(TENANT, person, "audit_private", "client", record),
        )
        row = PrivateRow(record, "client", person, envelope)
        return (row,), [{"k": "client", "c": commitment(salt, "client", value)}]

    def _pseudonym(self, person: str, of: str | None = None) -> str:
        """A name that holds for this month: the person's, or that of a thing of hers."""
        name = self._keyring.pseudonym(person, _month(_timestamp(self._clock())))
        return name if of is None else _name_within(name, of)


_CLASSES = {"authn": _AUTHENTICATION, "detect": _FINDING}


def commitment(salt: bytes, name: str, value: bytes) -> str:
    """What a leaf says of a private field: HMAC-SHA-256 under a salt that erasure destroys."""
    message = b"aif/audit/v1\x00" + _lp(name.encode()) + _lp(value)
    return hmac.digest(salt, message, "sha256").hex()


def _lp(part: bytes) -> bytes:
    return len(part).to_bytes(2, "big") + part


def agent_of(values: Sequence[str]) -> str:
    """The user agent as it was sent, cut to 256 characters."""
    return " ".join(values)[:256]


def _client(address: str, agent: str) -> Mapping[str, str]:
    return {"address": address, "agent": agent}


def _why(refusal: Refusal) -> dict[str, Any]:
    return {"status": refusal.status, "layer": refusal.layer, "rule": refusal.rule}


def _gateway_day(now: float) -> str:
    return f"gateway/{_timestamp(now)[:10]}"


def _timestamp(seconds: float) -> str:
    whole, millis = divmod(round(seconds * 1_000_000) // 1_000, 1_000)
    return f"{_to_the_second(whole)}.{millis:03d}Z"


@lru_cache(maxsize=8)
def _to_the_second(seconds: int) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat()[:19]


def _month(moment: str) -> str:
    return moment[:7]


def _name_within(pseudonym: str, thing: str) -> str:
    """The pseudonym of a thing of somebody's: as unlinkable across months as hers."""
    return hmac.digest(pseudonym.encode(), thing.encode(), "sha256")[:16].hex()


class _Marks(msgspec.Struct, frozen=True, rename="camel"):
    id: str
    event: str
    request_id: str


_MARKS = msgspec.json.Decoder(_Marks)


def mark_of(leaf: bytes) -> Mark:
    """What a record, with or without its number, did to the store; IntegrityError if it is none."""
    try:
        found = _MARKS.decode(leaf)
    except msgspec.DecodeError as cause:
        raise IntegrityError("a record of the log is not one of ours") from cause
    return Mark(
        found.id,
        opens=found.request_id if found.event == INTENT else None,
        closes=found.request_id if found.event in CLOSING else None,
    )


def keystore_of(first_leaf: bytes) -> str | None:
    """The keystore's manifest hash that the log began with, or None if it is no genesis."""
    leaf = msgspec.json.decode(first_leaf)
    return leaf.get("keystore") if leaf.get("event") == "genesis" else None


def unavailable() -> ServiceUnavailable:
    """The refusal when a record cannot be made durable."""
    return ServiceUnavailable(
        "The audit log cannot be written, so nothing is done.",
        layer=LAYER,
        rule="store-unavailable",
        retry_after=5,
    )


def sequence_leaf(body: bytes, seq: int) -> bytes:
    """A record's final leaf: its outbox JSON with `seq`, keys sorted (RFC 8785 for what it holds).

    Leaves hold only objects, lists, integers, booleans and ASCII strings, for which sorting keys
    is the whole of RFC 8785.
    """
    leaf = msgspec.json.decode(body)
    leaf["seq"] = seq
    return _ENCODER.encode(leaf)


def fault_of_leaf(index: int, leaf: bytes) -> str:
    """What is wrong with a leaf whose hash is right: nothing, or that it is no record of ours."""
    try:
        record = msgspec.json.decode(leaf)
    except msgspec.DecodeError:
        return "the record is not JSON"
    if not isinstance(record, dict) or record.get("seq") != index:
        return "the record carries another number"
    return ""
