"""Recovery: from the start of a process, after a kill, to the first lookup and the count.

Beside it: a process that maps a raw file of the vectors and fills a dict with the keys, sqlite3 and
LMDB on the same data. Everything is in the page cache.
"""

from __future__ import annotations

import shutil
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Final

import lmdb

from tests.benchmarks.peers.sqlite import KNOWLEDGE, PRAGMAS
from tests.benchmarks.sizes.cost import Check, Cost, Measured, added, divided
from tests.benchmarks.sizes.data import encoded_metadata, key, keys, read_blocks
from tests.benchmarks.sizes.process import run_child
from tests.benchmarks.sizes.workspace import Workspace

LMDB_BYTES_PER_BYTE: Final = 4
LMDB_BYTES_LEAST: Final = 2**26


def _make_raw(path: Path, workspace: Workspace) -> None:
    path.mkdir()
    (path / "vectors").hardlink_to(workspace.vectors)
    (path / "keys").write_text("\n".join(keys(0, workspace.size)))


def _make_sqlite(path: Path, workspace: Workspace) -> None:
    with closing(sqlite3.connect(path)) as connection:
        for pragma in PRAGMAS:
            connection.execute(pragma)
        connection.execute(KNOWLEDGE.create)
        for start, block in read_blocks(workspace.vectors):
            rows = [
                (key(row), vector.tobytes(), encoded_metadata(row))
                for row, vector in enumerate(block, start)
            ]
            with connection:
                connection.executemany(KNOWLEDGE.insert, rows)


def _make_lmdb(path: Path, workspace: Workspace) -> None:
    size = LMDB_BYTES_LEAST + LMDB_BYTES_PER_BYTE * workspace.vectors_bytes
    with lmdb.open(str(path), map_size=size) as environment:
        for start, block in read_blocks(workspace.vectors):
            with environment.begin(write=True) as transaction:
                for row, vector in enumerate(block, start):
                    value = vector.tobytes() + encoded_metadata(row)
                    transaction.put(key(row).encode(), value)


def _cold(store: str, path: Path, workspace: Workspace) -> dict[str, float]:
    wanted = key(workspace.size // 2)
    found = run_child("tests.benchmarks.sizes.cold", store, path, wanted, time.monotonic())
    if store != "kill" and found["count"] != workspace.size:
        raise RuntimeError(f"{store} has {found['count']} of {workspace.size} vectors")
    return found


def measure(workspace: Workspace) -> Measured:
    """Each store in turn, in every round; a round before them warms what is read."""
    peers = workspace.directory / "peers"
    peers.mkdir()
    figures: dict[str, list[float]] = {}
    resident: dict[str, list[float]] = {}
    with workspace.store_copy() as directory:
        paths = {"penin": directory / "store"}
        makers = {"raw": _make_raw, "sqlite3": _make_sqlite, "lmdb": _make_lmdb}
        for store, make in makers.items():
            paths[store] = peers / store
            make(paths[store], workspace)
        _cold("kill", paths["penin"], workspace)
        for number in range(workspace.plan.rounds + 1):
            for store, path in paths.items():
                found = _cold(store, path, workspace)
                if number:
                    added(figures, {store: found["seconds"]})
                    share = found["resident"] / workspace.vectors_bytes
                    added(resident, {f"{store}, resident / vectors": share})
    shutil.rmtree(peers)
    ratios = {f"penin / {peer}": divided(figures, "penin", peer) for peer in makers}
    return Measured(figures, ratios | resident)


COST = Cost(
    name="recovery",
    title="from the start of a process after kill -9 to a lookup and the count, s",
    unit="s",
    checks=(
        Check("penin / raw", at_most=1.5),
        Check("penin / sqlite3"),
        Check("penin / lmdb"),
        Check("penin, resident / vectors", at_most=1 / 3),
        Check("raw, resident / vectors"),
    ),
    measure=measure,
)
