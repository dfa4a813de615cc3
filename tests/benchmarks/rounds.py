"""Rounds: every store once, in turn, in a directory of its own; then all of them again.

The machine is noisy, and its noise lasts longer than a round. So stores are compared within a
round, and what is reported is the median of those ratios and not the ratio of two medians.
"""

from __future__ import annotations

import asyncio
import gc
import shutil
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from penin.runtime.interpreter import interpreter_of_a_service
from tests.benchmarks.machine import warm_page_cache
from tests.benchmarks.measure import Latency, latency, throughput, write_and_sync_latency
from tests.benchmarks.peers import STORES, StoreRunner
from tests.benchmarks.workload import Workload

Figure = TypeVar("Figure")

ALONE: Final = "write+fdatasync"
"""What the latency of one sender is compared with; not a store."""


@dataclass(frozen=True)
class Plan:
    """How much is measured. More takes longer and is steadier."""

    rounds: int
    senders: int
    warm_up_s: float
    measured_s: float
    latency_messages: int
    page_cache_mebibytes: int


FULL: Final = Plan(
    rounds=5,
    senders=1000,
    warm_up_s=0.3,
    measured_s=1.5,
    latency_messages=2000,
    page_cache_mebibytes=768,
)
QUICK: Final = Plan(
    rounds=3,
    senders=1000,
    warm_up_s=0.1,
    measured_s=0.4,
    latency_messages=300,
    page_cache_mebibytes=256,
)


@contextmanager
def _fresh(directory: Path, name: str) -> Iterator[Path]:
    """An empty directory that is gone afterwards, with no garbage of the one before."""
    path = directory / name
    path.mkdir()
    gc.collect()
    try:
        yield path
    finally:
        shutil.rmtree(path)


async def _measure(
    runner: StoreRunner, path: Path, measure: Callable[[StoreRunner], Awaitable[Figure]]
) -> Figure:
    await runner.open(path)
    try:
        return await measure(runner)
    finally:
        await runner.close()


def throughput_rounds(
    plan: Plan, workload: Workload, stores: Sequence[str], directory: Path
) -> dict[str, list[float]]:
    """Acknowledged messages a second of each store in each round."""

    def measure(runner: StoreRunner) -> Awaitable[float]:
        return throughput(
            runner,
            senders=plan.senders,
            warm_up_s=plan.warm_up_s,
            measured_s=plan.measured_s,
        )

    figures: dict[str, list[float]] = {store: [] for store in stores}
    for _ in range(plan.rounds):
        for store in stores:
            warm_page_cache(directory, plan.page_cache_mebibytes)
            with _fresh(directory, store) as path:
                runner = STORES[store].runner(workload)
                # For every store alike; else the passes over the senders are measured as well.
                with interpreter_of_a_service():
                    figures[store].append(asyncio.run(_measure(runner, path, measure)))
    return figures


def latency_rounds(
    plan: Plan, workload: Workload, stores: Sequence[str], directory: Path
) -> dict[str, list[Latency]]:
    """The latency of one sender in each store in each round, and under `ALONE` that of the disk."""

    def measure(runner: StoreRunner) -> Awaitable[Latency]:
        return latency(runner, messages=plan.latency_messages)

    figures: dict[str, list[Latency]] = {name: [] for name in (ALONE, *stores)}
    for _ in range(plan.rounds):
        with _fresh(directory, "alone") as path:
            figures[ALONE].append(
                write_and_sync_latency(path, workload.payload, messages=plan.latency_messages)
            )
        for store in stores:
            with _fresh(directory, store) as path:
                runner = STORES[store].runner(workload)
                figures[store].append(asyncio.run(_measure(runner, path, measure)))
    return figures
