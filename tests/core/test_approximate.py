"""Approximate recall: whatever happened since the index was built, what it gives is right.

It may miss something that the index covers; here are the promises that hold all the same.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from penin.core import OmegaMetaOrchestrator
from penin.core.approximate import Answer, Covered, Place, nearest_with
from penin.core.nearest import METRICS, nearest, query_of
from penin.core.vector_index import VectorIndex, decode_index, encode_index

DIMENSION = 3
STORE = "6f1c7d0e-2b34-4a58-9c6d-7e8f90a1b2c3"


def extended(memory, index):
    index.extend(memory.knowledge_base.view(), memory.seq, threads=1)
    return index


def asked(memory, query, index, count=1000):
    """What an index finds, looked up in the memory as it is now."""
    candidates, is_all = index.candidates(query, count)
    places = [
        Place(place[0].number, place[1], seq)
        for key, seq in candidates
        if (place := memory.knowledge_base.find(key)) is not None
    ]
    return nearest_with(memory.knowledge_base.view(), query, Covered(index.seq, places, is_all))


def small_memory():
    memory = OmegaMetaOrchestrator()
    matrix = np.random.default_rng(1).standard_normal((60, DIMENSION))
    memory.extend_knowledge([f"k{n}" for n in range(60)], matrix, [{"n": n} for n in range(60)])
    return memory


def keys_of(answer):
    return [each.key for each in answer.neighbours]


def test_it_is_the_exact_answer_where_all_candidates_are_asked_for():
    memory = small_memory()
    index = extended(memory, VectorIndex(DIMENSION, "cosine"))
    for k in (1, 7, 60, 100):
        query = query_of([1.0, 2.0, 3.0], k)
        answer = asked(memory, query, index)
        assert answer == Answer(nearest(memory.knowledge_base.view(), query), 0, 60)


def test_equal_scores_stand_in_the_order_of_the_base():
    memory = OmegaMetaOrchestrator()
    memory.extend_knowledge(list("dcab"), np.ones((4, DIMENSION)))
    index = extended(memory, VectorIndex(DIMENSION, "cosine"))
    memory.extend_knowledge(list("zyx"), np.ones((3, DIMENSION), np.float32))
    memory.extend_knowledge(["c"], np.ones((1, DIMENSION)))
    query = query_of([1.0, 1.0, 1.0], 10)
    answer = asked(memory, query, index)
    assert keys_of(answer) == ["d", "a", "b", "c", "z", "y", "x"]
    assert answer == Answer(nearest(memory.knowledge_base.view(), query), 4, 7)


def test_what_was_removed_or_replaced_is_not_found_as_it_was():
    memory = small_memory()
    index = extended(memory, VectorIndex(DIMENSION, "euclidean"))
    vector = memory.knowledge_base["k5"].array
    query = query_of(vector, 3, "euclidean")
    assert keys_of(asked(memory, query, index))[0] == "k5"
    memory.remove_knowledge("k5")
    assert "k5" not in keys_of(asked(memory, query, index))
    memory.extend_knowledge(["k5"], vector[np.newaxis] * -3)
    assert asked(memory, query, index).neighbours == nearest(memory.knowledge_base.view(), query)


def test_too_few_that_count_are_no_answer_unless_there_are_no_others():
    memory = small_memory()
    index = extended(memory, VectorIndex(DIMENSION, "dot"))
    query = query_of([1.0, 0.0, 0.0], 5, "dot", {"n": [1, 2, 3]})
    assert asked(memory, query, index, count=30) is None
    assert len(asked(memory, query, index).neighbours) == 3
    for key in list(memory.knowledge_base)[:58]:
        memory.remove_knowledge(key)
    query = query_of([1.0, 0.0, 0.0], 5, "dot")
    assert asked(memory, query, index, count=4) is None
    assert len(asked(memory, query, index).neighbours) == 2


def test_what_is_newer_is_searched_and_nothing_else():
    memory = small_memory()
    index = extended(memory, VectorIndex(DIMENSION, "cosine"))
    memory.extend_knowledge(["k1", "x"], np.eye(2, DIMENSION))
    memory.extend_knowledge(["y"], np.eye(1, DIMENSION, dtype=np.float32))
    memory.extend_knowledge(["z"], np.ones((1, DIMENSION + 1)))
    answer = asked(memory, query_of([1.0, 0.0, 0.0], 2), index)
    assert keys_of(answer) == ["k1", "y"]
    assert (answer.searched_count, answer.live_count) == (3, 62)


# -- any sequence -----------------------------------------------------------------------------

keys = st.integers(0, 12).map("k{}".format)
numbers = st.sampled_from([-2.0, -1.0, 0.0, 0.5, 1.0, 3.0])
vectors = st.lists(numbers, min_size=DIMENSION, max_size=DIMENSION)


class AnySequence(RuleBasedStateMachine):
    """Changes, snapshots and reclaims in any order, with an index of some moment before."""

    @initialize(metric=st.sampled_from(METRICS))
    def begin(self, metric):
        self.metric = metric
        self.memory = OmegaMetaOrchestrator()
        self.index = VectorIndex(DIMENSION, metric)

    @rule(
        some=st.lists(keys, min_size=1, max_size=8, unique=True), data=st.data(), wide=st.booleans()
    )
    def put(self, some, data, wide):
        matrix = np.array([data.draw(vectors) for _ in some], "f8" if wide else "f4")
        self.memory.extend_knowledge(some, matrix, [{"even": len(key) % 2} for key in some])

    @rule(key=keys)
    def remove(self, key):
        self.memory.remove_knowledge(key)

    @rule()
    def index_anew(self):
        self.index = extended(self.memory, VectorIndex(DIMENSION, self.metric))

    @rule()
    def extend_the_index(self):
        extended(self.memory, self.index)

    @rule()
    def write_and_read_the_index(self):
        data = b"".join(encode_index(self.index, STORE))
        self.index = decode_index(memoryview(data), Path("x"), lambda: None).extendable()

    @rule()
    def reclaim(self):
        base = self.memory.knowledge_base
        while (plan := base.reclaim_plan()) is not None:
            plan.copy()
            base.adopt(plan)

    @rule(vector=vectors, k=st.integers(1, 15), where=st.sampled_from([None, {"even": 0}]))
    def ask(self, vector, k, where):
        view = self.memory.knowledge_base.view()
        if not len(view):
            return
        query = query_of(vector, k, self.metric, where)
        answer = asked(self.memory, query, self.index, 4 * k)
        everything = nearest(view, query_of(vector, 1000, self.metric, where))
        if answer is None:
            return  # too few of 4 k candidates count: whoever asks asks for more
        found = answer.neighbours
        # Only what is there now, scored and ordered as the exact search does.
        assert found == [each for each in everything if each in found]
        # What is newer than the index is found as the exact search finds it.
        base = self.memory.knowledge_base
        newer = [each for each in everything[:k] if base.seq_of(each.key) > self.index.seq]
        assert all(each in found for each in newer)
        assert len(found) == min(k, len(everything))

    @invariant()
    def counts_are_those_of_the_base(self):
        if not hasattr(self, "memory") or not self.memory.knowledge_base:
            return
        answer = asked(self.memory, query_of([1.0, 0.0, 2.0], 1000, self.metric), self.index)
        if answer is not None:
            assert answer.live_count == len(self.memory.knowledge_base)
            assert len(answer.neighbours) == len(self.memory.knowledge_base)


TestAnySequence = AnySequence.TestCase
TestAnySequence.settings = settings(stateful_step_count=25)
