"""The one thread that writes: commits that arrive while it is busy share its next transaction."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Final

from ostiary.errors import UnavailableError
from ostiary.ports import Stale
from ostiary.rows import Change
from ostiary.stores.sqlite.changes import APPLY, Batch
from ostiary.stores.sqlite.faults import OWN_FAULTS, own_fault, unavailable

COMPANY_SECONDS: Final = 0.003
"""How long a writer that had company waits for more: a transaction costs much more than its rows,
and a loop that is busy fills the time. Whoever commits alone never waits."""

LARGEST_BATCH: Final = 256  # commits in one transaction: bounds what one failure takes with it

_Outcome = Exception | None
_SPOILED: Final = Stale("this commit's writes cannot be told from its batch's")


@dataclass(frozen=True, slots=True)
class Group:
    """The changes of one commit, and who waits for it."""

    changes: tuple[Change, ...]
    future: asyncio.Future[None] | None


class Writer:
    """The one thread that writes: drains its queue into one transaction, then answers all."""

    def __init__(self, connection: sqlite3.Connection, loop: asyncio.AbstractEventLoop) -> None:
        self._connection = connection
        self._loop = loop
        self._queue: SimpleQueue[Group | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="sqlite-write", daemon=True)
        self._dead = False
        self._thread.start()

    def put(self, group: Group) -> None:
        """Queue a commit; from any thread."""
        self._queue.put(group)
        if self._dead:  # looked at after putting, so that no group can be left behind
            self._refuse_rest()

    def stop(self) -> None:
        """Write what is queued, then end the thread."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        company = False
        try:
            while (group := self._queue.get()) is not None:
                if company:
                    time.sleep(COMPANY_SECONDS)
                batch = [group]
                while not self._queue.empty() and len(batch) < LARGEST_BATCH:
                    follower = self._queue.get()
                    if follower is None:
                        self._queue.put(None)
                        break
                    batch.append(follower)
                company = len(batch) > 1
                self._answer(batch, self._write(batch))
        finally:
            self._dead = True
            self._refuse_rest()

    def _refuse_rest(self) -> None:
        rest: list[Group] = []
        while not self._queue.empty():
            group = self._queue.get()
            if group is not None:
                rest.append(group)
        self._answer(rest, [_ended() for _ in rest])

    def _answer(self, batch: list[Group], outcomes: Sequence[_Outcome]) -> None:
        waiting = [
            (group.future, outcome)
            for group, outcome in zip(batch, outcomes, strict=True)
            if group.future is not None
        ]
        if waiting:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                self._loop.call_soon_threadsafe(_resolve, waiting)

    def _write(self, batch: list[Group]) -> Sequence[_Outcome]:
        """Commit the batch; each outcome is None or what its own commit did wrong."""
        connection = self._connection
        try:
            outcomes = self._try(batch, alone=False)
            if outcomes is None:
                connection.execute("ROLLBACK")
                outcomes = self._try(batch, alone=True)
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._abandon()
            return [unavailable("write", error) for _ in batch]
        except BaseException:
            self._abandon()
            self._answer(batch, [_ended() for _ in batch])
            raise
        return outcomes or ()

    def _abandon(self) -> None:
        with contextlib.suppress(sqlite3.Error):
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")

    def _try(self, batch: list[Group], *, alone: bool) -> list[_Outcome] | None:
        """Apply a batch inside a new transaction.

        Savepoints cost, and nearly every batch is without fault: they are set only when `alone`.
        Without them a commit that fails after it wrote something spoils the batch: then None.
        """
        connection = self._connection
        cursor = connection.cursor()
        cursor.execute("BEGIN IMMEDIATE")
        shared = Batch(cursor)
        outcomes: list[_Outcome] = []
        for group in batch:
            outcome = _apply_alone(cursor, group) if alone else _apply(connection, shared, group)
            if outcome is _SPOILED:
                return None
            outcomes.append(outcome)
        try:
            shared.flush()
        except OWN_FAULTS:
            return None
        return outcomes


def _apply(connection: sqlite3.Connection, shared: Batch, group: Group) -> _Outcome:
    before = connection.total_changes, shared.gathered
    try:
        for change in group.changes:
            APPLY[type(change)](shared, change)
    except OWN_FAULTS as error:
        spoiled = before != (connection.total_changes, shared.gathered)
        return _SPOILED if spoiled else own_fault(error)
    return None


def _apply_alone(cursor: sqlite3.Cursor, group: Group) -> _Outcome:
    cursor.execute("SAVEPOINT alone")
    outcome: _Outcome = None
    try:
        own = Batch(cursor)
        for change in group.changes:
            APPLY[type(change)](own, change)
        own.flush()
    except OWN_FAULTS as error:
        cursor.execute("ROLLBACK TO alone")
        outcome = own_fault(error)
    cursor.execute("RELEASE alone")
    return outcome


def _ended() -> UnavailableError:
    return UnavailableError("the store's writer has ended")


def _resolve(waiting: list[tuple[asyncio.Future[None], _Outcome]]) -> None:
    for future, outcome in waiting:
        if future.done():
            continue
        if outcome is None:
            future.set_result(None)
        else:
            future.set_exception(outcome)
