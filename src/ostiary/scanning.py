"""Every detector over one text: folded once, findings given in the text as it is."""

from __future__ import annotations

from collections.abc import Iterable

from ostiary.exchange import Finding
from ostiary.folding import fold
from ostiary.ports import Detector


def scan(text: str, detectors: Iterable[Detector]) -> list[Finding]:
    """All findings of all detectors in code points of `text`, sorted by start, end and kind."""
    folded = fold(text)
    found = [
        Finding(finding.kind, *folded.span(finding.start, finding.end))
        for detector in detectors
        for finding in detector.find(folded.text)
    ]
    found.sort(key=lambda finding: (finding.start, finding.end, finding.kind))
    return found
