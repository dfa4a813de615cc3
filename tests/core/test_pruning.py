"""Pruning a knowledge base, and removals with a condition, which it is made of."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penin.core import NumericVectorArtifact, OmegaMetaOrchestrator
from penin.core.transitions import Ack
from penin.errors import RefusedError
from tests.core import strategies

ONE = NumericVectorArtifact([1.0])


def filled() -> OmegaMetaOrchestrator:
    """Keys a-1, a-2, b-1, b-2 of two dimensions; a-1 was changed last, at seq 5."""
    memory = OmegaMetaOrchestrator()
    for key, dimension in (("a-1", 1), ("a-2", 2), ("b-1", 1), ("b-2", 2), ("a-1", 2)):
        memory.add_knowledge(key, NumericVectorArtifact([0.5] * dimension))
    return memory


@pytest.mark.parametrize(
    ("wanted", "left"),
    [
        ({"prefix": "a-"}, {"b-1", "b-2"}),
        ({"prefix": ""}, set()),
        ({"prefix": "c"}, {"a-1", "a-2", "b-1", "b-2"}),
        ({"before_seq": 4}, {"a-1", "b-2"}),
        ({"before_seq": 6}, set()),
        ({"prefix": "a-", "before_seq": 5}, {"a-1", "b-1", "b-2"}),
    ],
)
def test_what_begins_with_a_prefix_and_is_old_is_removed(wanted: Any, left: set[str]) -> None:
    memory = filled()
    assert memory.prune_knowledge(**wanted) == 4 - len(left)
    assert set(memory.knowledge_base) == left
    assert memory.seq == 5 + 4 - len(left)


@pytest.mark.parametrize(
    ("wanted", "field"),
    [
        ({}, "prefix"),
        ({"prefix": 7}, "prefix"),
        ({"before_seq": -1}, "before_seq"),
        ({"before_seq": "x"}, "before_seq"),
        ({"before_seq": True}, "before_seq"),
    ],
)
def test_what_names_nothing_is_refused(wanted: Any, field: str) -> None:
    memory = filled()
    with pytest.raises(RefusedError) as refused:
        memory.prune_knowledge(**wanted)
    assert refused.value.field == field
    assert len(memory.knowledge_base) == 4


def test_a_removal_with_a_condition_that_does_not_hold_changes_nothing() -> None:
    memory = filled()
    removal = {"type": "remove_knowledge", "key": "a-1"}
    assert memory.send({**removal, "if_seq": 1}) == Ack(6, "conflict", 6)
    assert memory.send({**removal, "if_seq": 5}) == Ack(7)
    assert memory.send({**removal, "if_seq": 5}) == Ack(8, "conflict", 8)
    assert memory.send({**removal, "if_seq": 0}) == Ack(9, "missing")
    for bad in (-1, "x", 1.5):
        with pytest.raises(RefusedError, match="if_seq"):
            memory.send({**removal, "if_seq": bad})


def test_in_a_transaction_it_sees_what_stands_before_it() -> None:
    memory = filled()
    put = {"type": "add_knowledge", "key": "a-1", "vector": [1.0]}
    removal = {"type": "remove_knowledge", "key": "a-1"}

    def send(*transitions: dict[str, Any]) -> Ack:
        return memory.send({"type": "transaction", "transitions": list(transitions)})

    assert send(put, {**removal, "if_seq": 5}) == Ack(7, "conflict", 7)
    assert memory.knowledge_base["a-1"].vector == [0.5, 0.5]
    assert send(put, {**removal, "if_seq": 8}) == Ack(9)
    assert "a-1" not in memory.knowledge_base
    assert send(removal, {**removal, "if_seq": 0}, put) == Ack(12)
    assert send({**removal, "if_seq": 12}, {**removal, "if_seq": 0}) == Ack(14)


@given(
    st.dictionaries(strategies.keys(), st.integers(1, 3), max_size=8),
    strategies.keys(),
    st.none() | st.integers(0, 9),
)
def test_it_removes_what_a_loop_over_all_keys_would(
    dimensions: dict[str, int], key: str, before_seq: int | None
) -> None:
    memory = OmegaMetaOrchestrator()
    seqs = {
        each: memory.add_knowledge(each, NumericVectorArtifact(np.ones(dimension))).seq
        for each, dimension in dimensions.items()
    }
    prefix = key[:1]
    expected = {
        each
        for each, seq in seqs.items()
        if not each.startswith(prefix) or (before_seq is not None and seq >= before_seq)
    }
    assert memory.prune_knowledge(prefix=prefix, before_seq=before_seq) == len(seqs) - len(expected)
    assert set(memory.knowledge_base) == expected
