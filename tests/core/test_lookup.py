"""Finding things by name, and names that are nearly right."""

from __future__ import annotations

import numpy as np
import pytest

from penin.core import NumericVectorArtifact, OmegaMetaOrchestrator
from penin.core.lookup import kinds_of, near_names
from penin.core.state import State


@pytest.fixture
def state() -> State:
    orchestrator = OmegaMetaOrchestrator()
    for key in ("champion", "best", "Paris"):
        orchestrator.add_knowledge(key, NumericVectorArtifact([1.0]))
    orchestrator.put_document("best", 1)
    orchestrator.append_history("best", 1)
    orchestrator.put_document("budget", 1)
    return orchestrator._state


def test_a_name_may_be_of_several_kinds(state):
    assert kinds_of(state, "best") == ["artifact", "document", "history"]
    assert kinds_of(state, "champion") == ["artifact"]
    assert kinds_of(state, "score_history") == ["history"]
    assert kinds_of(state, "nothing") == []


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("hampion", "champion"),
        ("champions", "champion"),
        ("chempion", "champion"),
        ("champoin", "champion"),
        ("PARIS", "Paris"),
        ("budgte", "budget"),
        ("score-history", "score_history"),
    ],
)
def test_a_slip_leads_to_the_name_that_was_meant(state, wrong, right):
    assert near_names(state, wrong)[0] == right


@pytest.mark.parametrize("far", ["", "x", "zzzzzzzz"])
def test_what_is_like_nothing_has_no_near_name(state, far):
    assert near_names(state, far) == []


def test_very_many_keys_are_not_all_compared_letter_by_letter():
    orchestrator = OmegaMetaOrchestrator()
    keys = [f"text-{row}" for row in range(4_000)]
    orchestrator.extend_knowledge(keys, np.ones((len(keys), 1)))
    assert len(near_names(orchestrator._state, "text-99999")) == 3
