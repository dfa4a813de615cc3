"""Memory after loading all vectors: resident, with the interpreter, beside the vectors' own size.

The floor is one matrix with a dict of the keys and a list of the metadata as bytes. The peer is
what a script would have: a dict of arrays with their metadata.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from penin import OmegaMetaOrchestrator
from tests.benchmarks.sizes.cost import Check, Cost, Measured, added
from tests.benchmarks.sizes.data import (
    VECTOR_BYTES,
    encoded_metadata,
    keys,
    metadata,
    metadata_of,
    read_blocks,
)
from tests.benchmarks.sizes.process import print_figures, resident_bytes, run_child
from tests.benchmarks.sizes.workspace import Workspace
from tests.benchmarks.workload import DIMENSIONS


def _penin(vectors: Path) -> object:
    orchestrator = OmegaMetaOrchestrator()
    for start, block in read_blocks(vectors):
        stop = start + len(block)
        orchestrator.extend_knowledge(keys(start, stop), block, metadata_of(start, stop))
    return orchestrator


def _matrix(vectors: Path) -> object:
    size = vectors.stat().st_size // VECTOR_BYTES
    matrix = np.empty((size, DIMENSIONS), np.float32)
    for start, block in read_blocks(vectors):
        matrix[start : start + len(block)] = block
    rows = {name: row for row, name in enumerate(keys(0, size))}
    return matrix, rows, [encoded_metadata(row) for row in range(size)]


def _arrays(vectors: Path) -> object:
    kept: dict[str, Any] = {}
    for start, block in read_blocks(vectors):
        for row, name in enumerate(keys(start, start + len(block)), start):
            kept[name] = block[row - start].copy(), metadata(row)
    return kept


LOADERS = {"penin": _penin, "matrix and dict": _matrix, "dict of arrays": _arrays}


def measure(workspace: Workspace) -> Measured:
    """Each in a process of its own."""
    figures: dict[str, list[float]] = {}
    checks: dict[str, list[float]] = {}
    for loader in LOADERS:
        found = run_child("tests.benchmarks.sizes.memory", loader, workspace.vectors)
        added(figures, {loader: found["resident"] / 1e6})
        added(checks, {f"{loader} / vectors": found["resident"] / workspace.vectors_bytes})
        grown = found["resident"] - found["before"]
        added(checks, {f"{loader}, growth / vectors": grown / workspace.vectors_bytes})
    return Measured(figures, checks)


COST = Cost(
    name="memory",
    title="resident after loading all vectors in memory, MB",
    unit="MB",
    checks=(
        Check("penin / vectors", at_most=1.3),
        Check("matrix and dict / vectors"),
        Check("dict of arrays / vectors"),
        Check("penin, growth / vectors"),
    ),
    measure=measure,
)

if __name__ == "__main__":
    before = resident_bytes()
    held = LOADERS[sys.argv[1]](Path(sys.argv[2]))
    print_figures({"before": before, "resident": resident_bytes()})
