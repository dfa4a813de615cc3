"""The index of vectors: what is in it, how it grows, and that a file of it is whole or refused."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec
import numpy as np
import pytest

from penin.core import OmegaMetaOrchestrator
from penin.core import vector_index as module
from penin.core.nearest import query_of
from penin.core.vector_index import (
    Candidate,
    VectorIndex,
    decode_index,
    encode_index,
    read_card,
)
from penin.errors import CorruptionError, FormatError

PLACE = Path("cosine-8.index")
STORE = "6f1c7d0e-2b34-4a58-9c6d-7e8f90a1b2c3"
DIGEST_BYTES = 32


def matrix_of(rows, seed=1):
    return np.random.default_rng(seed).standard_normal((rows, 8)).astype(np.float32)


def memory_of(matrix):
    memory = OmegaMetaOrchestrator()
    memory.extend_knowledge([f"ä{row}" for row in range(len(matrix))], matrix)
    return memory


def extended(memory, index):
    index.extend(memory.knowledge_base.view(), memory.seq, threads=1)
    return index


def index_of(memory, metric="cosine"):
    return extended(memory, VectorIndex(8, metric))


def file_of(index, store=STORE):
    return b"".join(encode_index(index, store))


def decoded(data):
    return decode_index(memoryview(data), PLACE, lambda: None)


def signed(body):
    """A file with the right digest."""
    return body + hashlib.sha256(body).digest()


def with_card(data, **changes):
    """The same file with another card, whose digest is right."""
    card = read_card(memoryview(data), PLACE)
    encoded = msgspec.json.encode(card)
    changed = msgspec.json.encode({**msgspec.structs.asdict(card), **changes})
    body = data[: -DIGEST_BYTES - 8 - len(encoded)]
    return signed(body + changed + len(changed).to_bytes(8, "little"))


def test_it_gives_the_key_and_the_seq_of_its_change():
    memory = memory_of(matrix_of(50))
    memory.add_knowledge("ä7", memory.knowledge_base["ä7"])
    index = index_of(memory)
    query = query_of(memory.knowledge_base["ä7"].array)
    candidates, is_all = index.candidates(query, 50)
    assert candidates[0] == Candidate("ä7", 2)
    assert is_all
    assert (index.seq, len(index)) == (2, 50)
    (best,), is_all = index.candidates(query, 1)
    assert best == Candidate("ä7", 2)
    assert not is_all


def test_only_what_changed_is_added_when_it_is_extended(monkeypatch):
    monkeypatch.setattr(module, "ADDED_ROWS", 7)
    memory = memory_of(matrix_of(50))
    index = index_of(memory)
    memory.extend_knowledge(["new", "ä3"], matrix_of(2, seed=2))
    memory.remove_knowledge("ä4")
    extended(memory, index)
    assert (index.seq, len(index)) == (3, 52)
    candidates, _ = index.candidates(query_of(matrix_of(1)[0]), 52)
    assert {Candidate("new", 2), Candidate("ä3", 2), Candidate("ä3", 1)} <= set(candidates)


def test_vectors_of_another_dimension_are_not_in_it():
    memory = memory_of(matrix_of(20))
    memory.extend_knowledge(["x", "y"], np.eye(2))
    assert len(extended(memory, VectorIndex(2, "dot"))) == 2
    empty = extended(memory, VectorIndex(3, "dot"))
    assert empty.candidates(query_of([1.0, 2.0, 3.0]), 5) == ([], True)


@pytest.mark.parametrize("dtype", ["float64", "int8", "uint64"])
def test_every_dtype_is_indexed(dtype):
    memory = memory_of((matrix_of(40) * 20 + 100).astype(dtype))
    wanted = memory.knowledge_base["ä3"].array
    candidates, _ = index_of(memory, "euclidean").candidates(query_of(wanted), 2)
    assert candidates[0].key == "ä3"


@pytest.mark.parametrize("scale", [1e300, 1e-320])
def test_numbers_of_any_size_are_told_apart_by_the_cosine(scale):
    memory = memory_of(matrix_of(40).astype(np.float64) * scale)
    wanted = memory.knowledge_base["ä3"].array
    candidates, _ = index_of(memory).candidates(query_of(wanted), 1)
    assert candidates[0].key == "ä3"


@pytest.mark.parametrize("metric", ["cosine", "dot", "euclidean"])
def test_vectors_that_are_zeros_or_huge_are_taken(metric):
    matrix = np.concatenate([np.zeros((20, 8)), np.full((20, 8), 1e300), np.full((20, 8), -1e300)])
    index = index_of(memory_of(matrix), metric)
    for vector in matrix[::20]:
        candidates, _ = index.candidates(query_of(vector, metric=metric), 60)
        assert len(set(candidates)) == len(candidates) > 0


def test_it_is_mostly_dead_when_less_than_half_of_it_is_left():
    memory = memory_of(matrix_of(10))
    index = index_of(memory)
    for row in range(5):
        memory.remove_knowledge(f"ä{row}")
    memory.extend_knowledge(["x", "y"], matrix_of(2, seed=2))
    assert not index.is_mostly_dead(memory.knowledge_base.view())
    memory.add_knowledge("ä9", memory.knowledge_base["ä9"])
    assert index.is_mostly_dead(memory.knowledge_base.view())


# -- as a file --------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", ["cosine", "dot", "euclidean"])
def test_one_that_was_read_finds_what_the_one_that_was_written_does(metric):
    index = index_of(memory_of(matrix_of(200)), metric)
    read = decoded(file_of(index))
    assert (len(read), read.seq, read.dimension, read.metric) == (200, 1, 8, metric)
    for vector in matrix_of(5, seed=3):
        query = query_of(vector, metric=metric)
        assert read.candidates(query, 20) == index.candidates(query, 20)


def test_one_that_was_read_is_extended_as_a_copy_that_does_not_need_the_file():
    memory = memory_of(matrix_of(50))
    data = bytearray(file_of(index_of(memory)))
    copy = decoded(data).extendable()
    data[:] = bytes(len(data))
    memory.extend_knowledge(["x", "y"], matrix_of(2, seed=2))
    extended(memory, copy)
    assert (len(copy), copy.seq) == (52, 2)
    for key in ("ä5", "x"):
        candidates, _ = copy.candidates(query_of(memory.knowledge_base[key].array), 1)
        assert candidates[0].key == key
    assert len(decoded(file_of(copy))) == 52


def test_the_interpreter_is_let_go_now_and_then_while_a_graph_is_read():
    pauses: list[None] = []
    data = file_of(index_of(memory_of(matrix_of(200))))
    decode_index(memoryview(data), PLACE, lambda: pauses.append(None))
    assert len(pauses) >= 3


def test_an_empty_one_is_a_file_too():
    read = decoded(file_of(index_of(OmegaMetaOrchestrator())))
    assert read.candidates(query_of(matrix_of(1)[0]), 3) == ([], True)


def test_its_card_says_what_it_is():
    card = read_card(memoryview(file_of(index_of(memory_of(matrix_of(9)), "dot"))), PLACE)
    assert (card.store, card.seq, card.metric, card.dimension) == (STORE, 1, "dot", 8)
    assert (card.rows, card.keys_bytes) == (9, 27)


def test_any_changed_byte_and_any_cut_is_noticed():
    data = file_of(index_of(memory_of(matrix_of(3))))
    for position in range(len(data)):
        changed = bytearray(data)
        changed[position] ^= 1 << position % 8
        with pytest.raises((CorruptionError, FormatError)):
            decoded(bytes(changed))
    for length in range(len(data)):
        with pytest.raises(CorruptionError):
            decoded(data[:length])


@pytest.mark.parametrize(
    "changes",
    [
        {"format": "another"},
        {"version": 2},
        {"numbers": "f32"},
        {"connectivity": 4},
        {"rows": 2},
        {"graph_bytes": 11},
    ],
)
def test_one_that_is_whole_and_not_ours_is_refused(changes):
    data = file_of(index_of(memory_of(matrix_of(3))))
    assert len(decoded(with_card(data))) == 3
    with pytest.raises(FormatError):
        decoded(with_card(data, **changes))


def test_a_card_that_is_none_is_refused():
    for text in (b"", b"{}", b"[" * 100_000, b"\xff"):
        with pytest.raises(CorruptionError, match=r"cosine-8\.index"):
            decoded(signed(text + len(text).to_bytes(8, "little")))
