"""The ten nearest, exact, beside one matrix product with argpartition.

They are found over vectors in the mapped snapshot, whose blocks were all read before; the product
runs over the same numbers in memory, scaled to length 1 beforehand.
"""

from __future__ import annotations

from tests.benchmarks.sizes.cost import Check, Cost, Measured
from tests.benchmarks.sizes.process import run_child
from tests.benchmarks.sizes.recall import NEAREST
from tests.benchmarks.sizes.workspace import Workspace


def measure(workspace: Workspace) -> Measured:
    """In a child."""
    module, count = "tests.benchmarks.sizes.recall", workspace.plan.queries
    with workspace.store_copy() as directory:
        found = run_child(module, "exact", directory, workspace.vectors, count)
    figures = {
        "penin, exact": [found["exact"] * 1e3],
        "product and argpartition": [found["product"] * 1e3],
    }
    checks = {"exact / product and argpartition": [found["exact"] / found["product"]]}
    return Measured(figures, checks)


COST = Cost(
    name="nearest",
    title=f"the {NEAREST} nearest by cosine, ms",
    unit="ms",
    checks=(Check("exact / product and argpartition", at_most=1.5),),
    measure=measure,
)
