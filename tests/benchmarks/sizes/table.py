"""A cost as a table: a line for each figure and each check, a column for each size."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping

from tests.benchmarks.sizes.cost import Check, Cost, Measured

_SHORT_FROM = 100


def lines(cost: Cost, by_size: Mapping[int, Measured]) -> Iterator[str]:
    """The table of what was measured at each size, at one at least; medians of the rounds."""
    sizes = sorted(by_size)
    yield f"{cost.name}: {cost.title}"
    yield _line("vectors", [f"{size:,}" for size in sizes])
    for name in by_size[sizes[-1]].figures:
        values = [by_size[size].figures.get(name) for size in sizes]
        yield _line(name, [_number(rounds) for rounds in values])
    for check in cost.checks:
        found = {size: by_size[size].checks.get(check.name) for size in sizes}
        if any(found.values()):
            line = _line(check.name, [_number(found[size]) for size in sizes])
            yield f"{line}   {_verdict(cost, check, found)}".rstrip()
    for size in sizes:
        for note in by_size[size].notes:
            yield f"  NOTE at {size:,}: {note}"


def is_reached(cost: Cost, check: Check, found: Mapping[int, list[float] | None]) -> bool | None:
    """Whether the target is reached; None where there is none or its size was not measured."""
    rounds = found.get(cost.target_size)
    return check.is_reached(statistics.median(rounds)) if rounds else None


def _verdict(cost: Cost, check: Check, found: Mapping[int, list[float] | None]) -> str:
    if not check.target:
        return ""
    reached = is_reached(cost, check, found)
    said = "not measured" if reached is None else "reached" if reached else "MISSED"
    return f"{check.target} at {cost.target_size:,}  {said}"


def _line(name: str, cells: list[str]) -> str:
    return f"  {name:<38}" + "".join(f"{cell:>12}" for cell in cells)


def _number(rounds: list[float] | None) -> str:
    if not rounds:
        return "-"
    value = statistics.median(rounds)
    return f"{value:,.0f}" if abs(value) >= _SHORT_FROM else f"{value:.3g}"
