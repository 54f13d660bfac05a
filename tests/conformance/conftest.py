"""One suite for each port, run over every implementation that its folder holds.

A new file in the folder is found by itself; it needs one fixture here, `<name>_options` (a store)
or `<name>_counters`, that says where it may live during a test.
"""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType

import pytest

import ostiary.counters
import ostiary.stores
from ostiary.counters import memory
from ostiary.stores import sqlite


def _names(folder: ModuleType) -> list[str]:
    return [module.name for module in pkgutil.iter_modules(folder.__path__)]


class Place:
    """An implementation of a store and the options that lead to one and the same state."""

    def __init__(self, name: str, options: object) -> None:
        self.name = name
        self.options = options
        self.module = importlib.import_module(f"ostiary.stores.{name}")

    async def open(self):
        store = self.module.build(self.options)
        await store.open()
        return store


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def sqlite_options(tmp_path):
    return sqlite.Options(path=str(tmp_path / "home" / "ostiary.db"))


@pytest.fixture(params=_names(ostiary.stores))
def place(request) -> Place:
    return Place(request.param, request.getfixturevalue(f"{request.param}_options"))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def memory_counters(clock):
    return lambda: memory.build(memory.Options(), clock)


@pytest.fixture(params=_names(ostiary.counters))
def make_counters(request):
    return request.getfixturevalue(f"{request.param}_counters")
