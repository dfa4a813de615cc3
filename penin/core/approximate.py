"""Recall by an index: most of the nearest, found without looking at every vector.

`VectorIndex` is a graph (HNSW, of the library usearch, the extra `penin[index]`) over the vectors
of one dimension, for one metric. It is a cache and never the truth: what it gives are *candidates*,
each a key and the seq of its change. A candidate counts only while the key still has that seq; its
score is computed from the artifact; and what changed after the seq that the index covers is
searched exactly (`nearest_with`). So removed keys are never found and new ones always, and all that
an index can do is miss some.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from penin.core.knowledge import KnowledgeView
from penin.core.nearest import (
    Metric,
    Neighbour,
    Query,
    fits,
    merits_of,
    nearest,
    nearest_after,
    norms_of,
)
from penin.core.segments import Block, Segment
from penin.errors import UsageError

CONNECTIVITY: Final = 32
EXPANSION_ADD: Final = 64
EXPANSION_SEARCH: Final = 256
"""How widely the graph is searched when it is built and when it is asked."""
NUMBERS: Final = "bf16"
"""What the graph keeps a number as: the range of float32 in 2 bytes; it only leads the search."""
BATCH_ROWS: Final = 64
"""So many rows are added while nobody can search: for about 10 ms."""
CANDIDATES_PER_RESULT: Final = 4
"""So many candidates are asked for, since some were removed and some do not fit `where`."""
_LARGEST: Final = 1e15
"""Numbers beyond this are cut to it, so that no square overflows float32."""
_METRICS: Final[dict[Metric, str]] = {"cosine": "cos", "dot": "ip", "euclidean": "l2sq"}

Candidate = tuple[str, int]
"""A key and the seq of the change that gave it the vector that was indexed."""
Place = tuple[Segment, int]
"""The segment and row of a candidate that counts."""


class Rows(msgspec.Struct):
    """Which row of the knowledge base each number of a graph stands for: its key and its seq.

    Columns of bytes: a million rows take about 30 MB, and Python objects would take 200.
    """

    text: bytearray
    ends: array[int]
    seqs: array[int]

    def add(self, keys: Sequence[bytes], seqs: NDArray[np.int64]) -> None:
        """Add the next rows."""
        for key in keys:
            self.text += key
            self.ends.append(len(self.text))
        self.seqs.frombytes(seqs.tobytes())

    def candidate(self, number: int) -> Candidate:
        """Key and seq of one."""
        start = self.ends[number - 1] if number else 0
        return self.text[start : self.ends[number]].decode(), self.seqs[number]


class VectorIndex:
    """A graph over the vectors of one dimension. Raises UsageError where usearch is missing.

    `seq` is what it covers: every row that was live at that seq is in it; 0 for nothing. One that
    `is_mapped` into memory from a file cannot be extended. Nothing here is safe to call while
    another thread changes it: the owner has a lock (`extend` takes it).
    """

    def __init__(self, dimension: int, metric: Metric) -> None:
        self.dimension = dimension
        self.metric = metric
        self.seq = 0
        self.is_mapped = False
        self.rows = Rows(bytearray(), array("Q"), array("q"))
        self.graph = new_graph(dimension, metric)

    def __len__(self) -> int:
        """How many rows are in it, also those that were removed or replaced since."""
        return len(self.rows.seqs)

    def extend(
        self, view: KnowledgeView, seq: int, lock: Any, is_stopping: Callable[[], bool]
    ) -> bool:
        """Add what changed up to `seq`, at which `view` was taken; False if it was told to stop.

        Takes `lock` for each batch. Stopped, it covers what it did before; what was added already
        does no harm, and is added again next time.
        """
        assert not self.is_mapped
        for block in view.blocks():
            if block.dimension != self.dimension:
                continue
            rows = np.flatnonzero(block.live & (block.seqs > self.seq))
            for start in range(0, len(rows), BATCH_ROWS):
                if is_stopping():
                    return False
                self._add(block, rows[start : start + BATCH_ROWS], lock)
        with lock:
            self.seq = seq
        return True

    def _add(self, block: Block, rows: NDArray[np.int64], lock: Any) -> None:
        vectors = block.matrix[rows]
        keys = [block.key(row).encode() for row in rows.tolist()]
        seqs = block.seqs[rows]
        numbers = np.arange(len(self), len(self) + len(rows))
        indexable = _indexable(vectors, self.metric)
        with lock:
            self.rows.add(keys, seqs)
            # One thread: the others are for the event loop and for whoever computes.
            self.graph.add(numbers, indexable, threads=1)

    def candidates(self, query: Query) -> tuple[list[Candidate], bool]:
        """The best candidates, best first, and whether they are all that there are."""
        vector = _indexable(query.vector[np.newaxis], self.metric)[0]
        count = min(len(self), CANDIDATES_PER_RESULT * query.k)
        matches = self.graph.search(vector, count, threads=1)
        # A row is there twice where adding it was stopped and began again.
        found = dict.fromkeys(self.rows.candidate(number) for number in matches.keys.tolist())
        # Of many equal vectors, or zeros, the graph does not reach all.
        return [each for each in found if each[1] <= self.seq], len(matches) == len(self)


def new_graph(dimension: int, metric: Metric) -> Any:
    """An empty graph; raises UsageError where usearch is not installed."""
    try:
        from usearch.index import Index  # noqa: PLC0415  # an extra
    except ImportError as error:
        raise UsageError(
            "approximate recall needs usearch, which is not installed: pip install 'penin[index]'"
        ) from error
    return Index(
        ndim=dimension,
        metric=_METRICS[metric],
        dtype=NUMBERS,
        connectivity=CONNECTIVITY,
        expansion_add=EXPANSION_ADD,
        expansion_search=EXPANSION_SEARCH,
        enable_key_lookups=False,
    )


def _indexable(matrix: NDArray[Any], metric: Metric) -> NDArray[np.float32]:
    """The rows as float32 of which no square overflows; of length 1 for the cosine."""
    if metric == "cosine":
        with np.errstate(all="ignore"):
            norms = norms_of(matrix)[:, np.newaxis]
            matrix = np.where(norms > 0, matrix / norms, 0.0)
    cut: NDArray[np.float32] = np.clip(matrix, -_LARGEST, _LARGEST).astype(np.float32)
    return cut


def nearest_with(
    view: KnowledgeView, query: Query, seq: int, places: Sequence[Place], *, are_all: bool
) -> tuple[list[Neighbour], int]:
    """The nearest of `places`, and of what changed after `seq`; and how much that is.

    `places` are the candidates of an index that covers `seq`, as far as they count in `view`, and
    `are_all` whether it has no others. Where too few of them fit `where`, everything is searched.
    """
    if query.where:
        places = [each for each in places if fits(each[0].metadata(each[1]), query.where)]
    if len(places) < query.k and not are_all:
        return nearest(view, query), 0
    found, newer_count = nearest_after(view, query, seq)
    if places:
        artifacts = [segment.artifact(row) for segment, row in places]
        vectors = np.stack([artifact.array.astype(np.float64) for artifact in artifacts])
        merits = merits_of(vectors, np.arange(len(places)), query)
        scores = (-merits if query.metric == "euclidean" else merits) + 0.0
        for (segment, row), artifact, score in zip(places, artifacts, scores.tolist(), strict=True):
            found.append(Neighbour(segment.key(row).decode(), score, artifact))
    found.sort(key=lambda each: each.score, reverse=query.metric != "euclidean")
    return found[: query.k], newer_count
