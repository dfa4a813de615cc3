"""The stores that are measured side by side, each behind the interface of `runner`.

`STORES` is all of them by name. What the benchmarks compare is chosen from it; nothing outside
this package knows how any of them works.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final, NamedTuple

from tests.benchmarks.peers.bare_file import BareFile
from tests.benchmarks.peers.penin_store import (
    LoggedPeninTasks,
    LoggedPeninVectors,
    PeninTasks,
    PeninVectors,
)
from tests.benchmarks.peers.queue_commit import QueueCommit
from tests.benchmarks.peers.runner import StoreRunner
from tests.benchmarks.peers.sqlite_group import sqlite_group_tasks, sqlite_group_vectors
from tests.benchmarks.peers.sqlite_single import SqliteAutocommit, SqliteSingle
from tests.benchmarks.workload import Tasks, Vectors, Workload


class Store(NamedTuple):
    """How to make a runner of one store, which is used for one round and thrown away."""

    about: str
    for_tasks: Callable[[Tasks], StoreRunner]
    for_vectors: Callable[[Vectors], StoreRunner]

    def runner(self, workload: Workload) -> StoreRunner:
        """A new runner for messages of `workload`."""
        if isinstance(workload, Tasks):
            return self.for_tasks(workload)
        return self.for_vectors(workload)


def _bare_file(workload: Workload) -> BareFile:
    return BareFile(workload.payload)


STORES: Final[Mapping[str, Store]] = {
    "floor": Store("a bare file, raw payloads, group commit", _bare_file, _bare_file),
    "penin": Store("penin.open, no log", PeninTasks, PeninVectors),
    "penin-logged": Store(
        "the same, every transition a line of JSON", LoggedPeninTasks, LoggedPeninVectors
    ),
    "sqlite-group": Store(
        "sqlite3, group commit behind an asyncio.Queue, state in memory",
        partial(sqlite_group_tasks, mailbox=QueueCommit),
        partial(sqlite_group_vectors, mailbox=QueueCommit),
    ),
    "sqlite-group-swap": Store(
        "the same behind a mailbox like PENIN's", sqlite_group_tasks, sqlite_group_vectors
    ),
    "aiosqlite": Store(
        "aiosqlite, statement and commit", SqliteSingle.for_tasks, SqliteSingle.for_vectors
    ),
    "aiosqlite-auto": Store(
        "aiosqlite, autocommit", SqliteAutocommit.for_tasks, SqliteAutocommit.for_vectors
    ),
}

__all__ = ["STORES", "Store", "StoreRunner"]
