"""From figures to ratios, and how both are printed."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from tests.benchmarks.measure import Latency
from tests.benchmarks.rounds import ALONE


@dataclass(frozen=True, kw_only=True)
class Target:
    """What a value should reach, if anything."""

    at_least: float | None = None
    at_most: float | None = None

    @property
    def target(self) -> str:
        """The target in words; empty where the value is only of interest."""
        if self.at_least is not None:
            return f"target >= {self.at_least:.3g}"
        return "" if self.at_most is None else f"target <= {self.at_most:.3g}"

    def is_reached(self, value: float) -> bool | None:
        """Whether `value` reaches the target; None where there is none."""
        if self.at_least is not None:
            return value >= self.at_least
        return None if self.at_most is None else value <= self.at_most


@dataclass(frozen=True)
class Comparison(Target):
    """One store beside another, and what the ratio of their figures should be, if anything."""

    store: str
    beside: str


THROUGHPUT: Final[Mapping[str, Sequence[Comparison]]] = {
    "tasks": (
        Comparison("penin", "floor", at_least=0.5),
        Comparison("penin", "sqlite-group", at_least=1.5),
        Comparison("penin", "sqlite-group-swap"),
        Comparison("penin-logged", "aiosqlite", at_least=20),
        Comparison("penin-logged", "aiosqlite-auto"),
        Comparison("penin-logged", "penin"),
    ),
    "vectors": (
        Comparison("penin", "floor", at_least=0.25),
        Comparison("penin", "sqlite-group", at_least=1.0),
        Comparison("penin", "sqlite-group-swap"),
        Comparison("penin-logged", "aiosqlite", at_least=12),
        Comparison("penin-logged", "aiosqlite-auto"),
        Comparison("penin-logged", "penin"),
    ),
}
"""Of acknowledged messages a second, for each workload."""

LATENCY: Final[Sequence[Comparison]] = (
    Comparison("penin", ALONE, at_most=1.5),
    Comparison("penin-logged", ALONE),
    Comparison("floor", ALONE),
    Comparison("sqlite-group", ALONE),
    Comparison("aiosqlite-auto", ALONE),
)
"""Of the medians of one sender's latency, for every workload."""


@dataclass(frozen=True)
class Spread:
    """A median with the least and the greatest of what it is the median of."""

    median: float
    least: float
    greatest: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """The spread of `values`, of which there is at least one."""
        return cls(statistics.median(values), min(values), max(values))


@dataclass(frozen=True)
class Ratio:
    """What came of a comparison: the spread of the ratios, each taken within one round."""

    comparison: Comparison
    spread: Spread

    def line(self) -> str:
        """The ratio for a person, in one line."""
        comparison, spread = self.comparison, self.spread
        reached = comparison.is_reached(spread.median)
        verdict = "" if reached is None else ("  reached" if reached else "  MISSED")
        return (
            f"  {f'{comparison.store} / {comparison.beside}':<34} {spread.median:8.2f}"
            f"   ({spread.least:.2f} to {spread.greatest:.2f})".ljust(68)
            + f"{comparison.target}{verdict}"
        ).rstrip()

    def as_json(self) -> dict[str, object]:
        """The ratio for a program."""
        return {
            "store": self.comparison.store,
            "beside": self.comparison.beside,
            "median": self.spread.median,
            "min": self.spread.least,
            "max": self.spread.greatest,
            "target": self.comparison.target,
            "reached": self.comparison.is_reached(self.spread.median),
        }


def ratios(
    comparisons: Sequence[Comparison], figures: Mapping[str, Sequence[float]]
) -> list[Ratio]:
    """The ratios that `figures` allow: round by round, of stores that were both measured."""
    return [
        Ratio(
            comparison,
            Spread.of(
                [
                    figure / beside
                    for figure, beside in zip(
                        figures[comparison.store], figures[comparison.beside], strict=True
                    )
                ]
            ),
        )
        for comparison in comparisons
        if comparison.store in figures and comparison.beside in figures
    ]


def throughput_lines(figures: Mapping[str, Sequence[float]]) -> Iterator[str]:
    """Messages a second of each store: the median over the rounds, and the extremes."""
    for store, values in figures.items():
        spread = Spread.of(values)
        extremes = f"({spread.least:,.0f} to {spread.greatest:,.0f})"
        yield f"  {store:<34} {spread.median:8,.0f}   {extremes}"


def latency_lines(figures: Mapping[str, Sequence[Latency]]) -> Iterator[str]:
    """Median and p99 of each store in milliseconds: the median over the rounds of both."""
    for store, values in figures.items():
        median_ms = statistics.median(value.median_s for value in values) * 1e3
        p99_ms = statistics.median(value.p99_s for value in values) * 1e3
        yield f"  {store:<34} {median_ms:8.3f} ms   p99 {p99_ms:.3f} ms"
