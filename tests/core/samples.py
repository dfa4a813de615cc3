"""A state with something of everything in it, and how a file becomes a state."""

from __future__ import annotations

from collections import deque
from pathlib import Path

import numpy as np

from penin.core import NumericVectorArtifact, OmegaMetaOrchestrator


def filled() -> OmegaMetaOrchestrator:
    """A state with something of everything in it."""
    orchestrator = OmegaMetaOrchestrator(history_maxlen=4)
    orchestrator.add_knowledge("double", NumericVectorArtifact([0.1, -0.0, 5e-324], {"a": [1]}))
    orchestrator.add_knowledge("single", NumericVectorArtifact(np.array([0.1], dtype=np.float32)))
    orchestrator.add_knowledge("ints", NumericVectorArtifact([1, 2**53 + 1]))
    orchestrator.add_knowledge("wide", NumericVectorArtifact(np.array([2**64 - 1], np.uint64)))
    orchestrator.add_task({"big": 2**200, "nan": float("nan"), "nested": {"text": "ä\n\0"}})
    orchestrator.add_task({"deque": deque([NumericVectorArtifact([1.0, 2.0, 3.0])], maxlen=3)})
    orchestrator.extend_scores([0.1, float("inf"), float("-inf"), float("nan")])
    orchestrator.append_history("losses", {"deep": [deque([1])]})
    orchestrator.put_document("rng", {"state": 2**4096 - 1, "array": [1.5, float("inf")]})
    orchestrator.put_document("none", None)
    return orchestrator


def loaded(path: Path) -> OmegaMetaOrchestrator:
    """The state of a file that must load."""
    orchestrator = OmegaMetaOrchestrator()
    assert orchestrator.load_state(path) is True
    return orchestrator
