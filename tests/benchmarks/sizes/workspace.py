"""The files of one size: raw vectors, and a store that holds them, each made once and copied."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from time import perf_counter
from typing import Final

from tests.benchmarks.machine import warm_page_cache
from tests.benchmarks.sizes.data import VECTOR_BYTES, clustered_blocks
from tests.benchmarks.sizes.process import run_child

WRITE_BYTES: Final = 2**20
LONG_FROM: Final = 100_000
"""From this size on there is one round where a round loads everything."""


@dataclass(frozen=True)
class Plan:
    """How much is measured. More takes longer and is steadier."""

    rounds: int
    senders: int
    warm_up_s: float
    measured_s: float
    ticker_s: float
    queries: int


FULL: Final = Plan(rounds=3, senders=1000, warm_up_s=0.3, measured_s=1.0, ticker_s=3.0, queries=100)
QUICK: Final = Plan(rounds=3, senders=1000, warm_up_s=0.1, measured_s=0.5, ticker_s=1.0, queries=20)


class Workspace:
    """What there is of one size, in a directory of its own. `base` is that of the least size."""

    def __init__(
        self, directory: Path, size: int, plan: Plan, base: Workspace | None = None
    ) -> None:
        self.directory = directory
        self.size = size
        self.plan = plan
        self.base = self if base is None else base
        directory.mkdir()

    @property
    def vectors_bytes(self) -> int:
        """The size of all vectors."""
        return self.size * VECTOR_BYTES

    @property
    def load_rounds(self) -> int:
        """How many rounds there are where a round loads everything."""
        return 1 if self.size >= LONG_FROM else self.plan.rounds

    @cached_property
    def vectors(self) -> Path:
        """A raw file of the vectors, made once."""
        path = self.directory / "vectors.f32"
        with path.open("wb", buffering=0) as file:
            for block in clustered_blocks(self.size):
                file.write(block.data)
        warm_page_cache(self.directory, 2 * self.vectors_bytes // 2**20)
        return path

    @cached_property
    def loads(self) -> list[dict[str, float]]:
        """What `load` measured in each round. The store of the last one stays, for the others."""
        module, found = "tests.benchmarks.sizes.load", []
        for _ in range(self.load_rounds):
            shutil.rmtree(self._store, ignore_errors=True)
            found.append(run_child(module, self._store, self.vectors))
        return found

    @property
    def _store(self) -> Path:
        return self.directory / "store"

    @contextmanager
    def store_copy(self) -> Iterator[Path]:
        """A directory with a copy of the store in `store`, gone afterwards.

        Of what is never written in place it has hard links, which is all but the newest file of
        the journal.
        """
        assert self.loads
        directory = self.directory / "copy"
        newest = max((self._store / "journal").iterdir())
        for path in self._store.rglob("*"):
            if path.is_file():
                target = directory / "store" / path.relative_to(self._store)
                target.parent.mkdir(parents=True, exist_ok=True)
                if path == newest or path.name == "lock":
                    shutil.copy2(path, target)
                else:
                    target.hardlink_to(path)
        try:
            yield directory
        finally:
            shutil.rmtree(directory)

    def remove(self) -> None:
        """Remove all of it."""
        shutil.rmtree(self.directory)


def raw_write_s(path: Path, data: Iterable[memoryview]) -> float:
    """How long it takes to write `data` to a new file and sync it. The file is removed again."""
    os.sync()  # what others left to be written would be measured as well
    start = perf_counter()
    with path.open("wb", buffering=0) as file:
        for block in data:
            file.write(block)
        os.fsync(file.fileno())
    seconds = perf_counter() - start
    path.unlink()
    return seconds


def pieces(data: memoryview) -> Iterator[memoryview]:
    """`data` (of bytes) in pieces of 1 MiB."""
    return (data[start : start + WRITE_BYTES] for start in range(0, len(data), WRITE_BYTES))
