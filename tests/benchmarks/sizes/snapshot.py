"""The speed of writing a snapshot, beside a raw write of the same bytes with fsync.

Of vectors in memory, right after a load; and of vectors in the mapped snapshot before it, which are
checked on the way: a store that was opened again.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from time import perf_counter

import penin
from penin.runtime.interpreter import interpreter_of_a_service
from tests.benchmarks.sizes.cost import Check, Cost, Measured, added, divided
from tests.benchmarks.sizes.load import SNAPSHOT, raw_copy_s
from tests.benchmarks.sizes.process import print_figures, run_child
from tests.benchmarks.sizes.workspace import Workspace


async def _snapshot_again(directory: Path) -> dict[str, float]:
    store = directory / "store"
    before_s = raw_copy_s(store / SNAPSHOT, directory / "raw")
    with interpreter_of_a_service():
        async with penin.open(store) as orchestrator:
            await orchestrator.add_score(0.85)
            os.sync()
            start = perf_counter()
            await orchestrator.checkpoint()
            seconds = perf_counter() - start
    after_s = raw_copy_s(store / SNAPSHOT, directory / "raw")
    return {"mapped_s": seconds, "raw_s": (before_s + after_s) / 2}


def measure(workspace: Workspace) -> Measured:
    """The first snapshot is read off the load that made the store."""
    figures: dict[str, list[float]] = {}
    megabytes = workspace.loads[-1]["snapshot_bytes"] / 1e6
    for load in workspace.loads:
        added(figures, {"penin": megabytes / load["snapshot_s"]})
        added(figures, {"raw write": megabytes / load["raw_snapshot_s"]})
    for _ in range(workspace.plan.rounds):
        with workspace.store_copy() as directory:
            again = run_child("tests.benchmarks.sizes.snapshot", directory)
        added(figures, {"penin, mapped": megabytes / again["mapped_s"]})
        added(figures, {"raw write, mapped": megabytes / again["raw_s"]})
    checks = {
        "penin / raw write": divided(figures, "penin", "raw write"),
        "penin, mapped / raw write": divided(figures, "penin, mapped", "raw write, mapped"),
    }
    return Measured(figures, checks)


COST = Cost(
    name="snapshot",
    title="a checkpoint, MB of the snapshot a second",
    unit="MB/s",
    checks=(
        Check("penin / raw write", at_least=0.8),
        Check("penin, mapped / raw write", at_least=0.8),
    ),
    measure=measure,
)

if __name__ == "__main__":
    print_figures(asyncio.run(_snapshot_again(Path(sys.argv[1]))))
