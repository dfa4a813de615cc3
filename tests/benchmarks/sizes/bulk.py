"""Bulk load: a whole matrix until it is durable, beside a raw write of it with fsync."""

from __future__ import annotations

from tests.benchmarks.sizes.cost import Check, Cost, Measured, added, divided
from tests.benchmarks.sizes.workspace import Workspace


def measure(workspace: Workspace) -> Measured:
    """Read off the load that made the store."""
    figures: dict[str, list[float]] = {}
    megabytes = workspace.vectors_bytes / 1e6
    for load in workspace.loads:
        added(
            figures,
            {"penin": megabytes / load["load_s"], "raw write": megabytes / load["raw_vectors_s"]},
        )
    return Measured(figures, {"penin / raw write": divided(figures, "penin", "raw write")})


COST = Cost(
    name="bulk",
    title="extend_knowledge of a matrix until durable, MB of vectors a second",
    unit="MB/s",
    checks=(Check("penin / raw write", at_least=0.5),),
    measure=measure,
)
