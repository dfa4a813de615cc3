"""What is exported and imported again is equal, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penin.core import NumericVectorArtifact
from penin.errors import UsageError
from penin.ingress.tables import lines, writing
from penin.ingress.tables import table as table_module
from tests.core.strategies import (
    VECTOR_DTYPES,
    artifacts,
    exactly_equal,
    keys,
    matrices,
    metadata,
)
from tests.ingress.tables.samples import SUFFIXES, base, imported, written

# Every example makes files durable, which takes its time.
in_one_directory = settings(
    max_examples=max(10, settings().max_examples // 5),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@pytest.fixture(params=SUFFIXES)
def suffix(request):
    if request.param == ".parquet":
        pytest.importorskip("pyarrow")
    return request.param


def of_one_kind():
    """A knowledge base that one matrix holds, with and without metadata."""
    return matrices().flatmap(
        lambda matrix: st.tuples(
            st.lists(keys(), min_size=len(matrix), max_size=len(matrix), unique=True),
            st.lists(st.just({}) | metadata(), min_size=len(matrix), max_size=len(matrix)),
        ).map(lambda beside: _base(matrix, *beside))
    )


def _base(matrix, names, objects):
    rows = zip(names, matrix, objects, strict=True)
    return {name: NumericVectorArtifact(row, given) for name, row, given in rows}


@in_one_directory
@given(knowledge_base=of_one_kind())
def test_export_and_import_give_an_equal_knowledge_base(tmp_path, suffix, knowledge_base):
    if suffix == ".npz" and any(key.endswith("\0") for key in knowledge_base):
        with pytest.raises(UsageError, match="cuts the end off"):
            written(tmp_path / f"table{suffix}", knowledge_base)
        return
    table = written(tmp_path / f"table{suffix}", knowledge_base)
    assert exactly_equal(imported(table), knowledge_base)


@in_one_directory
@given(knowledge_base=st.dictionaries(keys(), artifacts(), max_size=6))
def test_json_lines_hold_every_mixture(tmp_path, knowledge_base):
    table = written(tmp_path / "table.jsonl", knowledge_base)
    assert exactly_equal(imported(table), knowledge_base)


@pytest.mark.parametrize("dtype", VECTOR_DTYPES)
def test_every_dtype_comes_back_at_its_edges(tmp_path, suffix, dtype):
    if dtype.startswith("float"):
        info = np.finfo(dtype)
        numbers = [info.min, info.max, 0.0, -0.0, info.smallest_subnormal, 0.1]
    else:
        numbers = [np.iinfo(dtype).min, np.iinfo(dtype).max, 0, 1]
    edges = np.array(numbers, dtype)
    knowledge_base = {"a": NumericVectorArtifact(edges)}
    table = written(tmp_path / f"table{suffix}", knowledge_base)
    assert exactly_equal(imported(table), knowledge_base)


def test_metadata_with_tagged_values_comes_back(tmp_path, suffix):
    given_metadata = {"inf": float("inf"), "nan": [float("nan")], "large": 2**100}
    knowledge_base = {"a": NumericVectorArtifact([1.0], given_metadata)}
    table = written(tmp_path / f"table{suffix}", knowledge_base)
    assert exactly_equal(imported(table), knowledge_base)


def test_an_empty_knowledge_base_is_a_table_without_rows(tmp_path, suffix):
    assert imported(written(tmp_path / f"table{suffix}", {})) == {}


def test_tables_are_read_in_blocks_and_from_any_row(tmp_path, suffix, monkeypatch):
    knowledge_base = base(100)
    table = written(tmp_path / f"table{suffix}", knowledge_base)
    monkeypatch.setattr(table_module, "BLOCK_ROWS_MAX", 7)
    monkeypatch.setattr(lines, "BLOCK_ROWS_MAX", 7)
    blocks = list(table.read_rows(0))
    assert {len(rows.keys) for rows in blocks} <= set(range(1, 8))
    assert [rows.first for rows in blocks[1:]] == [rows.stop for rows in blocks[:-1]]
    for first in (0, 1, 50, 93, 99, 100):
        rest = dict(list(knowledge_base.items())[first:])
        assert exactly_equal(imported(table, first), rest)


def test_a_block_is_cut_where_its_metadata_is_large(tmp_path, suffix):
    texts = [f"{row}" * 1_000_000 for row in range(9)]
    knowledge_base = {
        f"k{row}": NumericVectorArtifact([1.0], {"text": text}) for row, text in enumerate(texts)
    }
    table = written(tmp_path / f"table{suffix}", knowledge_base)
    assert max(len(rows.keys) for rows in table.read_rows(0)) <= 5
    assert exactly_equal(imported(table), knowledge_base)


def test_one_matrix_refuses_a_mixture_and_says_what_there_is(tmp_path, suffix):
    mixed = base(3) | {"other": NumericVectorArtifact([1, 2])}
    path = tmp_path / f"table{suffix}"
    if suffix == ".jsonl":
        assert exactly_equal(imported(written(path, mixed)), mixed)
        return
    with pytest.raises(UsageError, match="3 float32 of dimension 3, 1 int64 of dimension 2"):
        written(path, mixed)
    assert list(tmp_path.iterdir()) == []
    assert exactly_equal(imported(written(path, mixed, dtype="float32")), base(3))
    assert imported(written(path, mixed, dimension=2)) == {"other": mixed["other"]}
    assert imported(written(path, mixed, dtype="int8", dimension=2)) == {}


def test_keys_as_plain_lines_come_back_and_line_ends_are_refused(tmp_path):
    path, keys_path = tmp_path / "table.npy", tmp_path / "keys.txt"
    knowledge_base = {key: NumericVectorArtifact([1.0]) for key in ("a b", "\u2028é", '"', "\r.")}
    table = written(path, knowledge_base, (keys_path, None))
    assert exactly_equal(imported(table), knowledge_base)
    for key in ("a\nb", "a\r"):
        with pytest.raises(UsageError, match="line end"):
            written(path, {key: NumericVectorArtifact([1.0])}, (keys_path, None))
    assert exactly_equal(imported(table), knowledge_base)


def test_texts_that_would_blow_an_array_up_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(writing, "PADDING_FREE_BYTES", 1000)
    knowledge_base = base(100) | {"x" * 1000: NumericVectorArtifact(np.ones(3, "float32"))}
    with pytest.raises(UsageError, match="keys would take 404,000 bytes"):
        written(tmp_path / "table.npz", knowledge_base)
    assert list(tmp_path.iterdir()) == []
