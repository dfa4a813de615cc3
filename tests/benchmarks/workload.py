"""What is sent: small tasks, and vectors with a little metadata. The same for every store.

`task` and `entry` give what a user has in hand: a fresh dict, a key and an array. Turning it into
bytes is each store's own work, and is measured. `payload` is for the floor alone: bytes that were
prepared beforehand.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

KEYS: Final = 10_000
"""Vectors have keys out of this many: a knowledge base that is changed more than it grows."""

DIMENSIONS: Final = 384
"""Of a vector: what small models for sentence embeddings give."""

HISTORY_MAXLEN: Final = 1000
"""Tasks that are kept in memory: the bound of a new state, and of the peers' deques."""

_DRAWS: Final = 100_003
"""Keys are drawn this often before the draws repeat; prime, so that senders do not fall in step."""

encode: Final[Callable[[object], bytes]] = msgspec.json.Encoder().encode
"""JSON bytes, by the fastest encoder there is, made once."""

Vector = NDArray[np.float32]


class Tasks:
    """Messages that record one small task."""

    def __init__(self) -> None:
        self._payload = encode(self.task(0)) + b"\n"

    def task(self, number: int) -> dict[str, Any]:
        """A new dict in each call; all are equal."""
        return {"name": "evaluate", "n": 17, "score": 0.25}

    def payload(self, number: int) -> bytes:
        """The task as a line of JSON, prepared beforehand."""
        return self._payload


class Vectors:
    """Messages that set one key of the knowledge base to a vector.

    The first `KEYS` messages bring every key once; then keys are drawn at random, with a fixed
    seed: nobody changes a knowledge base in the order in which it was filled, and a store of pages
    would be flattered by neighbours that change together.
    """

    def __init__(self) -> None:
        generator = np.random.default_rng(20240229)
        matrix = generator.standard_normal((KEYS, DIMENSIONS), dtype=np.float32)
        self._metadata = {"source": "digits", "generation": 12}
        metadata = encode(self._metadata)
        self._entries = [(f"candidate-{row:05}", vector) for row, vector in enumerate(matrix)]
        self._payloads = [
            b"%b %b %b\n" % (key.encode(), metadata, vector.tobytes())
            for key, vector in self._entries
        ]
        self._draws = random.Random(20240229).choices(range(KEYS), k=_DRAWS)

    def _row(self, number: int) -> int:
        return number if number < KEYS else self._draws[number % _DRAWS]

    def entry(self, number: int) -> tuple[str, Vector, dict[str, Any]]:
        """Key, vector and metadata. The metadata is a new dict in each call."""
        key, vector = self._entries[self._row(number)]
        return key, vector, self._metadata.copy()

    def payload(self, number: int) -> bytes:
        """Key, metadata and the bytes of the vector, prepared beforehand."""
        return self._payloads[self._row(number)]


Workload = Tasks | Vectors
