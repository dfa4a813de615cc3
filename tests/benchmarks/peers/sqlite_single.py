"""sqlite3 through aiosqlite, one commit an acknowledgement: what the documentation leads to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import aiosqlite

from tests.benchmarks.peers.sqlite import (
    KNOWLEDGE,
    PRAGMAS,
    TASKS,
    Row,
    Table,
    count_rows,
    task_row,
    vector_row,
)
from tests.benchmarks.workload import Tasks, Vectors


class SqliteSingle:
    """A statement and a commit for every message, under a lock.

    Without the lock, senders that share the connection would commit each other's statements: a
    group commit by accident, in which one sender's rollback undoes what another was told is there.
    """

    _isolation_level: Literal["DEFERRED"] | None = "DEFERRED"

    def __init__(self, table: Table, row: Callable[[int], Row]) -> None:
        self._table = table
        self._row = row
        self._lock = asyncio.Lock()

    async def open(self, directory: Path) -> None:
        self._path = directory / "store.sqlite3"
        self._connection = await aiosqlite.connect(
            self._path, isolation_level=self._isolation_level
        )
        for pragma in PRAGMAS:
            await self._connection.execute(pragma)
        await self._connection.execute(self._table.create)
        await self._connection.commit()

    async def submit(self, number: int) -> None:
        row = self._row(number)
        async with self._lock:
            await self._connection.execute(self._table.insert, row)
            await self._connection.commit()

    async def close(self) -> None:
        await self._connection.close()

    def held(self) -> int:
        return count_rows(self._path, self._table)

    @classmethod
    def for_tasks(cls, tasks: Tasks) -> SqliteSingle:
        """A runner for messages that are tasks."""
        return cls(TASKS, lambda number: task_row(tasks.task(number)))

    @classmethod
    def for_vectors(cls, vectors: Vectors) -> SqliteSingle:
        """A runner for messages that are vectors."""
        return cls(KNOWLEDGE, lambda number: vector_row(*vectors.entry(number)))


class SqliteAutocommit(SqliteSingle):
    """The same in autocommit mode: the statement is the commit, so one way to the thread is saved.

    No lock is needed, since every statement is a transaction of its own.
    """

    _isolation_level = None

    async def submit(self, number: int) -> None:
        await self._connection.execute(self._table.insert, self._row(number))
