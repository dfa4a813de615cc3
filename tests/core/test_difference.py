"""What differs between two states, against the slow and obvious way to tell."""

from __future__ import annotations

import math
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penin.core import NumericVectorArtifact, OmegaMetaOrchestrator
from penin.core.difference import BoundDifference, Difference, difference, overlap
from penin.core.formats import encode_state
from penin.core.snapshot_reader import read_snapshot
from penin.core.snapshots import Envelope
from penin.core.state import State
from penin.core.tensors_reader import read_tensors
from tests.core import strategies
from tests.core.samples import filled
from tests.core.strategies import Call, exactly_equal

some_calls = st.lists(strategies.calls(), max_size=12)


def run(state: State, calls: list[Call]) -> State:
    orchestrator = OmegaMetaOrchestrator.from_state(state)
    for name, arguments, keywords in calls:
        getattr(orchestrator, name)(*arguments, **keywords)
    return orchestrator._state


def from_json(state: State) -> State:
    data = b"".join(encode_state(state.view(), Envelope(), ".json"))
    return read_snapshot([data], Path("state.json"))[0]


def from_tensors(state: State) -> State:
    data = b"".join(encode_state(state.view(), Envelope(), ".safetensors"))
    return read_tensors(memoryview(data), Path("state.safetensors"))[0]


def same(left: Any, right: Any) -> bool:
    """Exactly equal, and members of dictionaries in the same order."""
    return exactly_equal(left, right) and repr(left) == repr(right)


def named(before: Any, after: Any) -> tuple[set[str], set[str], set[str]]:
    """The names of what is added, changed and removed, one by one."""
    both = set(before) & set(after)
    changed = {name for name in both if not same(before[name], after[name])}
    return set(after) - both, changed, set(before) - both


@given(some_calls)
def test_a_state_does_not_differ_from_itself_in_whatever_format(calls):
    state = run(State(), calls)
    for other in (state, from_json(state), from_tensors(state)):
        assert difference(state, other).is_empty
        assert difference(other, state).is_empty


@pytest.mark.parametrize("copied", [from_json, from_tensors])
@given(before=some_calls, then=some_calls)
def test_what_calls_change_is_named_and_nothing_else(copied, before, then):
    first = copied(run(State(), before))
    second = run(copied(first), then)
    found = difference(first, second)
    for part, old, new in (
        (found.knowledge_base, first.knowledge_base, second.knowledge_base),
        (found.documents, first.documents, second.documents),
    ):
        names = (part.added, part.changed, part.removed)
        assert tuple(map(set, names)) == named(old, new)
        assert len(set().union(*names)) == sum(map(len, names)), "each name stands once"
    added, changed, removed = named(first.histories, second.histories)
    assert set(found.histories) == added | changed | removed
    assert {name for name, each in found.histories.items() if each.change == "added"} == added
    assert (found.history_maxlen is None) == (first.history_maxlen == second.history_maxlen)
    assert_mirrored(found, difference(second, first))


def assert_mirrored(found: Difference, back: Difference) -> None:
    for part, other in (
        (found.knowledge_base, back.knowledge_base),
        (found.documents, back.documents),
    ):
        assert set(part.added) == set(other.removed)
        assert set(part.changed) == set(other.changed)
        assert set(part.removed) == set(other.added)
    assert found.is_empty == back.is_empty


@given(st.lists(st.sampled_from([b"a", b"b"]), max_size=12), st.data())
def test_the_overlap_is_the_longest_end_that_is_a_beginning(first, data):
    size = len(first)
    second = data.draw(st.lists(st.sampled_from([b"a", b"b"]), min_size=size, max_size=size))
    longest = max(n for n in range(size + 1) if first[size - n :] == second[:n])
    assert overlap(first, second) == longest


@given(
    st.lists(strategies.floats(), max_size=8),
    st.lists(strategies.floats(), max_size=8),
    st.integers(1, 6),
)
def test_of_a_history_dropped_and_appended_items_lead_from_one_to_the_other(old, new, maxlen):
    before, after = State(maxlen), State(maxlen)
    before.set_history("score_history", old, maxlen)
    after.set_history("score_history", [*deque(old, maxlen), *new], maxlen)
    found = difference(before, after).histories.get("score_history")
    first, second = (list(state.score_history) for state in (before, after))
    if found is None:
        assert same(first, second)
        return
    assert same(first[found.dropped :], second[: len(second) - found.appended])
    assert found.appended <= len(new)


def changed_by(name: str, *arguments: Any) -> Difference:
    first = filled()
    second = OmegaMetaOrchestrator.from_state(from_json(first._state))
    getattr(second, name)(*arguments)
    return difference(first._state, second._state)


@pytest.mark.parametrize(
    "vector",
    [
        [0.1, 0.0, 5e-324],
        [0.1, -0.0],
        np.array([0.1, -0.0, 0.0], np.float32),
    ],
)
def test_the_sign_of_a_zero_the_dimension_and_the_dtype_count(vector):
    artifact = NumericVectorArtifact(vector, {"a": [1]})
    assert changed_by("add_knowledge", "double", artifact).knowledge_base.changed == ["double"]


@pytest.mark.parametrize("metadata", [{"a": [1.0]}, {"a": [True]}, {}, {"a": [1], "b": None}])
def test_metadata_counts_down_to_the_type(metadata):
    artifact = NumericVectorArtifact([0.1, -0.0, 5e-324], metadata)
    assert changed_by("add_knowledge", "double", artifact).knowledge_base.changed == ["double"]


def test_what_was_written_again_as_it_was_is_the_same():
    artifact = NumericVectorArtifact([0.1, -0.0, 5e-324], {"a": [1]})
    assert changed_by("add_knowledge", "double", artifact).is_empty
    rng = {"state": 2**4096 - 1, "array": [1.5, math.inf]}
    assert changed_by("put_document", "rng", rng).is_empty


def test_another_bound_is_a_difference_also_of_what_is_made_later():
    found = changed_by("set_history_maxlen", 7)
    assert found.history_maxlen == BoundDifference(4, 7)
    assert set(found.histories) == {"task_history", "score_history", "losses"}
    losses = found.histories["losses"]
    assert (losses.maxlen_before, losses.maxlen_after) == (4, 7)
    assert (losses.appended, losses.dropped) == (0, 0)
