"""JSON lines as a table."""

from __future__ import annotations

import numpy as np
import pytest

from penin.errors import TableError, UsageError
from penin.ingress.tables.opening import open_table
from tests.ingress.tables.samples import imported


def table_of(tmp_path, *lines):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"\n".join(line.encode() if isinstance(line, str) else line for line in lines))
    return open_table(path)


def test_each_row_says_what_it_is(tmp_path):
    made = imported(
        table_of(
            tmp_path,
            '{"key": "a", "vector": [1, 2]}',
            '{"key": "b", "vector": [1, 2.5], "metadata": {"n": 1}}',
            '{"key": "c", "vector": [1], "dtype": "uint8", "metadata": null}',
        )
    )
    assert [(artifact.dtype.name, artifact.vector) for artifact in made.values()] == [
        ("int64", [1, 2]),
        ("float64", [1.0, 2.5]),
        ("uint8", [1]),
    ]
    assert made["b"].metadata == {"n": 1}


def test_rows_of_one_kind_come_as_one_matrix_and_empty_lines_are_skipped(tmp_path):
    row = '{{"key": "{}", "vector": [1.5]}}'
    lines = [row.format("a"), row.format("b"), "", " \r", row.format("c"), row.format("d"), ""]
    table = table_of(tmp_path, *lines)
    blocks = list(table.read_rows(0))
    assert [(rows.first, rows.keys, rows.stop) for rows in blocks] == [
        (0, ["a", "b"], 2),
        (4, ["c", "d"], 6),
    ]
    assert np.array_equal(blocks[0].matrix, [[1.5], [1.5]])
    assert blocks[0].metadata is None
    assert [rows.keys for rows in table.read_rows(5)] == [["d"]]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("nope", "row: JSON is malformed"),
        ("[]", "row: Expected `object`, got `array`"),
        ('{"key": "b", "x": ' + "[" * 100_000, "row: nested too deep"),
        (b'{"key": "\xff"}', "row: not valid UTF-8"),
        ('{"vector": [1]}', "row: Object missing required field `key`"),
        ('{"key": 1, "vector": [1]}', "row: Expected `str`, got `int` - at `$.key`"),
        ('{"key": "a", "vector": [2]}', "key: 'a' stands in line 1 already"),
        ('{"key": "", "vector": [2]}', "key: empty"),
        ('{"key": "b"}', "row: Object missing required field `vector`"),
        ('{"key": "b", "vector": [1], "text": ""}', "row: Object contains unknown field `text`"),
        ('{"key": "b", "vector": 1}', "vector: int is not a list of numbers"),
        ('{"key": "b", "vector": []}', "vector: empty"),
        ('{"key": "b", "vector": [1, "x"]}', "vector[1]: str is not a number"),
        ('{"key": "b", "vector": [1], "dtype": "half"}', "dtype: 'half' is none of"),
        ('{"key": "b", "vector": [300], "dtype": "uint8"}', "vector"),
        ('{"key": "b", "vector": [1], "metadata": []}', "metadata: list is not a JSON object"),
    ],
)
def test_a_bad_row_is_named_by_its_line(tmp_path, line, said):
    table = table_of(tmp_path, '{"key": "a", "vector": [1]}', "", line)
    with pytest.raises(TableError) as raised:
        imported(table)
    assert str(raised.value).startswith(f"{tmp_path / 'rows.jsonl'}: line 3: {said}")


def test_files_beside_are_a_mistake_of_usage(tmp_path):
    (tmp_path / "rows.jsonl").touch()
    with pytest.raises(UsageError, match="in no file beside it"):
        open_table(tmp_path / "rows.jsonl", tmp_path / "keys.txt")


def test_a_file_that_is_not_there_is_an_error_of_the_system(tmp_path):
    with pytest.raises(FileNotFoundError):
        open_table(tmp_path / "rows.jsonl")
