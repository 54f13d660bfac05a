"""Detection on requests: every string, known field or not, and every field name; one decision.

Detectors only find. What follows from a finding is decided here by the policy: off, observe,
redact, mask or block. On `/api/chat` markup is taken out of the message, as the founding page
asks; the text is judged before and after, so that a tag can neither hide a script nor split a
value.
"""

from __future__ import annotations

import asyncio
import html
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any

import nh3

from ostiary.errors import MalformedRequest, PolicyViolation, TooLarge
from ostiary.exchange import Action, Checked, Face, Finding, Screened
from ostiary.policy import ALTERING, Policy
from ostiary.scanning import scan
from ostiary.spans import Decided, apply
from ostiary.wire.dialects import FIELD_NAMES
from ostiary.wire.texts import KeyCollision, Place, replace, strings

LAYER = "detect"
LONG_TEXT = 32 * 1024
MOST_TEXT = 2 * 1024 * 1024
_TAG = re.compile(r"<[A-Za-z/!?]")
_ROLES = frozenset({"assistant", "developer", "function", "system", "tool", "user"})


@dataclass(slots=True)
class _Verdict:
    """What was found and what is done with it, gathered over all texts of one request."""

    actions: Mapping[str, Action]
    found: Counter[str] = field(default_factory=Counter)

    def kinds(self, *actions: Action) -> tuple[str, ...]:
        """The kinds found whose action is one of these."""
        return tuple(sorted(kind for kind in self.found if self.actions[kind] in actions))


async def detect(checked: Checked, policy: Policy, threads: Executor) -> Screened:
    """Judge a request: 400 where the policy blocks, else the request as the model may see it.

    Long texts are scanned in `threads`; more than 2 MB of text is 413.
    """
    # Roles are from a list and the model is a configured name: neither is the caller's text.
    ours = {*_ROLES, checked.model}
    names = FIELD_NAMES[checked.route.dialect]
    places = [p for p in strings(checked.body, known_names=names) if p.text not in ours]
    size = sum(len(place.text) for place in places)
    if size > MOST_TEXT:
        raise TooLarge("The request holds more than 2 MB of text.", layer=LAYER, rule="text-size")
    if size > LONG_TEXT:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(threads, _screen, checked, policy, places)
    return _screen(checked, policy, places)


def _screen(checked: Checked, policy: Policy, places: Iterable[Place]) -> Screened:
    face = checked.funded.admitted.route.face
    verdict = _Verdict(policy.requests[face])
    past = _Verdict(policy.answers)
    native = face is Face.NATIVE
    edits: list[tuple[Place, str]] = []
    for place in places:
        # Earlier turns were screened when they were new. They are judged as answers are, so that
        # a model's SQL or a stricter policy cannot lock a conversation.
        new = not native or place.text == checked.message
        text = _judge(place.text, policy, verdict if new else past, markup=native and new)
        if text != place.text:
            edits.append((place, text))
    blocked = verdict.kinds(Action.BLOCK)
    if blocked:
        raise violation(blocked, policy, sorted(verdict.found))
    body = _edit(checked.body, edits)
    return Screened(
        checked=checked,
        body=body,
        message=body["messages"][-1]["content"] if native else "",
        findings=dict(verdict.found),
        warned=verdict.kinds(Action.REDACT, Action.MASK),
        personal=any(d.personal and d.kind in verdict.found for d in policy.detectors),
    )


def _judge(text: str, policy: Policy, verdict: _Verdict, *, markup: bool) -> str:
    findings = scan(text, policy.detectors)
    if markup and _TAG.search(text):
        seen, bare = findings, without_markup(text)
        findings = scan(bare, policy.detectors)
        if policy.observes:
            verdict.found.update(Counter(f.kind for f in seen) | Counter(f.kind for f in findings))
            return text
        verdict.found.update(f.kind for f in seen if not _personal(policy, f))
        text = bare
    if not findings:
        return text
    verdict.found.update(finding.kind for finding in findings)
    altering = [
        Decided(finding, action)
        for finding in findings
        if (action := verdict.actions[finding.kind]) in ALTERING
    ]
    return apply(text, altering) if altering else text


def _personal(policy: Policy, finding: Finding) -> bool:
    return any(d.personal for d in policy.detectors if d.kind == finding.kind)


def _edit(body: dict[str, Any], edits: Iterable[tuple[Place, str]]) -> dict[str, Any]:
    try:
        edited: dict[str, Any] = replace(body, edits)
    except KeyCollision as cause:
        raise MalformedRequest(
            "Two field names of one object hold personal data and cannot be told apart once it "
            "is taken out.",
            layer=LAYER,
            rule="field-names",
        ) from cause
    return edited


def violation(kinds: tuple[str, ...], policy: Policy, found: Sequence[str]) -> PolicyViolation:
    """The refusal of a blocked request; it names the kinds, never the text.

    `found` are all kinds that were found: the record names those too that did not block.
    """
    personal = {detector.kind for detector in policy.detectors if detector.personal}
    what = (
        "personal data that the policy does not let through"
        if personal.issuperset(kinds)
        else "potentially malicious content"
    )
    return PolicyViolation(
        f"The message contains {what} ({', '.join(kinds)}).",
        layer=LAYER,
        rule=kinds[0],
        findings=found,
        blocked=kinds,
    )


def without_markup(text: str) -> str:
    """The text without its HTML tags, comments and script bodies; everything else unchanged."""
    kept = nh3.clean(text.replace("&", "&amp;"), tags=set(), link_rel=None)
    return html.unescape(kept)
