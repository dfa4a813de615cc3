"""What a cost is: what is measured at each size, in which unit, and what is to be reached."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from tests.benchmarks.report import Target
from tests.benchmarks.sizes.workspace import Workspace

SIZE_OF_TARGETS: Final = 1_000_000

Rounds = dict[str, list[float]]
"""Values by name, one a round."""


@dataclass(frozen=True)
class Check(Target):
    """A value of a cost that has a target, or is printed for comparison only."""

    name: str


@dataclass(frozen=True)
class Measured:
    """What came of measuring a cost at one size; each list has one value a round.

    `figures` are in the unit of the cost and are plotted, ours and those beside; `checks` are by
    the name of the `Check`; `notes` say what was left out.
    """

    figures: Rounds
    checks: Rounds
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Cost:
    """One cost. It is measured up to `size_max`, and its targets are for `target_size`."""

    name: str
    title: str
    unit: str
    checks: Sequence[Check]
    measure: Callable[[Workspace], Measured]
    size_max: int | None = None
    target_size: int = SIZE_OF_TARGETS


def divided(figures: Mapping[str, Sequence[float]], ours: str, beside: str) -> list[float]:
    """The ratio of two figures, round by round."""
    return [one / two for one, two in zip(figures[ours], figures[beside], strict=True)]


def added(rounds: Rounds, values: Mapping[str, float]) -> None:
    """Add one round to the others."""
    for name, value in values.items():
        rounds.setdefault(name, []).append(value)
