"""Recall: what is nearest is that of scoring every row, whatever the blocks and the limits are."""

from __future__ import annotations

import math
import uuid
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penin.core import NumericVectorArtifact, OmegaMetaOrchestrator
from penin.core import nearest as module
from penin.core.nearest import METRICS, Metric, merit_limits, merits_of, norms_of, query_of
from penin.errors import RefusedTypeError, RefusedValueError
from tests.core.strategies import VECTOR_DTYPES, arrays


def memory_of(vectors, metadata=None):
    """A memory with the keys 0, 1, 2, …"""
    memory = OmegaMetaOrchestrator()
    for number, vector in enumerate(vectors):
        artifact = NumericVectorArtifact(vector, metadata[number] if metadata else None)
        memory.add_knowledge(str(number), artifact)
    return memory


def keys_of(found):
    return [each.key for each in found]


def row_by_row(memory, vector, k, metric: Metric):
    """Key and score of the nearest, each row scored by itself."""
    query = query_of(vector, k, metric)
    with np.errstate(all="ignore"):
        scored = [
            (-merits_of(artifact.array[np.newaxis], np.zeros(1, int), query)[0], key)
            for key, artifact in memory.knowledge_base.items()
            if len(artifact) == len(query.vector)
        ]
    scored.sort(key=lambda pair: pair[0])  # stable: ties stay in the order of the base
    sign = 1 if metric == "euclidean" else -1
    return [(key, float(sign * merit)) for merit, key in scored[:k]]


# -- scores --------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", VECTOR_DTYPES)
def test_scores_are_what_the_metrics_say(dtype):
    memory = memory_of([np.array([3, 4], dtype), np.array([1, 0], dtype)])
    query = [4, 3]
    assert [(f.key, f.score) for f in memory.nearest(query, metric="cosine")] == [
        ("0", 0.96),
        ("1", 0.8),
    ]
    assert [(f.key, f.score) for f in memory.nearest(query, metric="dot")] == [
        ("0", 24.0),
        ("1", 4.0),
    ]
    assert [(f.key, f.score) for f in memory.nearest(query, metric="euclidean")] == [
        ("0", math.sqrt(2)),
        ("1", math.sqrt(18)),
    ]


def test_a_neighbour_has_its_artifact():
    memory = memory_of([[1.0, 2.0]], [{"a": 1}])
    (found,) = memory.nearest([1.0, 2.0])
    assert found.artifact == NumericVectorArtifact([1.0, 2.0], {"a": 1})


@given(arrays())
def test_a_vector_is_nearest_to_itself(vector):
    memory = memory_of([vector])
    wanted = 1.0 if vector.any() else 0.0
    assert memory.nearest(vector)[0].score == wanted
    assert memory.nearest(vector, metric="euclidean")[0].score == 0.0


def test_a_vector_of_zeros_has_the_cosine_0_with_every_other():
    memory = memory_of([[0.0, 0.0], [1.0, 0.0], [-1.0, 0.0]])
    found = memory.nearest([1.0, 0.0])
    assert [(f.key, f.score) for f in found] == [("1", 1.0), ("0", 0.0), ("2", -1.0)]
    assert [(f.key, f.score) for f in memory.nearest([0.0, 0.0], k=2)] == [("0", 0.0), ("1", 0.0)]


def test_no_score_is_minus_zero():
    memory = memory_of([[1.0, 0.0]])
    for metric in METRICS:
        query = [1.0, 0.0] if metric == "euclidean" else [-0.0, -1.0]
        assert math.copysign(1, memory.nearest(query, metric=metric)[0].score) == 1.0


def test_numbers_that_overflow_and_underflow_are_scored():
    memory = memory_of([[1e300, 1e300], [1e-300, 0.0], [-1e300, 1e300]])
    cosines = memory.nearest([1e300, 1e300], metric="cosine")
    assert keys_of(cosines) == ["0", "1", "2"]
    assert [f.score for f in cosines] == pytest.approx([1.0, math.sqrt(0.5), 0.0])
    dots = memory.nearest([1e300, 1e300], metric="dot")
    assert [(f.key, f.score) for f in dots] == [("0", math.inf), ("1", 1.0), ("2", 0.0)]
    distances = memory.nearest([1e-300, 0.0], metric="euclidean")
    assert distances[0].key == "1"
    assert distances[1].score == pytest.approx(math.sqrt(2) * 1e300)


@given(st.lists(arrays(), min_size=1, max_size=6), st.data())
def test_no_row_is_better_than_its_limit(vectors, data):
    like = data.draw(st.sampled_from(vectors))
    near = [each for each in vectors if each.shape == like.shape and each.dtype == like.dtype]
    times = data.draw(st.sampled_from([1, module.BLAS_DIMENSIONS_MIN]))
    matrix = np.tile(np.stack([*near, np.zeros_like(like), like]), times)
    other = data.draw(arrays(("float64",)))
    query_vector = np.resize(other, matrix.shape[1]) if data.draw(st.booleans()) else matrix[-1]
    assert_limits_hold(matrix, query_vector)


@given(
    st.integers(0, 2**32),
    st.integers(1, 200),
    st.sampled_from(["float32", "float64"]),
    st.lists(st.floats(-1, 1), min_size=8, max_size=8),
    st.floats(0, 1e-3),
)
def test_no_row_is_better_than_its_limit_at_any_scale(seed, dimension, dtype, scales, noise):
    """The rows point nearly where the query does, or away from it, and are of any length."""
    random = np.random.default_rng(seed)
    direction = random.standard_normal(dimension)
    rows = direction + noise * random.standard_normal((8, dimension))
    exponents = np.finfo(dtype).maxexp * 0.95 * np.array(scales)
    rows *= np.exp2(exponents)[:, np.newaxis] * random.choice([-1, 1], (8, 1))
    matrix = rows.astype(dtype)
    for query_vector in [direction, *matrix]:
        assert_limits_hold(matrix, query_vector)


def assert_limits_hold(matrix, vector):
    for metric in get_args(Metric):
        query = query_of(vector, metric=metric)
        with np.errstate(all="ignore"):
            limits = merit_limits(matrix, norms_of(matrix), query)
        merits = merits_of(matrix, np.arange(len(matrix)), query)
        assert not np.isnan(merits).any()
        assert (merits <= limits).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_limit_of_a_row_is_hardly_above_its_merit(dtype):
    """Or every row would be scored: the search would be right, and slow."""
    random = np.random.default_rng(5)
    matrix = random.standard_normal((50, 100)).astype(dtype)
    matrix[7] = 0
    for metric in get_args(Metric):
        query = query_of(random.standard_normal(100), metric=metric)
        limits = merit_limits(matrix, norms_of(matrix), query)
        merits = merits_of(matrix, np.arange(50), query)
        assert (limits - merits < 1e5 * np.finfo(dtype).eps).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_norm_is_told_where_one_pass_neither_overflows_nor_underflows(dtype):
    info = np.finfo(dtype)
    matrix = np.array([[3, 4], [0, 0], [info.max, 0], [info.tiny, 0], [0, -info.max]], dtype)
    norms = norms_of(matrix)
    assert norms[:2].tolist() == [5.0, 0.0]
    assert np.isnan(norms[2:]).all()


@pytest.mark.parametrize("metric", METRICS)
def test_rows_whose_products_overflow_their_dtype_are_found(metric):
    most = np.finfo(np.float32).max
    matrix = np.ones((9, 64), np.float32)
    matrix[4] = np.repeat([most, -most], 32)
    matrix[5] = -matrix[4]
    memory = memory_of(matrix)
    for query in [matrix[4], np.repeat([1.0, -1.0], 32), np.concatenate((-matrix[4][:62], [1, 1]))]:
        found = [(each.key, each.score) for each in memory.nearest(query, 2, metric)]
        assert found == row_by_row(memory, query, 2, metric)


# -- what is found -------------------------------------------------------------------------------


@given(
    st.lists(arrays(), min_size=1, max_size=12),
    st.sampled_from(METRICS),
    st.integers(1, 14),
    st.data(),
)
def test_it_finds_what_scoring_every_row_finds(vectors, metric, k, data):
    memory = memory_of(vectors)
    for removed in data.draw(st.sets(st.integers(0, len(vectors) - 1), max_size=3)):
        memory.remove_knowledge(str(removed))
    query = data.draw(st.sampled_from(vectors))
    sizes = {len(artifact) for artifact in memory.knowledge_base.values()}
    if sizes and len(query) not in sizes:
        with pytest.raises(RefusedValueError):
            memory.nearest(query, k, metric)
    else:
        found = [(each.key, each.score) for each in memory.nearest(query, k, metric)]
        assert found == row_by_row(memory, query, k, metric)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("dtype", ["float32", "float64", "int8", "int64"])
@pytest.mark.parametrize("dimension", [24, module.BLAS_DIMENSIONS_MIN + 3])
def test_it_finds_the_same_over_many_blocks_and_chunks(metric, dtype, dimension, monkeypatch):
    monkeypatch.setattr(module, "CANDIDATES_MIN", 4)
    monkeypatch.setattr(module, "PIECE_BYTES", 1000)
    random = np.random.default_rng(7)
    matrix = (random.standard_normal((1500, dimension)) * 30).astype(dtype)
    matrix[900:1000] = matrix[100:200]  # ties across blocks
    memory = OmegaMetaOrchestrator()
    memory.extend_knowledge([f"k{n}" for n in range(1500)], matrix)
    for number in range(0, 1500, 7):
        memory.remove_knowledge(f"k{number}")
    for query in [matrix[120], random.random(dimension)]:
        expected = row_by_row(memory, query, 700, metric)
        for k in [1, 10, 700]:
            found = [(each.key, each.score) for each in memory.nearest(query, k, metric)]
            assert found == expected[:k]


def test_equal_scores_stand_in_the_order_of_the_knowledge_base():
    memory = memory_of([[1.0, 0.0]] * 600)
    memory.add_knowledge("3", NumericVectorArtifact([1.0, 0.0]))  # to the end
    expected = list(memory.knowledge_base)
    assert keys_of(memory.nearest([2.0, 0.0], k=600)) == expected
    assert keys_of(memory.nearest([2.0, 0.0], k=4)) == expected[:4] == ["0", "1", "2", "4"]


def test_columns_of_every_dtype_with_the_dimension_are_searched():
    memory = memory_of([np.array([1, 2], dtype) for dtype in VECTOR_DTYPES] + [[1.0, 2.0, 3.0]])
    found = memory.nearest(np.array([1, 2], np.float32), k=99)
    assert sorted(keys_of(found)) == sorted(map(str, range(len(VECTOR_DTYPES))))
    assert {each.score for each in found} == {1.0}


def test_removed_and_replaced_vectors_are_not_found():
    memory = memory_of([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]])
    memory.remove_knowledge("0")
    memory.add_knowledge("1", NumericVectorArtifact([-1.0, 0.0]))
    assert keys_of(memory.nearest([1.0, 0.0])) == ["2", "1"]


def test_a_view_is_searched_as_it_was():
    memory = memory_of([[1.0, 0.0]])
    view = memory.knowledge_base.view()
    memory.add_knowledge("later", NumericVectorArtifact([1.0, 0.0]))
    memory.remove_knowledge("0")
    assert keys_of(module.nearest(view, query_of([1.0, 0.0]))) == ["0"]


def test_rows_that_came_after_a_search_are_found_by_the_next():
    memory = memory_of([[1.0, 0.0]])
    memory.nearest([1.0, 0.0])
    memory.add_knowledge("later", NumericVectorArtifact([0.5, 0.5]))
    assert keys_of(memory.nearest([1.0, 1.0])) == ["later", "0"]


# -- where ---------------------------------------------------------------------------------------


def test_where_lets_through_what_has_the_value():
    metadata = [{"kind": "a"}, {"kind": "b"}, {}, {"kind": None}, {"kind": ["a", "b"]}]
    memory = memory_of([[1.0]] * 5, metadata)

    def kept(**where):
        return keys_of(memory.nearest([1.0], where=where))

    assert kept(kind="a") == ["0"]
    assert kept(kind=["a", "b"]) == kept(kind=("b", "a")) == kept(kind={"a", "b"}) == ["0", "1"]
    assert kept(kind=None) == ["3"]
    assert kept(kind=[]) == []
    assert kept(kind=[["a", "b"]]) == ["4"]
    assert kept(other="a") == []


def test_where_compares_as_json_does():
    metadata = [{"v": 1}, {"v": True}, {"v": 1.0}, {"v": [1, {"a": True}]}, {"v": [1, {"a": 1}]}]
    memory = memory_of([[1.0]] * 5, metadata)
    assert keys_of(memory.nearest([1.0], where={"v": 1})) == ["0", "2"]
    assert keys_of(memory.nearest([1.0], where={"v": True})) == ["1"]
    assert keys_of(memory.nearest([1.0], where={"v": [[1, {"a": 1}]]})) == ["4"]


def test_where_converts_values_as_metadata_is_converted():
    owner = uuid.uuid4()
    memory = memory_of([[1.0], [2.0]], [{"owner": owner}, {}])
    assert keys_of(memory.nearest([1.0], where={"owner": owner})) == ["0"]


def test_every_field_of_where_must_fit():
    memory = memory_of([[1.0]] * 3, [{"a": 1, "b": 1}, {"a": 1}, {"a": 1, "b": 2}])
    assert keys_of(memory.nearest([1.0], where={"a": 1, "b": [1, 2]})) == ["0", "2"]


@pytest.mark.parametrize("k", [1, 5, 400])
def test_filtering_is_that_of_all_scored_rows(k, monkeypatch):
    monkeypatch.setattr(module, "CANDIDATES_MIN", 8)
    random = np.random.default_rng(3)
    matrix = random.standard_normal((2000, 8)).astype(np.float32)
    memory = OmegaMetaOrchestrator()
    kinds = [{"kind": n % 9} for n in range(2000)]
    memory.extend_knowledge([str(n) for n in range(2000)], matrix, kinds)
    query = random.standard_normal(8)
    everything = keys_of(memory.nearest(query, k=2000))
    expected = [key for key in everything if int(key) % 9 == 4][:k]
    assert keys_of(memory.nearest(query, k=k, where={"kind": 4})) == expected


# -- bounds and refusals -------------------------------------------------------------------------


def test_an_empty_base_has_no_neighbours():
    assert OmegaMetaOrchestrator().nearest([1.0, 2.0]) == []
    memory = memory_of([[1.0]])
    memory.remove_knowledge("0")
    assert memory.nearest([1.0, 2.0]) == []


def test_more_than_there_are_gives_all():
    assert keys_of(memory_of([[1.0], [2.0]]).nearest([1.0], k=10**9, metric="dot")) == ["1", "0"]


def test_a_dimension_that_is_not_there_is_refused_with_those_that_are():
    memory = memory_of([[1.0], [1.0, 2.0, 3.0]])
    with pytest.raises(RefusedValueError, match=r"2 numbers.* vectors of 1, 3$") as caught:
        memory.nearest([1.0, 2.0])
    assert caught.value.field == "vector"


@pytest.mark.parametrize(
    ("arguments", "kind", "field"),
    [
        ({"vector": "text"}, RefusedTypeError, "vector"),
        ({"vector": []}, RefusedValueError, "vector"),
        ({"vector": [math.nan]}, RefusedValueError, "vector[0]"),
        ({"vector": np.ones((2, 2))}, RefusedValueError, "vector"),
        ({"k": 0}, RefusedValueError, "k"),
        ({"k": True}, RefusedTypeError, "k"),
        ({"k": 1.5}, RefusedTypeError, "k"),
        ({"metric": "manhattan"}, RefusedValueError, "metric"),
        ({"metric": None}, RefusedValueError, "metric"),
        ({"where": ["a"]}, RefusedTypeError, "where"),
        ({"where": {1: "a"}}, RefusedTypeError, "where"),
        ({"where": {"a": object()}}, RefusedTypeError, "where.a"),
    ],
)
def test_what_is_refused_is_named(arguments, kind, field):
    with pytest.raises(kind) as caught:
        OmegaMetaOrchestrator().nearest(**{"vector": [1.0], **arguments})
    assert caught.value.field == field
