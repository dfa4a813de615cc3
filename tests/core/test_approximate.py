"""An index of vectors: what it covers, what stops it, and what it gives for what is awkward."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from penin.core import OmegaMetaOrchestrator
from penin.core import approximate as module
from penin.core.approximate import VectorIndex, nearest_with
from penin.core.nearest import nearest, query_of


def memory_of(matrix, start=0):
    memory = OmegaMetaOrchestrator()
    memory.extend_knowledge([f"ä{start + row}" for row in range(len(matrix))], matrix)
    return memory


def extended(index, memory, is_stopping=lambda: False):
    view = memory.knowledge_base.view()
    return index.extend(view, memory.seq, threading.Lock(), is_stopping)


def stopping_after(batches):
    """False so many times, then True."""
    answers = iter([False] * batches)
    return lambda: next(answers, True)


def matrix_of(rows, seed=1):
    return np.random.default_rng(seed).standard_normal((rows, 8)).astype(np.float32)


def test_it_gives_the_key_and_the_seq_of_its_change():
    memory = memory_of(matrix_of(50))
    memory.add_knowledge("ä7", memory.knowledge_base["ä7"])
    index = VectorIndex(8, "cosine")
    assert extended(index, memory)
    (first, *_), are_all = index.candidates(query_of(memory.knowledge_base["ä7"].array, 20))
    assert first == ("ä7", 2)
    assert are_all
    assert (index.seq, len(index)) == (2, 50)


def test_stopped_it_covers_what_it_did_and_goes_on_the_next_time(monkeypatch):
    monkeypatch.setattr(module, "BATCH_ROWS", 10)
    memory = memory_of(matrix_of(50))
    index = VectorIndex(8, "cosine")
    assert not extended(index, memory, stopping_after(3))
    query = query_of(matrix_of(1)[0], 10)
    assert (index.seq, len(index)) == (0, 30)
    assert index.candidates(query)[0] == []
    assert extended(index, memory)
    assert (index.seq, len(index)) == (1, 80)
    candidates, _ = index.candidates(query)
    assert len(candidates) == len(set(candidates))


def test_vectors_of_another_dimension_are_not_in_it():
    memory = memory_of(matrix_of(20))
    memory.extend_knowledge(["x", "y"], np.eye(2))
    index = VectorIndex(2, "dot")
    assert extended(index, memory)
    assert len(index) == 2


@pytest.mark.parametrize("dtype", ["float64", "int8", "uint64"])
def test_every_dtype_is_indexed(dtype):
    memory = memory_of((matrix_of(40) * 20 + 100).astype(dtype))
    index = VectorIndex(8, "euclidean")
    assert extended(index, memory)
    wanted = memory.knowledge_base["ä3"].array
    (first, *_), _ = index.candidates(query_of(wanted, metric="euclidean"))
    assert first[0] == "ä3"


def test_candidates_and_what_is_newer_are_merged_as_they_score():
    memory = memory_of(matrix_of(30))
    index = VectorIndex(8, "dot")
    extended(index, memory)
    memory.extend_knowledge([f"new{row}" for row in range(30)], matrix_of(30, seed=2))
    query = query_of(matrix_of(1, seed=3)[0], 30, "dot")
    candidates, are_all = index.candidates(query)
    knowledge_base = memory.knowledge_base
    places = [place for key, _ in candidates if (place := knowledge_base.find(key))]
    view = knowledge_base.view()
    found, newer_count = nearest_with(view, query, index.seq, places, are_all=are_all)
    assert found == nearest(view, query)
    assert newer_count == 30
