"""A child: a whole matrix loaded into a new store until durable, then its first snapshot.

Both beside raw writes of the same bytes, before and after. A million vectors are loaded once, so
`bulk` and `snapshot` read their figures here, and the store stays for all other costs.
"""

from __future__ import annotations

import asyncio
import mmap
import os
import statistics
import sys
from pathlib import Path
from time import perf_counter

import penin
from penin import Settings
from penin.runtime.interpreter import interpreter_of_a_service
from tests.benchmarks.sizes.data import keys, metadata_of, read_matrix
from tests.benchmarks.sizes.process import print_figures
from tests.benchmarks.sizes.workspace import pieces, raw_write_s

SNAPSHOT = "state.safetensors"
COPIES = 2
"""Raw writes of the snapshot; a disk is not always as fast as a moment ago."""


async def _load(store: Path, vectors: Path) -> dict[str, float]:
    matrix = read_matrix(vectors)
    names, objects = keys(0, len(matrix)), metadata_of(0, len(matrix))
    beside = store.with_name("raw")
    data = matrix.data.cast("B")
    raw_before_s = raw_write_s(beside, pieces(data))
    with interpreter_of_a_service():
        async with penin.open(store, settings=Settings(format="safetensors")) as orchestrator:
            os.sync()
            start = perf_counter()
            await orchestrator.extend_knowledge(names, matrix, objects)
            load_s = perf_counter() - start
            raw_after_s = raw_write_s(beside, pieces(data))
            os.sync()
            start = perf_counter()
            await orchestrator.checkpoint()
            snapshot_s = perf_counter() - start
    snapshot = store / SNAPSHOT
    copies_s = [raw_copy_s(snapshot, beside) for _ in range(COPIES)]
    return {
        "load_s": load_s,
        "raw_vectors_s": (raw_before_s + raw_after_s) / 2,
        "snapshot_s": snapshot_s,
        "raw_snapshot_s": statistics.mean(copies_s),
        "snapshot_bytes": snapshot.stat().st_size,
    }


def raw_copy_s(source: Path, beside: Path) -> float:
    """How long it takes to write the bytes of a file that is in the page cache raw, and sync."""
    with (
        source.open("rb") as file,
        mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped,
        memoryview(mapped) as data,
    ):
        # Touch the pages of the mapping: a write from memory has them.
        assert sum(data[:: mmap.PAGESIZE]) > 0
        return raw_write_s(beside, pieces(data))


if __name__ == "__main__":
    print_figures(asyncio.run(_load(Path(sys.argv[1]), Path(sys.argv[2]))))
