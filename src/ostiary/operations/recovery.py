"""What a start makes good that a crash left: exchanges without a closing record."""

from __future__ import annotations

from ostiary.ports import Store
from ostiary.rows import CloseExchanges
from ostiary.stages.ledger import Ledger, mark_of
from ostiary.tlog.reader import LogReader


async def close_interrupted(store: Store, log: LogReader, ledger: Ledger) -> int:
    """Record as `interrupted` every exchange that a dead gateway left open; give how many.

    Only the one server of this state may call it, before it takes requests, after its outbox was
    sequenced: what is open then is nobody's. An exchange that was closed after all (by the tree,
    while the store is an older copy) gets no second record.
    """
    left = {row.request: row.since for row in await store.open_exchanges()}
    if not left:
        return 0
    intents: dict[str, bytes] = {}
    for leaf in log.read_entries(min(left.values()), log.checkpoint().size):
        mark = mark_of(leaf)
        if mark.opens in left:
            intents[mark.opens] = leaf
        elif mark.closes is not None:
            intents.pop(mark.closes, None)
    records = [ledger.recovered(intent) for intent in intents.values()]
    await ledger.commit(*records, CloseExchanges(tuple(left)))
    return len(records)
