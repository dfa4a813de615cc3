"""Durable acknowledgements a second with 1,000 senders: whether they depend on the size.

In each round the least size and this one take turns, and a bare file stands beside them.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
from pathlib import Path

from penin.runtime.interpreter import interpreter_of_a_service
from tests.benchmarks.measure import throughput
from tests.benchmarks.peers.bare_file import BareFile
from tests.benchmarks.peers.penin_store import PeninTasks, PeninVectors
from tests.benchmarks.peers.runner import StoreRunner
from tests.benchmarks.sizes.cost import Check, Cost, Measured, added, divided
from tests.benchmarks.sizes.data import Replacements
from tests.benchmarks.sizes.process import print_figures, run_child
from tests.benchmarks.sizes.workspace import Workspace
from tests.benchmarks.workload import Tasks

WORKLOADS = ("vectors", "tasks")
MORE_ROUNDS = 3
"""So many times as many rounds as of other costs: what is compared differs by less than the noise
of one."""
FLOOR = "floor"


def _runner(workload: str, store: str, size: int) -> StoreRunner:
    if workload == "vectors":
        vectors = Replacements(size)
        return BareFile(vectors.payload) if store == FLOOR else PeninVectors(vectors)
    tasks = Tasks()
    return BareFile(tasks.payload) if store == FLOOR else PeninTasks(tasks)


async def _acknowledged(
    runner: StoreRunner, directory: Path, senders: int, warm_up_s: float, measured_s: float
) -> dict[str, float]:
    await runner.open(directory)
    try:
        found = await throughput(
            runner, senders=senders, warm_up_s=warm_up_s, measured_s=measured_s
        )
    finally:
        await runner.close()
    return {"a second": found}


def _round(workspace: Workspace, workload: str, store: str) -> float:
    plan = workspace.plan
    options = workspace.size, plan.senders, plan.warm_up_s, plan.measured_s
    module = "tests.benchmarks.sizes.messages"
    if store == FLOOR:
        directory = workspace.directory / FLOOR
        directory.mkdir()
        found = run_child(module, workload, store, directory, *options)
        shutil.rmtree(directory)
    else:
        with workspace.store_copy() as directory:
            found = run_child(module, workload, store, directory, *options)
    return found["a second"]


def measure(workspace: Workspace) -> Measured:
    """Up to three processes for each workload in every round, sizes in turn."""
    figures: dict[str, list[float]] = {}
    checks: dict[str, list[float]] = {}
    for workload in WORKLOADS:
        least = f"{workload}, least size"
        floor = f"{workload}, {FLOOR}"
        for _ in range(MORE_ROUNDS * workspace.plan.rounds):
            added(figures, {floor: _round(workspace, workload, FLOOR)})
            if workspace is not workspace.base:
                added(figures, {least: _round(workspace.base, workload, "penin")})
            added(figures, {f"{workload}, penin": _round(workspace, workload, "penin")})
        if least in figures:
            ratio = divided(figures, f"{workload}, penin", least)
            checks[f"{workload}, this size / least size"] = ratio
        checks[f"{workload}, penin / floor"] = divided(figures, f"{workload}, penin", floor)
    return Measured(figures, checks)


COST = Cost(
    name="messages",
    title="durable acknowledgements a second, 1,000 senders",
    unit="messages/s",
    checks=tuple(
        check
        for workload in WORKLOADS
        for check in (
            Check(f"{workload}, this size / least size", at_least=0.9),
            Check(f"{workload}, penin / floor"),
        )
    ),
    measure=measure,
)

if __name__ == "__main__":
    _, workload, store, directory, size, senders, warm_up_s, measured_s = sys.argv
    with interpreter_of_a_service():
        print_figures(
            asyncio.run(
                _acknowledged(
                    _runner(workload, store, int(size)),
                    Path(directory),
                    int(senders),
                    float(warm_up_s),
                    float(measured_s),
                )
            )
        )
