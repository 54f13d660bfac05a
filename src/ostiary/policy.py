"""The policy: for each profile and kind of finding, one action. One place decides; see `detect`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ostiary.exchange import Action, Face
from ostiary.ports import Detector

ALTERING = frozenset({Action.MASK, Action.REDACT, Action.BLOCK})


@dataclass(frozen=True, slots=True)
class Policy:
    """What is done with each kind, on requests of each face and on answers.

    `observes` means that nothing is refused or altered, markup included.
    """

    detectors: tuple[Detector, ...]
    requests: Mapping[Face, Mapping[str, Action]]
    answers: Mapping[str, Action]
    observes: bool = False


def build(
    detectors: Iterable[Detector], configured: Mapping[str, Action], *, observe_only: bool
) -> Policy:
    """The policy in force.

    By default personal data is redacted everywhere. Active content is blocked on `/api/chat` and
    only observed on `/v1` and in answers: there, quoting SQL or HTML is a developer's daily bread.
    A configured action counts everywhere. In observe mode nothing is refused or altered.
    """
    chosen = tuple(d for d in detectors if configured.get(d.kind) is not Action.OFF)

    def table(active: Action) -> Mapping[str, Action]:
        actions = {
            d.kind: configured.get(d.kind, Action.REDACT if d.personal else active) for d in chosen
        }
        return dict.fromkeys(actions, Action.OBSERVE) if observe_only else actions

    return Policy(
        detectors=chosen,
        requests={Face.NATIVE: table(Action.BLOCK), Face.OPENAI: table(Action.OBSERVE)},
        answers=table(Action.OBSERVE),
        observes=observe_only,
    )
