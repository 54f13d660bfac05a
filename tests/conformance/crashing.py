"""A process that commits without pause, says what was acknowledged, and waits to be killed.

`python -m tests.conformance.crashing STORE OPTIONS-AS-JSON`: each line of its output is one
acknowledged commit: conversation, number of messages, the commit's two records.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import sys

from ostiary.rows import AddPerson
from tests.conformance.rows import person, record, turn


async def converse(store, owner: str) -> None:
    conversation, count = None, 0
    while True:
        change = turn(owner, conversation, count)
        conversation, count = change.conversation, count + 2
        records = record("address", owner=owner), record()
        await store.commit(change, *records)
        line = f"{conversation} {count} {records[0].row.id} {records[1].row.id}\n"
        os.write(1, line.encode())


async def main() -> None:
    module = importlib.import_module(f"ostiary.stores.{sys.argv[1]}")
    store = module.build(module.Options(**json.loads(sys.argv[2])))
    await store.open()
    owner = person()
    await store.commit(AddPerson(owner))
    await asyncio.gather(*(converse(store, owner.id) for _ in range(16)))


if __name__ == "__main__":
    asyncio.run(main())
