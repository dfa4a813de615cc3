"""sqlite3 with a hand-written group commit in a thread, and the state in memory beside it."""

from __future__ import annotations

import asyncio
import sqlite3
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeVar

from tests.benchmarks.peers.group_commit import GroupCommit
from tests.benchmarks.peers.queue_commit import QueueCommit
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
from tests.benchmarks.workload import HISTORY_MAXLEN, Tasks, Vector, Vectors

Kept = TypeVar("Kept")
Mailbox = type[GroupCommit[Any]] | type[QueueCommit[Any]]


class SqliteGroup(Generic[Kept]):
    """One transaction for all that gathered.

    `message(number)` gives the row, encoded before the sender goes on, and what is kept in memory;
    `remember` puts those pairs into memory once they are committed.
    """

    def __init__(
        self,
        table: Table,
        message: Callable[[int], tuple[Row, Kept]],
        remember: Callable[[list[tuple[Row, Kept]]], None],
        mailbox: Mailbox,
    ) -> None:
        self._mailbox_kind = mailbox
        self._table = table
        self._message = message
        self._remember = remember

    async def open(self, directory: Path) -> None:
        self._path = directory / "store.sqlite3"
        # No implicit transactions: begin and commit are written out below.
        self._connection = sqlite3.connect(
            self._path, isolation_level=None, check_same_thread=False
        )
        for pragma in PRAGMAS:
            self._connection.execute(pragma)
        self._connection.execute(self._table.create)
        self._mailbox = self._mailbox_kind(self._commit, self._remember)

    def _commit(self, messages: list[tuple[Row, Kept]]) -> None:
        connection = self._connection
        connection.execute("BEGIN")
        try:
            connection.executemany(self._table.insert, [row for row, _ in messages])
            connection.execute("COMMIT")
        except BaseException:
            connection.rollback()
            raise

    def submit(self, number: int) -> asyncio.Future[None]:
        return self._mailbox.submit(self._message(number))

    async def close(self) -> None:
        await self._mailbox.close()
        self._connection.close()

    def held(self) -> int:
        return count_rows(self._path, self._table)


def sqlite_group_tasks(tasks: Tasks, mailbox: Mailbox = GroupCommit) -> SqliteGroup[dict[str, Any]]:
    """Tasks, with the newest thousand in a deque."""
    history: deque[dict[str, Any]] = deque(maxlen=HISTORY_MAXLEN)

    def message(number: int) -> tuple[Row, dict[str, Any]]:
        task = tasks.task(number)
        return task_row(task), task

    def remember(messages: list[tuple[Row, dict[str, Any]]]) -> None:
        history.extend([task for _, task in messages])

    return SqliteGroup(TASKS, message, remember, mailbox)


def sqlite_group_vectors(
    vectors: Vectors, mailbox: Mailbox = GroupCommit
) -> SqliteGroup[tuple[str, Vector, dict[str, Any]]]:
    """Vectors, with the newest of every key in a dict."""
    knowledge: dict[str, tuple[Vector, dict[str, Any]]] = {}

    def message(number: int) -> tuple[Row, tuple[str, Vector, dict[str, Any]]]:
        entry = vectors.entry(number)
        return vector_row(*entry), entry

    def remember(messages: list[tuple[Row, tuple[str, Vector, dict[str, Any]]]]) -> None:
        for _, (key, vector, metadata) in messages:
            knowledge[key] = (vector, metadata)

    return SqliteGroup(KNOWLEDGE, message, remember, mailbox)
