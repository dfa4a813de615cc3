"""Knowledge bases as tables and back, as import and export do it, without a store."""

from __future__ import annotations

import numpy as np

from penin.core import NumericVectorArtifact, OmegaMetaOrchestrator
from penin.ingress.tables.opening import open_table
from penin.ingress.tables.selection import Selection
from penin.ingress.tables.table import check_table
from penin.ingress.tables.writing import write_table

SUFFIXES = (".npy", ".npz", ".safetensors", ".jsonl", ".parquet")
NO_FILES = (None, None)


def beside(path):
    """The files for keys and metadata that a table needs beside it, if any."""
    if path.suffix != ".npy":
        return NO_FILES
    return path.with_suffix(".keys.jsonl"), path.with_suffix(".metadata.jsonl")


def written(path, knowledge_base, files=None, **choice):
    """The table of a knowledge base, written and opened again."""
    keys, metadata = beside(path) if files is None else files
    write_table(path, Selection(knowledge_base, **choice), keys, metadata)
    return open_table(path, keys, metadata)


def imported(table, first=0):
    """The knowledge base that comes of a table's rows."""
    check_table(table, lambda _: None)
    orchestrator = OmegaMetaOrchestrator()
    for rows in table.read_rows(first):
        orchestrator.extend_knowledge(rows.keys, rows.matrix, rows.metadata)
    return dict(orchestrator.knowledge_base)


def base(count=5, dtype="float32", dimension=3, *, with_metadata=True):
    """`count` artifacts under k0, k1, ..."""
    return {
        f"k{row}": NumericVectorArtifact(
            np.arange(row, row + dimension).astype(dtype), {"row": row} if with_metadata else None
        )
        for row in range(count)
    }
