"""What a checkpoint does to the event loop and to memory, while 1,000 messages a second flow.

The store was opened again, so its vectors are in the mapped snapshot: the checkpoint reads, checks
and writes all of them. Beside it: the same messages without a checkpoint.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from time import perf_counter
from typing import Final

import penin
from penin import EmbeddedOrchestrator, NumericVectorArtifact
from penin.runtime.interpreter import interpreter_of_a_service
from tests.benchmarks.sizes.cost import Check, Cost, Measured
from tests.benchmarks.sizes.data import Replacements
from tests.benchmarks.sizes.process import (
    peak_resident_bytes,
    print_figures,
    reset_peak,
    resident_bytes,
    run_child,
)
from tests.benchmarks.sizes.workspace import Workspace

TICK_S: Final = 0.001
MESSAGE_EVERY_S: Final = 0.001
PAUSE_S: Final = 0.01
"""Between two checkpoints of a small state, so that there is something new in the second."""


async def _tick(delays: list[float]) -> None:
    """Sleep for 1 ms, over and over; by how much each sleep was longer."""
    while True:
        start = perf_counter()
        await asyncio.sleep(TICK_S)
        delays.append(perf_counter() - start - TICK_S)


async def _flow(orchestrator: EmbeddedOrchestrator, replacements: Replacements) -> None:
    """Send 1,000 messages a second, whether or not the earlier ones are answered."""
    loop = asyncio.get_running_loop()
    due, number = loop.time(), 0
    async with asyncio.TaskGroup() as group:
        while True:
            key, vector, metadata = replacements.entry(number)
            artifact = NumericVectorArtifact(vector, metadata)
            group.create_task(orchestrator.add_knowledge(key, artifact))
            number += 1
            due += MESSAGE_EVERY_S
            await asyncio.sleep(max(0.0, due - loop.time()))


async def _beside(work: Callable[[], Awaitable[object]]) -> tuple[float, float, float]:
    """p99 and worst delay of the ticker, in ms, and extra memory, in MB, while `work` runs."""
    before = resident_bytes()
    reset_peak()
    delays: list[float] = []
    ticker = asyncio.create_task(_tick(delays))
    await work()
    ticker.cancel()
    await asyncio.wait([ticker])
    delays.sort()
    extra = max(0, peak_resident_bytes() - before)
    return delays[len(delays) * 99 // 100] * 1e3, delays[-1] * 1e3, extra / 1e6


async def _measure(directory: Path, size: int, ticker_s: float) -> dict[str, float]:
    loop = asyncio.get_running_loop()

    async def checkpoints() -> None:
        end = loop.time() + ticker_s
        while True:
            await orchestrator.checkpoint()
            if loop.time() >= end:
                return
            await asyncio.sleep(PAUSE_S)

    with interpreter_of_a_service():
        async with penin.open(directory / "store") as orchestrator:
            flow = asyncio.create_task(_flow(orchestrator, Replacements(size)))
            await asyncio.sleep(ticker_s / 2)
            alone = await _beside(lambda: asyncio.sleep(ticker_s))
            ours = await _beside(checkpoints)
            flow.cancel()
            await asyncio.wait([flow])
    names = "p99", "worst", "memory"
    return {
        **dict(zip(names, ours, strict=True)),
        **{f"{name} alone": value for name, value in zip(names, alone, strict=True)},
    }


def measure(workspace: Workspace) -> Measured:
    """In one child; a large state needs one checkpoint only, a small one many."""
    with workspace.store_copy() as directory:
        found = run_child(
            "tests.benchmarks.sizes.checkpoint",
            directory,
            workspace.size,
            workspace.plan.ticker_s,
        )
    figures = {
        "p99, checkpoint": [found["p99"]],
        "worst, checkpoint": [found["worst"]],
        "p99, none": [found["p99 alone"]],
        "worst, none": [found["worst alone"]],
    }
    checks = {
        "p99 delay, ms": [found["p99"]],
        "worst delay, ms": [found["worst"]],
        "extra memory, MB": [found["memory"]],
        "extra memory without a checkpoint, MB": [found["memory alone"]],
    }
    return Measured(figures, checks)


COST = Cost(
    name="checkpoint",
    title="delay of a 1 ms ticker on the event loop, 1,000 messages a second, ms",
    unit="ms",
    checks=(
        Check("p99 delay, ms", at_most=3),
        Check("worst delay, ms", at_most=20),
        Check("extra memory, MB", at_most=100),
        Check("extra memory without a checkpoint, MB"),
    ),
    measure=measure,
)

if __name__ == "__main__":
    _, directory, size, ticker_s = sys.argv
    print_figures(asyncio.run(_measure(Path(directory), int(size), float(ticker_s))))
