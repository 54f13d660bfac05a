"""Every detector over one text: folded once, findings given in the text as it is."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache

import re2  # type: ignore[import-untyped]

from ostiary.exchange import Finding
from ostiary.folding import fold
from ostiary.ports import Detector


def scan(text: str, detectors: Iterable[Detector]) -> list[Finding]:
    """All findings of all detectors in code points of `text`, sorted by start, end and kind.

    One pass looks for the signs of all of them; a detector without a sign in the text is not asked.
    """
    folded = fold(text)
    found = [
        Finding(finding.kind, *folded.span(finding.start, finding.end))
        for detector in _signed(tuple(detectors))(folded.text)
        for finding in detector.find(folded.text)
    ]
    found.sort(key=lambda finding: (finding.start, finding.end, finding.kind))
    return found


@lru_cache(maxsize=64)
def _signed(detectors: tuple[Detector, ...]) -> Callable[[str], Iterable[Detector]]:
    """Which detectors are to be asked about a folded text: none that would find something is left.

    A sign that RE2 cannot read (it looks ahead) is not looked for: its detector is always asked.
    """
    options = re2.Options()
    options.log_errors = False
    signs = re2.Set.SearchSet(options)
    always, asked = [], []
    for detector in detectors:
        try:
            signs.Add(detector.sign)
        except re2.error:
            always.append(detector)
        else:
            asked.append(detector)
    if not asked:
        return lambda _: always
    signs.Compile()

    def chosen(text: str) -> Iterable[Detector]:
        seen = signs.Match(text)
        return [*always, *(asked[number] for number in seen)] if seen else always

    return chosen
