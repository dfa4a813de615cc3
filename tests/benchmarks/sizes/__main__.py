"""`python -m tests.benchmarks.sizes`: each cost against the number of vectors held.

A vector is 384 float32 with a small metadata object. Every figure is measured beside its floor or
peer, in the same run. Printed are medians of the rounds; targets are for one million.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from time import perf_counter
from typing import Any, Final

from tests.benchmarks.machine import LOAD_MAX, VOLATILE, describe, file_system, load
from tests.benchmarks.sizes import (
    approximate,
    bulk,
    checkpoint,
    json_files,
    memory,
    messages,
    nearest,
    plots,
    recovery,
    snapshot,
    table,
)
from tests.benchmarks.sizes.cost import Cost, Measured
from tests.benchmarks.sizes.workspace import FULL, QUICK, Plan, Workspace

SIZES: Final = (1000, 10_000, 100_000, 1_000_000)
QUICK_SIZES: Final = SIZES[:-1]
COSTS: Final[dict[str, Cost]] = {
    module.COST.name: module.COST
    for module in (
        checkpoint,
        snapshot,
        recovery,
        memory,
        bulk,
        nearest,
        approximate,
        json_files,
        messages,
    )
}

Found = dict[str, dict[int, Measured]]


def _size(text: str) -> int:
    size = int(text)
    if size < 1:
        raise argparse.ArgumentTypeError("less than one vector")
    return size


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.sizes", description=__doc__)
    parser.add_argument(
        "--sizes", nargs="+", type=_size, metavar="N", help="these numbers of vectors only"
    )
    parser.add_argument(
        "--only",
        nargs="+",
        choices=COSTS,
        default=list(COSTS),
        metavar="COST",
        help=f"these costs only: {', '.join(COSTS)}",
    )
    parser.add_argument("--quick", action="store_true", help="shorter, and up to 100,000 only")
    parser.add_argument(
        "--dir",
        type=Path,
        default=Path("build"),
        help="where the stores are made, and removed again (default: build)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    parser.add_argument("--plots", type=Path, metavar="DIR", help="draw a PNG of each cost there")
    return parser.parse_args(arguments)


def _measure(sizes: Sequence[int], costs: Sequence[Cost], plan: Plan, directory: Path) -> Found:
    """Every cost at every size; a size is removed before the next, but for the least."""
    found: Found = {cost.name: {} for cost in costs}
    base: Workspace | None = None
    for size in sizes:
        workspace = Workspace(directory / str(size), size, plan, base)
        base = base or workspace
        for cost in costs:
            if cost.size_max is None or size <= cost.size_max:
                start = perf_counter()
                found[cost.name][size] = cost.measure(workspace)
                seconds = perf_counter() - start
                print(f"{cost.name} at {size:,}: {seconds:.1f} s", file=sys.stderr, flush=True)
        if workspace is not base:
            workspace.remove()
    return found


def _as_json(cost: Cost, by_size: dict[int, Measured]) -> dict[str, Any]:
    checks = {check.name: check for check in cost.checks}
    return {
        "unit": cost.unit,
        "sizes": {str(size): asdict(measured) for size, measured in by_size.items()},
        "targets": {
            name: {
                "target": check.target,
                "at": cost.target_size,
                "reached": table.is_reached(
                    cost, check, {size: each.checks.get(name) for size, each in by_size.items()}
                ),
            }
            for name, check in checks.items()
        },
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures, prints, and leaves nothing behind but the files that were asked for."""
    chosen = _arguments(arguments)
    plan = QUICK if chosen.quick else FULL
    sizes = sorted(set(chosen.sizes or (QUICK_SIZES if chosen.quick else SIZES)))
    costs = [COSTS[name] for name in chosen.only]
    chosen.dir.mkdir(parents=True, exist_ok=True)
    machine = describe(chosen.dir)
    print(", ".join(f"{name.replace('_', ' ')}: {value}" for name, value in machine.items()))
    if file_system(chosen.dir) in VOLATILE:
        print("NOTE: this is a file system in memory; nothing here is durable. Choose a --dir.")
    if load() > LOAD_MAX:
        print("NOTE: this machine is busy; the figures are of little use.")
    with tempfile.TemporaryDirectory(prefix="sizes-", dir=chosen.dir.resolve()) as name:
        found = _measure(sizes, costs, plan, Path(name))
    for cost in costs:
        if by_size := found[cost.name]:
            print("", *table.lines(cost, by_size), sep="\n")
            if chosen.plots is not None:
                print(f"  {plots.plot(cost, by_size, chosen.plots)}")
    if chosen.json is not None:
        parts = {cost.name: _as_json(cost, found[cost.name]) for cost in costs}
        result = {"machine": machine, "plan": asdict(plan), "costs": parts}
        chosen.json.parent.mkdir(parents=True, exist_ok=True)
        chosen.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
