"""The workload by size: keys, vectors and metadata, generated in blocks from a fixed seed.

Vectors are 384 float32. The clustered ones, which every cost uses, are of 1,000 Gaussian clusters:
the centres are standard normal in all dimensions, and a vector is one of them, chosen at random,
with normal noise of deviation 0.3 in all dimensions. The random ones are standard normal in all
dimensions: there the nearest is hardly nearer than any other.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tests.benchmarks.workload import DIMENSIONS, Vector, Vectors, encode

Matrix = NDArray[np.float32]

BLOCK_ROWS: Final = 4096
VECTOR_BYTES: Final = DIMENSIONS * 4
CLUSTERS: Final = 1000
NOISE: Final = np.float32(0.3)
_SEED: Final = 20240229
_DRAWS: Final = 100_003


def key(row: int) -> str:
    """The key of one vector."""
    return f"candidate-{row:07}"


def keys(start: int, stop: int) -> list[str]:
    """The keys of these rows."""
    return [key(row) for row in range(start, stop)]


def metadata(row: int) -> dict[str, Any]:
    """The metadata of one vector: a small object."""
    return {"source": "digits", "generation": row % 100}


def metadata_of(start: int, stop: int) -> list[dict[str, Any]]:
    """The metadata of these rows."""
    return [metadata(row) for row in range(start, stop)]


def clustered_blocks(size: int, seed: int = _SEED) -> Iterator[Matrix]:
    """`size` clustered vectors; another seed gives others of the same clusters."""
    centres = np.concatenate(list(random_blocks(CLUSTERS)))
    generator = np.random.default_rng((_SEED, seed))
    for start in range(0, size, BLOCK_ROWS):
        rows = min(BLOCK_ROWS, size - start)
        noise = generator.standard_normal((rows, DIMENSIONS), dtype=np.float32)
        yield centres[generator.integers(CLUSTERS, size=rows)] + NOISE * noise


def random_blocks(size: int, seed: int = _SEED) -> Iterator[Matrix]:
    """`size` vectors without any structure."""
    generator = np.random.default_rng(seed)
    for start in range(0, size, BLOCK_ROWS):
        rows = min(BLOCK_ROWS, size - start)
        yield generator.standard_normal((rows, DIMENSIONS), dtype=np.float32)


def read_matrix(path: Path) -> Matrix:
    """All vectors of a raw file."""
    return np.fromfile(path, np.float32).reshape(-1, DIMENSIONS)


def read_blocks(path: Path) -> Iterator[tuple[int, Matrix]]:
    """The vectors of a raw file, block by block, each with its first row."""
    start = 0
    with path.open("rb", buffering=0) as file:
        while data := file.read(BLOCK_ROWS * VECTOR_BYTES):
            block = np.frombuffer(data, np.float32).reshape(-1, DIMENSIONS)
            yield start, block
            start += len(block)


class Replacements(Vectors):
    """Messages that replace vectors under existing keys, drawn at random out of `size`."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self._keys = [key(row) for row in random.Random(_SEED).choices(range(size), k=_DRAWS)]

    def entry(self, number: int) -> tuple[str, Vector, dict[str, Any]]:
        """A key that is there already, a new vector, and metadata."""
        _, vector, objects = super().entry(number)
        return self._keys[number % _DRAWS], vector, objects


def encoded_metadata(row: int) -> bytes:
    """The metadata of one vector as JSON, for peers that keep bytes."""
    return encode(metadata(row))
