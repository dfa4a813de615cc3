"""What is in a state, in numbers: the same as counting it entry by entry."""

from __future__ import annotations

import math
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from penin.core import OmegaMetaOrchestrator
from penin.core.state import SCORE_HISTORY, State
from penin.core.summary import ScoreSummary, summary_of
from tests.core import strategies


def made(calls: list[strategies.Call]) -> State:
    orchestrator = OmegaMetaOrchestrator()
    for name, arguments, keywords in calls:
        getattr(orchestrator, name)(*arguments, **keywords)
    return orchestrator._state


@given(st.lists(strategies.calls(), max_size=12))
def test_it_is_what_counting_entry_by_entry_gives(calls):
    state = made(calls)
    summary = summary_of(state)
    counted: Counter[tuple[str, int]] = Counter()
    vector_bytes = key_bytes = metadata_bytes = 0
    for key, artifact, _ in state.knowledge_base.view().entries():
        _, numbers, metadata = artifact.parts
        counted[artifact.dtype.name, len(artifact)] += 1
        vector_bytes += len(numbers)
        key_bytes += len(key.encode())
        metadata_bytes += len(metadata)
    knowledge = summary.knowledge_base
    columns = {(each.dtype, each.dimension): each.artifacts for each in knowledge.columns}
    assert columns == counted
    assert knowledge.artifacts == len(state.knowledge_base)
    sums = (knowledge.vector_bytes, knowledge.key_bytes, knowledge.metadata_bytes)
    assert sums == (vector_bytes, key_bytes, metadata_bytes)
    assert {
        name: (each.size, each.maxlen, each.seq) for name, each in (summary.histories or {}).items()
    } == {
        name: (len(history), history.maxlen, state.history_seqs.get(name))
        for name, history in state.histories.items()
    }
    assert {name: each.seq for name, each in (summary.documents or {}).items()} == (
        state.document_seqs
    )


def scores_of(*scores: float) -> ScoreSummary | None:
    orchestrator = OmegaMetaOrchestrator()
    for score in scores:
        orchestrator.add_score(score)
    histories = summary_of(orchestrator._state).histories or {}
    return histories[SCORE_HISTORY].scores


def test_scores_have_their_smallest_mean_and_largest():
    assert scores_of(1.0, 0.5, 3.0) == ScoreSummary(0.5, 1.5, 3.0)
    assert scores_of() is None


def test_one_score_that_is_no_number_makes_all_of_them_none():
    found = scores_of(1.0, math.nan, 2.0)
    assert found is not None
    assert all(map(math.isnan, (found.min, found.mean, found.max)))


def test_what_a_damaged_file_has_for_scores_may_be_anything():
    state = State()
    state.set_history(SCORE_HISTORY, [1.0, "high"], None)
    histories = summary_of(state).histories or {}
    assert (histories[SCORE_HISTORY].size, histories[SCORE_HISTORY].scores) == (2, None)
