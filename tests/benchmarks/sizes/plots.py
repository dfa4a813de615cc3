"""One PNG for each cost: every figure against the size, both axes logarithmic."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from pathlib import Path

from tests.benchmarks.sizes.cost import Cost, Measured

OURS = ("penin", "save_state", "load_state", "checkpoint")
"""What the names of our own figures contain; they are drawn as solid lines."""


def plot(cost: Cost, by_size: Mapping[int, Measured], directory: Path) -> Path:
    """Draw `<name>.png`, replacing what is there; its path."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    sizes = sorted(by_size)
    figure = Figure(figsize=(8, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for name in by_size[sizes[-1]].figures:
        points = [
            (size, statistics.median(by_size[size].figures[name]))
            for size in sizes
            if name in by_size[size].figures
        ]
        is_ours = any(word in name for word in OURS)
        axes.loglog(
            [size for size, _ in points],
            [value for _, value in points],
            marker="o",
            linewidth=2.5 if is_ours else 1.2,
            linestyle="-" if is_ours else "--",
            label=name,
        )
    axes.set_title(f"{cost.name}: {cost.title}", fontsize=10)
    axes.set_xlabel("vectors")
    axes.set_ylabel(cost.unit)
    axes.grid(visible=True, which="both", alpha=0.2)
    axes.legend(fontsize=8)
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{cost.name}.png"
    figure.savefig(path, dpi=120)
    return path
