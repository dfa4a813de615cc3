"""`python -m tests.benchmarks`: what durability costs, here and elsewhere, as ratios.

Absolute figures are this machine's and this hour's. A ratio compares two stores within a round;
printed is the median over the rounds, with the least and the greatest.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

from tests.benchmarks.machine import (
    LOAD_MAX,
    VOLATILE,
    describe,
    file_system,
    load,
    warm_page_cache,
)
from tests.benchmarks.peers import STORES
from tests.benchmarks.report import (
    LATENCY,
    THROUGHPUT,
    Ratio,
    latency_lines,
    ratios,
    throughput_lines,
)
from tests.benchmarks.rounds import FULL, QUICK, Plan, latency_rounds, throughput_rounds
from tests.benchmarks.workload import Tasks, Vectors, Workload

PARTS: Final = ("tasks", "vectors", "one-sender-tasks", "one-sender-vectors")

Section = dict[str, object]


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="shorter and fewer rounds")
    parser.add_argument(
        "--only",
        nargs="+",
        choices=PARTS,
        default=PARTS,
        metavar="PART",
        help=f"these parts only: {', '.join(PARTS)}",
    )
    parser.add_argument(
        "--stores",
        nargs="+",
        choices=STORES,
        default=list(STORES),
        metavar="STORE",
        help=f"these stores only: {', '.join(STORES)}",
    )
    parser.add_argument(
        "--dir",
        type=Path,
        default=Path("build"),
        help="where the stores are made, and removed again (default: build)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    return parser.parse_args(arguments)


def _print_ratios(found: Sequence[Ratio]) -> list[dict[str, object]]:
    for ratio in found:
        print(ratio.line(), flush=True)
    return [ratio.as_json() for ratio in found]


def _throughput(
    plan: Plan, part: str, workload: Workload, stores: Sequence[str], directory: Path
) -> Section:
    print(f"\n{part}: durable acknowledged messages a second, {plan.senders:,} senders")
    figures = throughput_rounds(plan, workload, stores, directory)
    print(*throughput_lines(figures), sep="\n")
    return {"figures": figures, "ratios": _print_ratios(ratios(THROUGHPUT[part], figures))}


def _latency(
    plan: Plan, part: str, workload: Workload, stores: Sequence[str], directory: Path
) -> Section:
    print(f"\n{part}: latency of an acknowledgement, one sender")
    figures = latency_rounds(plan, workload, stores, directory)
    print(*latency_lines(figures), sep="\n")
    medians = {name: [value.median_s for value in values] for name, values in figures.items()}
    return {
        "figures": {
            name: [value._asdict() for value in values] for name, values in figures.items()
        },
        "ratios": _print_ratios(ratios(LATENCY, medians)),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures, prints, and leaves nothing behind but the JSON file that was asked for."""
    chosen = _arguments(arguments)
    plan = QUICK if chosen.quick else FULL
    chosen.dir.mkdir(parents=True, exist_ok=True)
    machine = describe(chosen.dir)
    print(", ".join(f"{name.replace('_', ' ')}: {value}" for name, value in machine.items()))
    print(f"{plan.rounds} rounds of {plan.measured_s:g} s; each ratio is the median of the rounds")
    for name in chosen.stores:
        print(f"  {name:<34} {STORES[name].about}")
    if file_system(chosen.dir) in VOLATILE:
        print("NOTE: this is a file system in memory; nothing here is durable. Choose a --dir.")
    if load() > LOAD_MAX:
        print("NOTE: this machine is busy; the figures are of little use.")
    workloads: dict[str, Workload] = {"tasks": Tasks(), "vectors": Vectors()}
    sections: dict[str, Section] = {}
    with tempfile.TemporaryDirectory(prefix="benchmarks-", dir=chosen.dir) as name:
        directory = Path(name)
        warm_page_cache(directory, 2 * plan.page_cache_mebibytes)
        for part in PARTS:
            if part in chosen.only:
                measure = _latency if part.startswith("one-sender") else _throughput
                workload = workloads[part.removeprefix("one-sender-")]
                sections[part] = measure(plan, part, workload, chosen.stores, directory)
    if chosen.json is not None:
        result = {"machine": machine, "plan": asdict(plan), "parts": sections}
        chosen.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
