"""A memory to be migrated, and letting functions do it."""

from __future__ import annotations

from typing import Any

import pytest

from penin.core import NumericVectorArtifact, OmegaMetaOrchestrator
from penin.core.migration import Draft, Outcome, Schema, migrated
from penin.core.snapshots import Envelope, encode_snapshot
from penin.core.state import State

PLACE = "/store"


def filled() -> OmegaMetaOrchestrator:
    memory = OmegaMetaOrchestrator(history_maxlen=4)
    memory.add_knowledge("a", NumericVectorArtifact([0.5, 1.5], {"run": 7}))
    memory.add_knowledge("b", NumericVectorArtifact([1, 2], {"run": 8}))
    memory.add_knowledge("c", NumericVectorArtifact([2.5, 3.5]))
    memory.add_task({"name": "first"})
    memory.add_task({"name": "second", "loss": float("nan")})
    memory.extend_scores([0.5, float("inf")])
    memory.append_history("losses", {"x": 1})
    memory.put_document("offset", 10)
    memory.put_document("big", 2**80)
    return memory


def run(memory: OmegaMetaOrchestrator, *migrations: Any, first: int = 0) -> Outcome:
    """Let the functions run from the version `first` on, and put what they made into the state."""
    steps = dict(enumerate(migrations, first))
    memory._state.schema_version = first
    outcome = migrated(memory._state, Schema(first + len(steps), steps), PLACE)
    assert outcome is not None
    seq = memory.seq + 1
    outcome.put_into(memory._state, seq)
    memory._state.seq = seq
    return outcome


def snapshot(state: State) -> bytes:
    return b"".join(encode_snapshot(state.view(), Envelope()))


def nothing(draft: Draft) -> None:
    """Changes nothing."""


def not_run(_draft: Draft) -> None:
    pytest.fail("it ran")
