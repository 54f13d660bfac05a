"""Every extension point: what a part of an open folder has to be."""

from __future__ import annotations

from typing import Protocol

from ostiary.exchange import Finding


class Detector(Protocol):
    """One kind of finding, decided locally, so that a stream needs only a bounded window.

    `text` is always folded text (`ostiary.folding`), offsets are into it. The law, which the answer
    guard depends on and `tests/conformance/test_detectors.py` checks for every detector:

    - bounded: no finding is longer than `reach`, and `len(text) - settled(text) <= reach`;
    - settled: for n = settled(text), the findings that begin before n are the same in `text` and in
      `text` followed by anything;
    - local: the findings that begin at or after `a + reach` are the same in `text` and `text[a:]`;
    - signed: every finding holds a match of the regular expression `sign`.
    """

    @property
    def kind(self) -> str:
        """The name of the file, of the setting, and in audit and documents."""
        ...

    @property
    def personal(self) -> bool:
        """Personal data (redacted by default) or else active content."""
        ...

    @property
    def reach(self) -> int:
        """Code points: see the law."""
        ...

    @property
    def sign(self) -> str:
        """A cheap pattern, with its own inline flags, without which there can be no finding."""
        ...

    def find(self, text: str) -> list[Finding]:
        """All findings, sorted by start; each is decided by itself, so two may overlap."""
        ...

    def settled(self, text: str) -> int:
        """The offset before which no finding can appear, change or vanish, whatever follows."""
        ...
