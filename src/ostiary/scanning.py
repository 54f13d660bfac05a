"""Every detector over one text: folded once, findings given in the text as it is.

Most text holds no sign of any finding. One pass of RE2 over it says so, for all detectors at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

import re2  # type: ignore[import-untyped]

from ostiary.errors import ConfigurationError
from ostiary.exchange import Finding
from ostiary.folding import fold
from ostiary.ports import Detector

_MEMORY = 64 << 20
"""A bound for what RE2 keeps of the texts that it has seen; beyond it, it forgets, not fails."""


class Signs:
    """The signs of some detectors, looked for in one linear pass."""

    def __init__(self, detectors: tuple[Detector, ...]) -> None:
        """Compile; ConfigurationError where a detector's sign is not a pattern of RE2."""
        self._detectors = detectors
        options = re2.Options()
        options.log_errors = False
        options.max_mem = _MEMORY
        self._set = re2.Set.SearchSet(options)
        for detector in detectors:
            try:
                self._set.Add(detector.sign)
            except re2.error:
                raise ConfigurationError(
                    f"The sign of the detector {detector.kind} is not a pattern that RE2 reads."
                ) from None
        if detectors:
            self._set.Compile()

    def seen(self, text: str) -> tuple[Detector, ...]:
        """The detectors that may find something that is whole in folded `text`, in their order."""
        numbers = self._set.Match(text) if self._detectors else None
        return tuple(self._detectors[n] for n in sorted(numbers)) if numbers else ()


@lru_cache(maxsize=64)
def signs_of(detectors: tuple[Detector, ...]) -> Signs:
    """The signs of these detectors, compiled once."""
    return Signs(detectors)


def scan(text: str, detectors: Iterable[Detector]) -> list[Finding]:
    """All findings of all detectors in code points of `text`, sorted by start, end and kind."""
    folded = fold(text)
    asked = signs_of(tuple(detectors)).seen(folded.text)
    if not asked:
        return []
    found = [
        Finding(finding.kind, *folded.span(finding.start, finding.end))
        for detector in asked
        for finding in detector.find(folded.text)
    ]
    found.sort(key=lambda finding: (finding.start, finding.end, finding.kind))
    return found
