"""What the two sqlite3 peers have in common: the tables, the statements and the settings."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Final, NamedTuple

from tests.benchmarks.workload import Vector, encode

PRAGMAS: Final = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    # 40 MB between two checkpoints instead of 4: one batch of vectors is 2 to 4 MB of pages, and a
    # checkpoint after every other batch made vectors with keys in random order a tenth slower.
    "PRAGMA wal_autocheckpoint = 10000",
)

Row = tuple[object, ...]


class Table(NamedTuple):
    """One kind of message in a table of its own, as SQL."""

    create: str
    insert: str
    select_count: str


TASKS: Final = Table(
    "CREATE TABLE tasks (seq INTEGER PRIMARY KEY, task BLOB NOT NULL)",
    "INSERT INTO tasks (task) VALUES (?)",
    "SELECT count(*) FROM tasks",
)
"""A task is a row of JSON at the end."""

KNOWLEDGE: Final = Table(
    "CREATE TABLE knowledge (key TEXT PRIMARY KEY, vector BLOB NOT NULL, metadata BLOB NOT NULL)",
    "INSERT INTO knowledge VALUES (?, ?, ?) ON CONFLICT (key) DO UPDATE"
    " SET vector = excluded.vector, metadata = excluded.metadata",
    "SELECT count(*) FROM knowledge",
)
"""A vector is the row of its key: the bytes of the array, and its metadata as JSON."""


def task_row(task: Mapping[str, Any]) -> Row:
    """The parameters of the insert into `TASKS`."""
    return (encode(task),)


def vector_row(key: str, vector: Vector, metadata: Mapping[str, Any]) -> Row:
    """The parameters of the insert into `KNOWLEDGE`."""
    return (key, vector.tobytes(), encode(metadata))


def count_rows(path: Path, table: Table) -> int:
    """How many rows `table` has in the database at `path`, read with a new connection."""
    with closing(sqlite3.connect(path)) as connection:
        (count,) = connection.execute(table.select_count).fetchone()
    return int(count)
