"""Parquet as a table."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from penin.errors import TableError, UsageError
from penin.ingress.tables.opening import open_table
from tests.ingress.tables.samples import imported

pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

KEYS = ["a", "b", "c"]
VECTORS = [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]


def table_of(tmp_path, columns, **options):
    path = tmp_path / "rows.parquet"
    parquet.write_table(pa.table(columns), path, **options)
    return open_table(path)


@pytest.mark.parametrize(
    "vectors",
    [
        pa.array(VECTORS, pa.list_(pa.float32())),
        pa.array(VECTORS, pa.large_list(pa.float32())),
        pa.array(VECTORS, pa.list_(pa.float32(), 2)),
    ],
    ids=str,
)
@pytest.mark.parametrize(
    "keys",
    [pa.array(KEYS), pa.array(KEYS, pa.large_string()), pa.array(KEYS).dictionary_encode()],
    ids=["string", "large", "dictionary"],
)
def test_every_kind_of_list_and_string_is_read(tmp_path, keys, vectors):
    made = imported(table_of(tmp_path, {"key": keys, "vector": vectors, "more": [1, 2, 3]}))
    assert {key: artifact.vector for key, artifact in made.items()} == dict(
        zip(KEYS, VECTORS, strict=True)
    )
    assert made["a"].dtype == np.float32


@pytest.mark.parametrize(
    "metadata",
    [['{"n": 1}', None, "{}"], [{"n": 1}, None, None]],
    ids=["strings", "structs"],
)
def test_metadata_is_a_string_or_a_struct(tmp_path, metadata):
    made = imported(table_of(tmp_path, {"key": KEYS, "vector": VECTORS, "metadata": metadata}))
    assert [artifact.metadata for artifact in made.values()] == [{"n": 1}, {}, {}]


def test_row_groups_before_the_first_row_are_skipped(tmp_path):
    keys = [f"k{row}" for row in range(10)]
    columns = {"key": keys, "vector": [[float(row)] for row in range(10)]}
    table = table_of(tmp_path, columns, row_group_size=3)
    for first in range(11):
        rows = list(table.read_rows(first))
        assert [key for some in rows for key in some.keys] == keys[first:]
        assert [number for some in rows for (number,) in some.matrix] == list(range(first, 10))
        assert first == 10 or rows[0].first == first


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"key": KEYS}, "no column vector"),
        ({"key": [1, 2, 3], "vector": VECTORS}, "column key: int64 is not a string"),
        ({"key": KEYS, "vector": [1, 2, 3]}, "column vector: int64 is not a list of numbers"),
        ({"key": KEYS, "vector": [["a"]] * 3}, "column vector: list<element: string>: vectors"),
        ({"key": ["a", None, "c"], "vector": VECTORS}, "row 1: key: null"),
        ({"key": ["a", "b", "a"], "vector": VECTORS}, "row 2: key: 'a' stands in row 0 already"),
        ({"key": KEYS, "vector": [[1.0], None, [1.0]]}, "row 1: vector: null"),
        ({"key": KEYS, "vector": [[1.0], [None], [1.0]]}, "row 1: vector[0]: null"),
        (
            {"key": KEYS, "vector": [[1.0], [1.0, 2.0], [1.0]]},
            "row 1: vector: 2 numbers, and others have 1",
        ),
        (
            {"key": KEYS, "vector": pa.array([[], [], []], pa.list_(pa.float32()))},
            "row 0: vectors: empty",
        ),
        ({"key": KEYS, "vector": VECTORS, "metadata": ["{}", "x", "{}"]}, "row 1: metadata: not"),
        ({"key": KEYS, "vector": VECTORS, "metadata": [1, 2, 3]}, "row 0: metadata: int is no"),
    ],
)
def test_what_is_no_table_is_refused_by_row(tmp_path, columns, said):
    with pytest.raises(TableError) as raised:
        imported(table_of(tmp_path, columns))
    assert str(raised.value).startswith(f"{tmp_path / 'rows.parquet'}: {said}")


def test_without_pyarrow_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "penin.ingress.tables.parquet", raising=False)
    monkeypatch.delattr("penin.ingress.tables.parquet", raising=False)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UsageError, match=r"penin\[parquet\]"):
        open_table(tmp_path / "rows.parquet")
