"""Texts that stand apart and that readers also join: both readings are judged.

A value may lie in one part, beside digits of the next that would hide it in the joined text; or it
may begin in one part and go on in the next. What is found in a part by itself, and what is found in
the joined text, is covered in both.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from ostiary.exchange import Action
from ostiary.ports import Detector
from ostiary.window import Window

Path = tuple[str | int, ...]


class Joined:
    """A channel of parts; what is held back when a part ends is released with the next part's.

    A channel of one part is a `Window` and costs as much.
    """

    def __init__(self, detectors: Iterable[Detector], actions: Mapping[str, Action]) -> None:
        """Take what a `Window` takes."""
        self._detectors = tuple(detectors)
        self._actions = actions
        self._all = Window(self._detectors, actions)
        self._part: Path | None = None
        self._own: Window | None = None
        self._past: Counter[str] = Counter()

    @property
    def findings(self) -> Counter[str]:
        """How many of each kind were found: in the parts or in the joined text, if more."""
        own = self._own.findings if self._own else Counter[str]()
        return (self._past + own) | self._all.findings

    @property
    def blocked(self) -> bool:
        """Whether a finding came up that the policy blocks: nothing is released from then on."""
        return self._all.blocked

    @property
    def holds(self) -> bool:
        """Whether text waits for a verdict."""
        return self._all.holds

    def turn(self, part: Path) -> None:
        """The next text is of this part; the one before, where it is another, ends here."""
        if self._part is not None and self._part != part:
            if self._own is None:
                self._past = self._all.stand()
            else:
                self._own.close()
                self._past += self._own.findings
            self._own = Window(self._detectors, self._actions, within=self._all)
        self._part = part

    def feed(self, text: str) -> str:
        """Take the next piece of the part; give back what is decided now."""
        if self._own is None or self._own.blocked:
            return self._all.feed(text)
        self._own.feed(text)
        return self._all.feed(text, None if self._own.blocked else self._own)

    def flush(self) -> str:
        """Give out what is held, judged as it stands."""
        if self._own is not None:
            self._own.flush()
        return self._all.flush()

    def close(self) -> str:
        """The last part ends here; give back the rest."""
        if self._own is not None:
            self._own.close()
        return self._all.close()
