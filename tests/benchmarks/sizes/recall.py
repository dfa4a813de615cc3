"""A child: how long the nearest take, exact and by the index, and what the index misses.

Clustered vectors are in the mapped snapshot of a store that is opened; random ones are loaded into
a store of their own. Queries are further vectors of the same kind.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
from pathlib import Path
from time import perf_counter
from typing import Any, Final

import numpy as np

import penin
from penin import EmbeddedOrchestrator, Settings
from penin.runtime.index_files import IndexKind
from penin.runtime.indexer import NEWER_MIN
from penin.runtime.interpreter import interpreter_of_a_service
from tests.benchmarks.sizes.data import (
    Matrix,
    clustered_blocks,
    key,
    keys,
    metadata_of,
    random_blocks,
    read_matrix,
)
from tests.benchmarks.sizes.process import print_figures
from tests.benchmarks.workload import DIMENSIONS, Vector

NEAREST: Final = 10
TURNS: Final = 3
POLL_S: Final = 0.05
AGREEMENT_MIN: Final = 0.99
"""Of exact recall with the product, whose float32 scores are not those of float64."""
_QUERY_SEED: Final = 20240301

Timed = tuple[float, set[str]]


def _by_product(matrix: Matrix, query: Vector) -> Timed:
    start = perf_counter()
    scores = matrix @ query
    count = min(NEAREST, len(scores))
    best = np.argpartition(-scores, count - 1)[:count]
    seconds = perf_counter() - start
    return seconds, set(map(key, best.tolist()))


async def _by_store(orchestrator: EmbeddedOrchestrator, query: Vector, **options: Any) -> Timed:
    start = perf_counter()
    found = await orchestrator.nearest(query, k=NEAREST, **options)
    return perf_counter() - start, {neighbour.key for neighbour in found}


async def _index(orchestrator: EmbeddedOrchestrator, query: Vector) -> float:
    """Ask for an index, and wait until it is there; how many seconds that took. None of a few."""
    start = perf_counter()
    await _by_store(orchestrator, query, approximate=True)
    if len(orchestrator.view.knowledge_base) > NEWER_MIN:
        indexes = orchestrator._indexer._indexes  # nobody else waits for it
        while IndexKind("cosine", DIMENSIONS) not in indexes:  # noqa: ASYNC110  # nobody tells
            await asyncio.sleep(POLL_S)
    return perf_counter() - start


async def _compare(
    orchestrator: EmbeddedOrchestrator, queries: Matrix, matrix: Matrix, *, is_indexed: bool
) -> dict[str, float]:
    """Medians over the queries, of which each way takes all before the next has its turn.

    Query by query they would disturb each other: the product's threads spin on for a while, and a
    pass over everything empties the caches.
    """
    await _by_store(orchestrator, queries[0])  # reads the blocks
    index_s = await _index(orchestrator, queries[0]) if is_indexed else 0.0
    product: list[Timed] = []
    exact: list[Timed] = []
    approximate: list[Timed] = []
    for _ in range(TURNS):
        product += [_by_product(matrix, query) for query in queries]
        exact += [await _by_store(orchestrator, query) for query in queries]
        if is_indexed:
            approximate += [
                await _by_store(orchestrator, query, approximate=True) for query in queries
            ]
    if _recall(exact, product) < AGREEMENT_MIN:
        raise RuntimeError("the exact nearest are not those of the product")
    medians = {"exact": _median_s(exact), "product": _median_s(product)}
    if not is_indexed:
        return medians
    return medians | {
        "approximate": _median_s(approximate),
        "recall": _recall(approximate, exact),
        "index_s": index_s,
    }


def _median_s(timed: list[Timed]) -> float:
    return statistics.median(seconds for seconds, _ in timed)


def _recall(timed: list[Timed], beside: list[Timed]) -> float:
    """The share of the keys beside that were found, query by query."""
    pairs = zip(timed, beside, strict=True)
    return statistics.mean(len(found & wanted) / len(wanted) for (_, found), (_, wanted) in pairs)


def _unit(matrix: Matrix) -> Matrix:
    matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
    return matrix


async def _clustered(
    directory: Path, vectors: Path, count: int, *, is_indexed: bool
) -> dict[str, float]:
    queries = np.concatenate(list(clustered_blocks(count, _QUERY_SEED)))
    with interpreter_of_a_service():
        async with penin.open(directory / "store") as orchestrator:
            matrix = _unit(read_matrix(vectors))
            return await _compare(orchestrator, queries, matrix, is_indexed=is_indexed)


async def _random(directory: Path, size: int, count: int) -> dict[str, float]:
    matrix = np.concatenate(list(random_blocks(size)))
    queries = np.concatenate(list(random_blocks(count, _QUERY_SEED)))
    settings = Settings(format="safetensors")
    with interpreter_of_a_service():
        async with penin.open(directory / "random", settings=settings) as orchestrator:
            await orchestrator.extend_knowledge(keys(0, size), matrix, metadata_of(0, size))
            return await _compare(orchestrator, queries, _unit(matrix), is_indexed=True)


if __name__ == "__main__":
    _, kind, directory, source, count = sys.argv
    if kind == "random":
        found = _random(Path(directory), int(source), int(count))
    else:
        is_indexed = kind == "clustered"
        found = _clustered(Path(directory), Path(source), int(count), is_indexed=is_indexed)
    print_figures(asyncio.run(found))
