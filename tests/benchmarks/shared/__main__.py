"""`python -m tests.benchmarks.shared`: acknowledged messages a second over the socket and Redis.

Both are measured in the same run, with as many connections and as many messages at once on each of
them, and with every acknowledged message synced to the same disk. The clients are in this process,
the server in one of its own. A ratio compares the two within a round; printed is the median over
the rounds, with the least and the greatest.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Final

from tests.benchmarks.machine import (
    LOAD_MAX,
    VOLATILE,
    describe,
    file_system,
    load,
    warm_page_cache,
)
from tests.benchmarks.report import Comparison, ratios, throughput_lines
from tests.benchmarks.shared.peers import REDIS, Peer, PeninPeer, RedisPeer, has_redis
from tests.benchmarks.workload import Tasks, Vectors, Workload

PEERS: Final[dict[str, Callable[[Workload], Peer]]] = {"penin": PeninPeer, "redis": RedisPeer}


@dataclass(frozen=True)
class Plan:
    """How much is measured. More takes longer and is steadier."""

    rounds: int
    connections: int
    at_once: int
    warm_up_s: float
    measured_s: float
    page_cache_mebibytes: int


FULL: Final = Plan(5, 50, 100, 0.5, 2.0, 512)
QUICK: Final = Plan(3, 50, 100, 0.2, 0.5, 128)


@dataclass(frozen=True)
class Part:
    """One measurement: a workload, with so many messages at once on each of so many connections."""

    workload: str
    connections: int
    at_once: int
    target: float | None

    @property
    def title(self) -> str:
        """What is measured, for a person."""
        connections = "1 connection" if self.connections == 1 else f"{self.connections} connections"
        at_once = "one message at a time" if self.at_once == 1 else f"{self.at_once} at once"
        return f"{self.workload}, {connections}, {at_once} on each"


def parts(plan: Plan) -> list[Part]:
    """What is measured: half of Redis with a pipeline, and more than it without."""
    many, at_once = plan.connections, plan.at_once
    return [
        part
        for workload in ("tasks", "vectors")
        for part in (
            Part(workload, many, at_once, 0.5),
            Part(workload, many, 1, 1.0),
            Part(workload, 1, at_once, None),
            Part(workload, 1, 1, None),
        )
    ]


async def measure(peer: Peer, plan: Plan, part: Part, directory: Path) -> float:
    """Acknowledged messages a second. Raises AssertionError where the server has not taken all."""
    await peer.open(directory, part.connections)
    sent = 0
    try:
        sent += await _send_for(plan.warm_up_s, peer, part, sent)
        begun_s = perf_counter()
        measured = await _send_for(plan.measured_s, peer, part, sent)
        seconds = perf_counter() - begun_s
        sent += measured
    finally:
        held = await peer.close()
    assert held == sent, f"{sent} messages were acknowledged, and {held} are there"
    return measured / seconds


async def _send_for(seconds: float, peer: Peer, part: Part, first: int) -> int:
    """Send over all connections until the time is over; how many messages were acknowledged."""
    end_s = perf_counter() + seconds
    step = part.connections * part.at_once

    async def send(connection: int) -> int:
        number = first + connection * part.at_once
        count = 0
        while True:
            await peer.send(connection, range(number, number + part.at_once))
            count += part.at_once
            number += step
            if perf_counter() >= end_s:
                return count

    async with asyncio.TaskGroup() as group:
        senders = [group.create_task(send(connection)) for connection in range(part.connections)]
    return sum(sender.result() for sender in senders)


def _rounds(plan: Plan, part: Part, workload: Workload, directory: Path) -> dict[str, list[float]]:
    figures: dict[str, list[float]] = {name: [] for name in PEERS}
    for _ in range(plan.rounds):
        for name, make in PEERS.items():
            warm_page_cache(directory, plan.page_cache_mebibytes)
            path = directory / name
            path.mkdir()
            gc.collect()
            figures[name].append(asyncio.run(measure(make(workload), plan, part, path)))
            shutil.rmtree(path)
    return figures


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures, prints, and leaves nothing behind but the JSON file that was asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.shared", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="shorter and fewer rounds")
    parser.add_argument("--dir", type=Path, default=Path("build"), help="where the stores are made")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    chosen = parser.parse_args(arguments)
    if not has_redis():
        print(f"{REDIS} is not installed (Debian: apt-get install redis-server): left out")
        return
    plan = QUICK if chosen.quick else FULL
    chosen.dir.mkdir(parents=True, exist_ok=True)
    machine = describe(chosen.dir)
    print(", ".join(f"{name.replace('_', ' ')}: {value}" for name, value in machine.items()))
    print(f"{plan.rounds} rounds of {plan.measured_s:g} s; each ratio is the median of the rounds")
    if file_system(chosen.dir) in VOLATILE:
        print("NOTE: this is a file system in memory; nothing here is durable. Choose a --dir.")
    if load() > LOAD_MAX:
        print("NOTE: this machine is busy; the figures are of little use.")
    workloads: dict[str, Workload] = {"tasks": Tasks(), "vectors": Vectors()}
    results = []
    with tempfile.TemporaryDirectory(prefix="shared-", dir=chosen.dir) as name:
        for part in parts(plan):
            print(f"\n{part.title}: durable acknowledged messages a second")
            figures = _rounds(plan, part, workloads[part.workload], Path(name))
            print(*throughput_lines(figures), sep="\n")
            (ratio,) = ratios([Comparison("penin", "redis", at_least=part.target)], figures)
            print(ratio.line(), flush=True)
            results.append({"part": asdict(part), "figures": figures, "ratio": ratio.as_json()})
    if chosen.json is not None:
        result = {"machine": machine, "plan": asdict(plan), "parts": results}
        chosen.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
