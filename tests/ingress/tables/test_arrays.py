"""`.npy`, `.npz` and `.safetensors`: what is refused, and how it is named."""

from __future__ import annotations

import contextlib
import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penin.errors import RefusedError, TableError, UsageError
from penin.ingress.safetensors import write_tensors
from penin.ingress.tables.opening import open_table
from penin.ingress.tables.table import check_table, refused_at_door
from tests.ingress.tables.samples import base, beside, imported, written

MATRIX = np.arange(6, dtype="float32").reshape(3, 2)


def npy(tmp_path, matrix=MATRIX, keys="a\nb\nc\n", metadata=None):
    """Path, keys and metadata of a `.npy` file, for `open_table`."""
    np.save(tmp_path / "v.npy", matrix)
    (tmp_path / "k.txt").write_bytes(keys if isinstance(keys, bytes) else keys.encode())
    if metadata is not None:
        (tmp_path / "m.jsonl").write_text(metadata)
    return tmp_path / "v.npy", tmp_path / "k.txt", tmp_path / "m.jsonl" if metadata else None


def refusal(*paths):
    """The sentence about a table, without the directory."""
    with pytest.raises(TableError) as raised:
        imported(open_table(*paths))
    return str(raised.value).replace(f"{paths[0].parent}/", "")


def test_a_matrix_its_keys_and_its_metadata_are_put_together(tmp_path):
    table = open_table(*npy(tmp_path, metadata='{"n": 1}\n{}\n{"n": 3}'))
    made = imported(table)
    assert {key: artifact.vector for key, artifact in made.items()} == {
        "a": [0.0, 1.0],
        "b": [2.0, 3.0],
        "c": [4.0, 5.0],
    }
    assert [artifact.metadata for artifact in made.values()] == [{"n": 1}, {}, {"n": 3}]


@pytest.mark.parametrize(
    "matrix", [np.asfortranarray(MATRIX), MATRIX.astype(">f4"), np.ascontiguousarray(MATRIX)]
)
def test_every_order_of_a_matrix_is_read(tmp_path, matrix):
    made = imported(open_table(*npy(tmp_path, matrix)))
    assert made["b"].vector == [2.0, 3.0]
    assert made["b"].dtype.str == "<f4"


@pytest.mark.parametrize(
    ("matrix", "said"),
    [
        (np.arange(3.0), "v.npy: vectors: shape (3,) is not two-dimensional"),
        (np.zeros((3, 0)), "v.npy: vectors: empty; a vector has at least one element"),
        (np.zeros((3, 2), "float16"), "v.npy: vectors: dtype float16 is none of float32"),
        (np.zeros((3, 2), bool), "v.npy: vectors: dtype bool is none of"),
        (np.zeros((3, 2), "U3"), "v.npy: vectors: dtype <U3 is none of"),
        (np.zeros((1, 2**20)), "v.npy: vectors: a vector of 8388608 bytes is over"),
    ],
)
def test_what_is_no_matrix_of_vectors_is_refused(tmp_path, matrix, said):
    assert refusal(*npy(tmp_path, matrix)).startswith(said)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ("a\nb\n", "k.txt: line 3: key: nothing stands here, and v.npy has 3 rows"),
        ("a\nb\nc\nd\n", "k.txt: line 4: key: one more, and v.npy has 3 rows"),
        ("a\nb\na\n", "k.txt: line 3: key: 'a' stands in line 1 already"),
        ("a\n\nc\n", "k.txt: line 2: key: empty"),
        (f"a\nb\n{'c' * 1025}", "k.txt: line 3: key: 1025 bytes are over the limit of 1024"),
        (b"a\n\xff\nc\n", "k.txt: line 2: not valid UTF-8: invalid start byte"),
        (b"a" * (9 * 2**20), "k.txt: line 1: longer than the 8388608 bytes that a line may have"),
    ],
)
def test_keys_are_checked_before_anything_is_sent(tmp_path, keys, said):
    path, keys_path, _ = npy(tmp_path, keys=keys)
    with pytest.raises(TableError) as raised:
        check_table(open_table(path, keys_path), lambda _: None)
    assert str(raised.value).replace(f"{tmp_path}/", "") == said


def test_keys_in_json_are_named_by_line(tmp_path):
    path, _, _ = npy(tmp_path)
    keys = tmp_path / "k.jsonl"
    keys.write_text('"a"\n"b\\n"\n"\\u00e9"\n')
    assert list(imported(open_table(path, keys))) == ["a", "b\n", "é"]
    keys.write_text('"a"\n7\n"c"\n')
    assert refusal(path, keys) == "k.jsonl: line 2: key: int is not a string"
    keys.write_text('"a"\nb\n"c"\n')
    assert refusal(path, keys).startswith("k.jsonl: line 2: key: not JSON")


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        ("{}\n{}\n", "m.jsonl: line 3: metadata: nothing stands here, and v.npy has 3 rows"),
        ("{}\n{}\n{}\n{}\n", "m.jsonl: line 4: metadata: one more, and v.npy has 3 rows"),
        ("{}\n{}\n[]\n", "m.jsonl: line 3: metadata: list is not a JSON object"),
        ("{}\n{\n{}\n", "m.jsonl: line 2: metadata: not JSON"),
        ("{}\n{}\n" + '{"a":' * 9999, "m.jsonl: line 3: metadata: nested too deep"),
        ('{}\n{}\n{"__type__": "x"}\n', "__type__: this key is reserved"),
        ('{}\n{"a": {"__type__": "float", "value": "x"}}\n{}\n', "m.jsonl: line 2: metadata: "),
    ],
)
def test_metadata_is_named_by_its_line(tmp_path, metadata, said):
    assert said in refusal_of_import(npy(tmp_path, metadata=metadata))


def refusal_of_import(paths):
    """The same where the door refuses it."""
    table = open_table(*paths)
    with pytest.raises((TableError, RefusedError)) as raised:
        imported(table)
    return str(raised.value).replace(f"{paths[0].parent}/", "")


def test_what_the_door_refuses_is_named_by_file_and_row(tmp_path):
    table = open_table(*npy(tmp_path, metadata="{}\n{}\n{}"))
    (rows,) = table.read_rows(0)
    for field, said in [
        ("matrix[1][3]", "v.npy: row 1: vector[3]: why"),
        ("keys[2]", "k.txt: line 3: key: why"),
        ("metadata[0].a.b", "m.jsonl: line 1: metadata.a.b: why"),
        ("keys", "v.npy: rows from 0: keys: why"),
    ]:
        error = refused_at_door(table, rows, RefusedError(field, "why"))
        assert str(error).replace(f"{tmp_path}/", "") == said


def test_arrays_of_text_in_npz_are_keys_and_metadata(tmp_path):
    path = tmp_path / "v.npz"
    objects = np.array([json.dumps({"n": n}) for n in range(3)])
    for save in (np.savez, np.savez_compressed):
        save(path, vectors=MATRIX, keys=np.array(["a", "b", "é"]), metadata=objects, more=MATRIX)
        made = imported(open_table(path))
        assert list(made) == ["a", "b", "é"]
        assert made["é"].metadata == {"n": 2}


def test_files_beside_go_before_what_is_in_the_table(tmp_path):
    _, keys, metadata = npy(tmp_path, keys="x\ny\nz", metadata='{"n": 1}\n{}\n{}')
    np.savez(tmp_path / "v.npz", vectors=MATRIX, keys=np.array(["a", "b", "c"]))
    write_tensors(tmp_path / "v.safetensors", {"vectors": MATRIX}, {})
    for name in ("v.npz", "v.safetensors"):
        made = imported(open_table(tmp_path / name, keys, metadata))
        assert list(made) == ["x", "y", "z"]
        assert made["x"].metadata == {"n": 1}


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"keys": np.array(["a"])}, "v.npz: no array vectors"),
        ({"vectors": MATRIX, "keys": np.arange(3)}, "v.npz: keys: int64 (3,) is not an array of"),
        (
            {"vectors": MATRIX, "keys": np.array([["a"]])},
            "v.npz: keys: <U1 (1, 1) is not an array of str",
        ),
        (
            {"vectors": np.asfortranarray(MATRIX), "keys": np.array(["a", "b", "c"])},
            "v.npz: vectors: in Fortran order",
        ),
        (
            {"vectors": MATRIX, "keys": np.array(["a", "b", "a"])},
            "v.npz: row 2: key: 'a' stands in row 0 already",
        ),
        (
            {"vectors": MATRIX, "keys": np.array(["a", "b"])},
            "v.npz: row 2: key: nothing stands here",
        ),
    ],
)
def test_an_npz_that_is_no_table_is_refused(tmp_path, arrays, said):
    np.savez(tmp_path / "v.npz", **arrays)
    assert refusal(tmp_path / "v.npz").startswith(said)


@pytest.mark.parametrize(
    ("offset", "value", "said"),
    [
        (0, 1, "v.npz: vectors: cannot be read: File 'vectors.npy' is encrypted"),
        (2, 99, "v.npz: vectors: cannot be read: That compression method is not supported"),
    ],
    ids=["encrypted", "unknown compression"],
)
def test_an_array_that_zipfile_cannot_open_is_named(tmp_path, offset, value, said):
    path = tmp_path / "v.npz"
    np.savez(path, vectors=MATRIX, keys=np.array(["a", "b", "c"]))
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x03\x04") + 6 + offset] = value
    content[content.index(b"PK\x01\x02") + 8 + offset] = value
    path.write_bytes(bytes(content))
    assert refusal(path).startswith(said)


def test_a_later_version_of_zip_is_told(tmp_path):
    path = tmp_path / "v.npz"
    np.savez(path, vectors=MATRIX, keys=np.array(["a", "b", "c"]))
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 6] = 99
    path.write_bytes(bytes(content))
    assert "zip file version 9.9" in refusal(path)


def test_a_bug_while_an_array_is_read_is_not_taken_for_a_malformed_file(tmp_path, monkeypatch):
    np.savez(tmp_path / "v.npz", vectors=MATRIX, keys=np.array(["a", "b", "c"]))

    def broken(_file):
        raise RuntimeError("of ours")

    monkeypatch.setattr("penin.ingress.tables.npz.read_npy_header", broken)
    with pytest.raises(RuntimeError, match="of ours"):
        open_table(tmp_path / "v.npz")


def test_python_objects_are_never_read(tmp_path):
    objects = np.array([{"a": 1}, None, []], dtype=object)
    np.savez(tmp_path / "v.npz", vectors=MATRIX, keys=objects, allow_pickle=True)
    assert "Python objects, which are not read" in refusal(tmp_path / "v.npz")
    np.save(tmp_path / "o.npy", objects.reshape(3, 1), allow_pickle=True)
    _, keys, _ = npy(tmp_path)
    assert "Python objects, which are not read" in refusal(tmp_path / "o.npy", keys)


def test_ends_that_lie_in_safetensors_are_named_by_row(tmp_path):
    path = tmp_path / "v.safetensors"
    data = np.frombuffer(b"abc", np.uint8)
    for ends, said in [
        ([1, 2, 9], "v.safetensors: row 2: keys_ends[2] is 9"),
        ([1, 0, 3], "v.safetensors: row 1: keys_ends[1] is 0"),
        ([-1, 2, 3], "v.safetensors: row 0: keys_ends[0] is -1"),
    ]:
        tensors = {"vectors": MATRIX, "keys": data, "keys_ends": np.array(ends, np.int64)}
        write_tensors(path, tensors, {})
        assert refusal(path) == said
    write_tensors(path, {"vectors": MATRIX, "keys": MATRIX, "keys_ends": data}, {})
    assert refusal(path).startswith("v.safetensors: keys: float32 (3, 2) is not uint8")


@pytest.mark.parametrize("name", ["v.npy", "v.npz", "v.safetensors", "v.csv", "v"])
def test_a_table_without_keys_or_of_another_format_is_a_mistake_of_usage(tmp_path, name):
    np.save(tmp_path / "v.npy", MATRIX)
    np.savez(tmp_path / "v.npz", vectors=MATRIX)
    write_tensors(tmp_path / "v.safetensors", {"vectors": MATRIX}, {})
    with pytest.raises(UsageError):
        open_table(tmp_path / name)


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".safetensors", ".jsonl", ".parquet"])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=30), cut=st.integers(0, 2000), place=st.integers(0, 2000))
def test_whatever_is_in_a_file_it_is_a_table_or_refused(tmp_path, suffix, data, cut, place):
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    path = tmp_path / f"whole{suffix}"
    if not path.exists():
        written(path, base(9))
    whole = path.read_bytes()
    place %= len(whole)
    spoiled = (whole[:place] + data + whole[place + len(data) :])[: max(len(whole) - cut, cut)]
    keys, metadata = beside(path)
    path = tmp_path / f"spoiled{suffix}"
    path.write_bytes(spoiled)
    with contextlib.suppress(TableError, RefusedError, UsageError):
        imported(open_table(path, keys, metadata))
