"""A child: from the start of a process to the first lookup and the count, in one of the stores.

Each store is imported where it is used: what another one imports is not measured.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.benchmarks.sizes.process import print_figures, resident_bytes

Report = Callable[[object, int], None]
"""Called with the vector that was found and the count, while the store is open."""


def _penin(path: Path, key: str, report: Report) -> None:
    import asyncio

    import penin

    async def look_up() -> None:
        orchestrator = await penin.open(path)
        artifact = await orchestrator.get(key)
        report(None if artifact is None else artifact.array, len(orchestrator.view.knowledge_base))
        os.kill(os.getpid(), signal.SIGKILL)

    asyncio.run(look_up())


def _kill_while_writing(path: Path, key: str, report: Report) -> None:
    """What `_penin` recovers from: a thousand messages that no snapshot has, and a kill."""
    import asyncio

    import penin

    async def write() -> None:
        orchestrator = await penin.open(path)
        for number in range(1000):
            await orchestrator.add_score(number / 1000)
        report(key, 0)
        os.kill(os.getpid(), signal.SIGKILL)

    asyncio.run(write())


def _raw(path: Path, key: str, report: Report) -> None:
    import numpy as np

    keys = (path / "keys").read_text().split("\n")
    matrix: Any = np.memmap(path / "vectors", np.float32, "r").reshape(len(keys), -1)
    rows = {key: row for row, key in enumerate(keys)}
    report(matrix[rows[key]].copy(), len(rows))


def _sqlite(path: Path, key: str, report: Report) -> None:
    import sqlite3

    connection = sqlite3.connect(path)
    query = "SELECT vector FROM knowledge WHERE key = ?"
    (vector,) = connection.execute(query, (key,)).fetchone()
    (count,) = connection.execute("SELECT count(*) FROM knowledge").fetchone()
    report(vector, count)
    connection.close()


def _lmdb(path: Path, key: str, report: Report) -> None:
    import lmdb

    with lmdb.open(str(path), readonly=True) as environment, environment.begin() as transaction:
        report(transaction.get(key.encode()), transaction.stat()["entries"])


STORES = {
    "penin": _penin,
    "kill": _kill_while_writing,
    "raw": _raw,
    "sqlite3": _sqlite,
    "lmdb": _lmdb,
}


def main(store: str, path: Path, key: str, started_s: float) -> None:
    """Print the seconds since `started_s` of the monotonic clock, and the memory resident then."""

    def report(vector: object, count: int) -> None:
        seconds = time.monotonic() - started_s
        assert vector is not None, f"{store}: {key} is not there"
        print_figures({"seconds": seconds, "resident": resident_bytes(), "count": count})

    STORES[store](path, key, report)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3], float(sys.argv[4]))
