"""Durable state in one SQLite file, for one machine; any number of processes may use it at once.

store.py    the port: who waits for what, and the reads
writer.py   one thread, group commit
changes.py  what each change writes
schema.py   the file, its modes, its numbered scripts beside this page
faults.py   SQLite's errors → ours
"""

from ostiary.stores.sqlite.store import Options, SqliteStore, build

__all__ = ["Options", "SqliteStore", "build"]
