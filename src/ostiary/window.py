"""The hold-back window of the answer guard: one channel of text, released as soon as it is decided.

What comes out depends on the text alone: never on how it was cut, never on time. The exception is
`flush`: where text of another kind goes first, what was held is judged as it stands.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from ostiary.exchange import Action, Finding
from ostiary.folding import fold_piece
from ostiary.ports import Detector
from ostiary.scanning import scan, signs_of
from ostiary.spans import Cover, Decided, apply, cover, first_block, render

_OBSERVE_EVERY = 256
"""Characters after which detectors that hold nothing back are asked again; a matter of cost."""


class _Reader:
    """One detector and how far (in absolute folded offsets) its verdict is final."""

    __slots__ = ("action", "detector", "done")

    def __init__(self, detector: Detector, action: Action) -> None:
        self.detector = detector
        self.action = action
        self.done = 0


class Window:
    """Feed the pieces of one text, get back what may be released; law below.

    For every way to cut a text, what `feed` and `close` return, joined, is `spans.apply` of the
    whole text with all its findings, and `findings` counts the same kinds. Until it is decided, at
    most the `reach` of the slowest enforced detector is held back; three times that is kept.
    Detectors whose action is `off` are not asked; those that are only observed hold nothing back.
    From a block on nothing is released, and only findings up to it are counted.
    """

    def __init__(
        self,
        detectors: Iterable[Detector],
        actions: Mapping[str, Action],
        *,
        within: Window | None = None,
    ) -> None:
        """Ask those of `detectors` whose kind has an action other than `off`; a missing one is.

        The text may be a part of another window's: what is found in it by itself then binds that
        one too (see `feed`), from what that one is given next on.
        """
        self._within = within
        self._base_within = within.received if within else 0
        self._readers = [
            _Reader(detector, action)
            for detector in detectors
            if (action := actions.get(detector.kind, Action.OFF)) is not Action.OFF
        ]
        self._enforced = [r for r in self._readers if r.action is not Action.OBSERVE]
        self._observed = [r for r in self._readers if r.action is Action.OBSERVE]
        self._observed_done = 0
        self._signs = signs_of(tuple(reader.detector for reader in self._readers))
        self._decided = 0
        self._context = max((r.detector.reach for r in self._readers), default=0)
        self._folded = ""  # context and what is not final, beginning at _base
        self._origin: list[int] = []  # where each character of _folded came from
        self._base = 0
        self._unseen = 0
        self._text = ""  # what is not released, beginning at _released
        self._released = 0
        self._covers: list[Cover] = []
        self._in_marker = False
        self._ahead: list[tuple[int, str]] = []  # findings that begin in text not released
        self._counts: Counter[str] = Counter()
        self._blocked_at: int | None = None
        self._block_done = 0
        self._stopped = False

    @property
    def findings(self) -> Counter[str]:
        """How many of each kind begin in the text that is decided, those only observed too."""
        return Counter(self._counts)

    @property
    def blocked(self) -> bool:
        """Whether a finding came up that the policy blocks: nothing from it on is released."""
        return self._stopped

    @property
    def received(self) -> int:
        """Characters taken so far."""
        return self._released + len(self._text)

    @property
    def reached(self) -> int:
        """How far it has given out, counted in the window that it is a part of."""
        return self._base_within + self._released

    def feed(self, text: str, part: Window | None = None) -> str:
        """Take the next piece; give back what is decided now.

        A `part` of this text, which has taken the same piece before, has to have decided too.
        """
        if self._stopped and all(reader.done > self._block_done for reader in self._readers):
            return ""
        piece, self._unseen = fold_piece(text, self._released + len(self._text), self._unseen)
        self._text += text
        self._folded += piece.text
        self._origin.extend(piece.origin)
        end = self._base + len(self._folded)
        if self._observed and end - self._observed_done >= _OBSERVE_EVERY:
            self._observe(end)
        decided = self._position(self._decide(end))
        if part is not None:
            decided = min(decided, part.reached)
        out = self._release(decided)
        if len(self._folded) > 2 * self._context:
            self._forget()
        return out

    @property
    def holds(self) -> bool:
        """Whether text waits for a verdict."""
        return bool(self._text) and not self._stopped

    def flush(self) -> str:
        """Give out what is held, though it is not decided, because something else goes first.

        It is judged as if the text ended here, and what follows is still judged together with it:
        of a finding that goes over this point, the part behind it is covered. A finding that the
        policy blocks ends the text.
        """
        undecided = list(self._undecided())
        if any(one.action is Action.BLOCK for one in undecided):
            return self.close()
        for one in undecided:
            self._cover(one)
        return self._release(self._released + len(self._text))

    def stand(self) -> Counter[str]:
        """Decide what is held as if the text ended here too, though it goes on and is not over.

        Nothing is given out. Says how many findings of each kind there are up to here.
        """
        counts = self.findings
        counts.update(kind for _, kind in self._ahead)
        for one in list(self._undecided()):
            counts[one.finding.kind] += 1
            if one.action is Action.BLOCK:
                self.block(one.finding.start)
            self._cover(one)
        return counts

    def _undecided(self) -> Iterator[Decided]:
        """The findings that there would be, if nothing followed, in what is not final."""
        if not self._enforced:
            return
        behind = min(reader.done for reader in self._enforced) - self._base
        seen = self._signs.seen(self._folded[behind:])
        for reader in self._enforced:
            begin = reader.done - self._base
            if not seen or reader.detector not in seen:
                continue
            first = max(0, begin - reader.detector.reach)
            for found in reader.detector.find(self._folded[first:]):
                if found.start + first >= begin:
                    start, end = self._place(found, first)
                    yield Decided(
                        Finding(found.kind, start, end), self._shown(reader.action, start)
                    )

    def close(self) -> str:
        """The text ends here; give back the rest."""
        end = self._base + len(self._folded)
        self._advance([(reader, end) for reader in self._readers])
        return self._release(self._released + len(self._text))

    def _decide(self, end: int) -> int:
        """How far all enforced verdicts are final, of the text up to `end`.

        The detector that held back last is asked first: while it still does, nobody else need be,
        and when it goes on, only those that were not that far already. Of what has become final
        nothing is looked for where there is no sign of any of the findings.
        """
        final = end
        ahead: list[tuple[_Reader, int]] = []
        slowest = 0
        for index, reader in enumerate(self._enforced):
            done = reader.done
            if index and done >= final:
                continue
            settled = reader.detector.settled(self._folded) + self._base
            if settled > done:
                ahead.append((reader, settled))
                done = settled
            if done < final:
                final, slowest = done, index
            if final <= self._decided:
                break
        if slowest:
            self._enforced.insert(0, self._enforced.pop(slowest))
        self._advance(ahead)
        self._decided = max(self._decided, final)
        return self._decided

    def _observe(self, end: int) -> None:
        """Let detectors that hold nothing back catch up."""
        self._advance([(r, r.detector.settled(self._folded) + self._base) for r in self._observed])
        self._observed_done = min(end, *(reader.done for reader in self._observed))

    def _position(self, settled: int) -> int:
        """Where in the text the folded offset `settled` is; unseen characters before it count."""
        index = settled - self._base
        if index < len(self._origin):
            return self._origin[index]
        return self._released + len(self._text)

    def _advance(self, ahead: list[tuple[_Reader, int]]) -> None:
        """Take over what has become final: each reader's findings before its new offset.

        These begin at or after its old one, so where no sign is behind that, nobody is asked.
        """
        if not ahead:
            return
        first = min([reader.done for reader, _ in ahead]) - self._base
        seen = self._signs.seen(self._folded[first:])
        for reader, settled in ahead:
            if settled > reader.done:
                if seen and reader.detector in seen:
                    self._read(reader, settled)
                reader.done = settled

    def _read(self, reader: _Reader, settled: int) -> None:
        begin = reader.done - self._base
        first = max(0, begin - reader.detector.reach)
        for found in reader.detector.find(self._folded[first:]):
            if begin <= found.start + first < settled - self._base:
                self._take(reader.action, found, first)

    def _take(self, action: Action, found: Finding, first: int) -> None:
        start, end = self._place(found, first)
        if start >= self._released:
            self._ahead.append((start, found.kind))
        elif self._blocked_at is None or start <= self._blocked_at:
            self._counts[found.kind] += 1
        if action is Action.BLOCK and self.block(start):
            self._block_done = found.start + first + self._base
        self._cover(Decided(Finding(found.kind, start, end), self._shown(action, start)))

    def _cover(self, decided: Decided) -> None:
        made = None if self._stopped else cover(self._text, decided, self._released)
        if made is None:
            return
        self._covers.append(made)
        if self._within is not None:
            self._within.bind(made, self._base_within)

    def bind(self, made: Cover, base: int) -> None:
        """Take a cover from the window of a part that begins at `base`."""
        self._covers.append(Cover(made.start + base, made.end + base, made.shown))

    def block(self, start: int) -> bool:
        """Block from `start` on, unless a block comes before; says whether this is the first."""
        if self._within is not None:
            self._within.block(start + self._base_within)
        first = self._blocked_at is None or start < self._blocked_at
        if first:
            self._blocked_at = start
        return first

    def _place(self, found: Finding, first: int) -> tuple[int, int]:
        """Where in the text a finding is that was made in what is kept from `first` on."""
        return self._origin[found.start + first], self._origin[found.end + first - 1] + 1

    def _shown(self, action: Action, start: int) -> Action:
        """What is done with a finding: of a value that began before a flush, nothing is shown."""
        return Action.REDACT if action is Action.MASK and start < self._released else action

    def _release(self, end: int) -> str:
        """Give out the text before `end`, or before the block that comes first."""
        if self._stopped:
            end = self._released
        elif self._blocked_at is not None and self._blocked_at < end:
            end, self._stopped = max(self._blocked_at, self._released), True
        elif end <= self._released:
            return ""
        end = max(end, self._released)
        size = end - self._released
        out = self._text[:size]
        if self._covers:
            out, self._in_marker = render(out, self._covers, self._released, self._in_marker)
        elif out:
            self._in_marker = False
        self._text = self._text[size:]
        self._released = end
        if self._covers:
            self._covers = [one for one in self._covers if one.end > end]
        if self._ahead:
            last = end if self._stopped else end - 1
            self._counts.update(kind for start, kind in self._ahead if start <= last)
            self._ahead = [one for one in self._ahead if one[0] > last]
        return out

    def _forget(self) -> None:
        """Drop what no detector can look back to."""
        needed = min((reader.done for reader in self._readers), default=0)
        surplus = needed - self._base - self._context
        if not self._readers:
            surplus = len(self._folded)
        elif surplus <= self._context:
            return
        self._folded = self._folded[surplus:]
        del self._origin[:surplus]
        self._base += surplus


class Settled:
    """The verdict on a text that was there whole; it holds nothing back."""

    __slots__ = ("blocked", "findings")

    def __init__(self, findings: Counter[str], *, blocked: bool) -> None:
        """Take what a window would have found, and whether it would have blocked."""
        self.findings = findings
        self.blocked = blocked

    def close(self) -> str:
        """Nothing is left."""
        return ""


def judge_whole(
    text: str, detectors: Iterable[Detector], actions: Mapping[str, Action]
) -> tuple[str, Settled]:
    """What may be released of a whole text, and the verdict: what a `Window` fed with it gives."""
    decided = [
        Decided(finding, action)
        for finding in scan(text, detectors)
        if (action := actions.get(finding.kind, Action.OFF)) is not Action.OFF
    ]
    if not decided:
        return text, Settled(Counter(), blocked=False)
    block = first_block(decided)
    counted = Counter(f.kind for f, _ in decided if block is None or f.start <= block)
    return apply(text, decided), Settled(counted, blocked=block is not None)
