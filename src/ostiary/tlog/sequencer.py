"""From the outbox into the tree: one writer at a time, in any process.

A record is durable in the outbox from the moment its transaction commits; here it gets its number
and its place in the tree, at most a second later. The tree is written first and the outbox is
emptied after: a crash between the two leaves records in both, and they are recognised by their
id and skipped, as are those of an older copy of the database that was put back.
"""

from __future__ import annotations

import asyncio
import fcntl
import hmac
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ostiary.errors import IntegrityError
from ostiary.ports import Store
from ostiary.rows import OpenExchange, OutboxRow, Sequenced, TreeState
from ostiary.tlog.files import LogFiles

BATCH = 4_096
_ALL = 2**31

Leaf = Callable[[bytes, int], bytes]


@dataclass(frozen=True, slots=True)
class Mark:
    """What a record did to the store: its id, and the exchange (request id) it opened or closed."""

    id: str
    opens: str | None = None
    closes: str | None = None


MarkOf = Callable[[bytes], Mark]


class Sequencer:
    """Moves records into the tree while it holds the lock file."""

    def __init__(
        self,
        store: Store,
        log: LogFiles,
        lock: Path,
        outbox_key: bytes,
        *,
        leaf: Leaf,
        mark: MarkOf,
    ) -> None:
        """`leaf` makes a leaf of a record and its number; `mark` reads a record or a leaf."""
        self._store = store
        self._log = log
        self._lock = lock
        self._outbox_key = outbox_key
        self._leaf = leaf
        self._mark = mark
        self._in_step: TreeState | None = None

    async def drain(self, *, wait: bool = False) -> int | None:
        """Sequence everything that waits now; gives how many records the tree holds then.

        Where another process is at it: None, or, with `wait`, after it (for commands: it blocks).
        Raises IntegrityError where the tree is damaged or shorter than the store knows, or an
        outbox row is not authentic; nothing is sequenced then.
        """
        with self.alone(wait=wait) as mine:
            if not mine:
                return None
            state = await self._catch_up()
            while rows := await self._store.outbox(BATCH):
                state = await self._sequence(rows)
                if len(rows) < BATCH:
                    break
            return state.size

    async def _catch_up(self) -> TreeState:
        """Open the tree if another process may have written it, and skip what it holds already."""
        known = await self._store.tree_state()
        if known is not None and known == self._in_step:
            return known
        await asyncio.to_thread(self._log.open, at_least=known.size if known else 0)
        state = TreeState(self._log.size, self._log.root())
        if known is None or known.size < state.size:
            await self._skip(known.size if known else 0, state)
        self._in_step = state
        return state

    async def _skip(self, start: int, state: TreeState) -> None:
        """Let the store learn from the tree what it forgot or never knew.

        That is which of its records are in the tree already, and which exchanges are open whose
        intents came with those that it does not know.
        """
        waiting = {row.id: row for row in await self._store.outbox(_ALL)}
        done = []
        opened: dict[str, int] = {}
        for seq, leaf in enumerate(self._log.read_entries(start, state.size), start):
            mark = self._mark(leaf)
            if waiting.pop(mark.id, None) is not None:
                done.append(mark.id)
            if mark.opens is not None:
                opened[mark.opens] = seq
            if mark.closes is not None:
                opened.pop(mark.closes, None)
        for row in waiting.values():
            closes = self._mark(row.body).closes
            if closes is not None:
                opened.pop(closes, None)
        opens = tuple(OpenExchange(request, seq) for request, seq in opened.items())
        await self._store.commit(Sequenced(tuple(done), state, opens))

    async def _sequence(self, rows: Sequence[OutboxRow]) -> TreeState:
        for row in rows:
            if not hmac.compare_digest(row.mac, outbox_mac(self._outbox_key, row.id, row.body)):
                raise IntegrityError("a record in the outbox was changed")
        first = self._log.size
        leaves = [self._leaf(row.body, first + offset) for offset, row in enumerate(rows)]
        self._in_step = None
        await asyncio.to_thread(self._log.append, leaves)
        state = TreeState(self._log.size, self._log.root())
        await self._store.commit(Sequenced(tuple(row.id for row in rows), state))
        self._in_step = state
        return state

    @contextmanager
    def alone(self, *, wait: bool) -> Iterator[bool]:
        """Hold the lock file, and say whether it is ours; it is free when the process ends."""
        handle = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                yield False
            else:
                yield True
        finally:
            os.close(handle)


def outbox_mac(key: bytes, record_id: str, body: bytes) -> bytes:
    """What authenticates a record until the tree does."""
    return hmac.digest(key, record_id.encode() + b"\x00" + body, "sha256")
