"""The ten nearest by the index, beside the exact ones.

They are found among clustered vectors (`tests.benchmarks.sizes.data`) and, up to `RANDOM_MAX`,
random ones, by an index that covers them all. Recall is the share of the exact ones that the
approximate ones have. Building the index of a million takes about twenty minutes.
"""

from __future__ import annotations

from typing import Final

from tests.benchmarks.sizes.cost import Check, Cost, Measured
from tests.benchmarks.sizes.process import run_child
from tests.benchmarks.sizes.recall import NEAREST
from tests.benchmarks.sizes.workspace import Workspace

RANDOM_MAX: Final = 100_000
"""More random vectors are not indexed: that takes many minutes, and shows the same."""


def measure(workspace: Workspace) -> Measured:
    """In one child each for clustered and random vectors."""
    module, count = "tests.benchmarks.sizes.recall", workspace.plan.queries
    with workspace.store_copy() as directory:
        found = run_child(module, "clustered", directory, workspace.vectors, count)
        figures = {
            "penin, exact": [found["exact"] * 1e3],
            "penin, approximate": [found["approximate"] * 1e3],
        }
        checks = {
            "exact / approximate, clustered": [found["exact"] / found["approximate"]],
            "recall, clustered": [found["recall"]],
            "index built, clustered, s": [found["index_s"]],
        }
        if workspace.size > RANDOM_MAX:
            note = f"random vectors are indexed up to {RANDOM_MAX:,} only"
            return Measured(figures, checks, [note])
        found = run_child(module, "random", directory, workspace.size, count)
    checks["exact / approximate, random"] = [found["exact"] / found["approximate"]]
    checks["recall, random"] = [found["recall"]]
    return Measured(figures, checks)


COST = Cost(
    name="approximate",
    title=f"the {NEAREST} nearest by cosine, with an index, ms",
    unit="ms",
    checks=(
        Check("exact / approximate, clustered", at_least=20),
        Check("recall, clustered", at_least=0.95),
        Check("index built, clustered, s"),
        Check("exact / approximate, random"),
        Check("recall, random"),
    ),
    measure=measure,
)
