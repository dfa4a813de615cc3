"""Plain safetensors files: ours are read by others and theirs by us, and no header is trusted."""

from __future__ import annotations

import contextlib
import json
import struct

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penin.errors import TableError
from penin.ingress.safetensors import Streamed, read_tensors, write_tensors

in_one_directory = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])

TENSORS = {
    "vectors": np.arange(12, dtype="<f4").reshape(4, 3),
    "bytes": np.frombuffer(b"odd", np.uint8),
    "ends": np.array([1, 2, 3], np.int64),
    "nothing": np.empty((0, 7), np.float64),
    "scalar": np.array(5, np.int16),
}


def same(left, right):
    return left.keys() == right.keys() and all(
        left[name].dtype == right[name].dtype
        and left[name].shape == right[name].shape
        and left[name].tobytes() == right[name].tobytes()
        for name in left
    )


def file_of(tmp_path, header, data=b""):
    encoded = header if isinstance(header, bytes) else json.dumps(header).encode()
    path = tmp_path / "made.safetensors"
    path.write_bytes(struct.pack("<Q", len(encoded)) + encoded + data)
    return path


def described(dtype="U8", shape=(3,), begin=0, end=3):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}


def test_what_is_written_is_read(tmp_path):
    write_tensors(tmp_path / "a.safetensors", TENSORS, {"made": "here"})
    assert same(read_tensors(tmp_path / "a.safetensors"), TENSORS)


def test_numbers_are_aligned_and_read_only_views(tmp_path):
    write_tensors(tmp_path / "a.safetensors", TENSORS, {})
    for tensor in read_tensors(tmp_path / "a.safetensors").values():
        assert tensor.flags.aligned
        assert tensor.size == 0 or not tensor.flags.writeable


def test_the_reference_implementation_reads_ours_and_we_read_its(tmp_path):
    numpy_files = pytest.importorskip("safetensors.numpy")
    write_tensors(tmp_path / "ours.safetensors", TENSORS, {"made": "here"})
    assert same(numpy_files.load_file(tmp_path / "ours.safetensors"), TENSORS)
    numpy_files.save_file(TENSORS, tmp_path / "theirs.safetensors", {"made": "there"})
    assert same(read_tensors(tmp_path / "theirs.safetensors"), TENSORS)


def test_a_tensor_is_written_as_a_stream(tmp_path):
    blocks = (bytes([number]) * 4 for number in range(3))
    streamed = Streamed(np.dtype("<i4"), (3,), blocks)
    write_tensors(tmp_path / "a.safetensors", {"x": streamed}, {})
    assert read_tensors(tmp_path / "a.safetensors")["x"].tolist() == [0, 0x01010101, 0x02020202]


def test_big_endian_numbers_and_other_orders_are_written_as_the_format_has_them(tmp_path):
    given_tensors = {"x": np.asfortranarray(np.arange(6, dtype=">i4").reshape(2, 3))}
    write_tensors(tmp_path / "a.safetensors", given_tensors, {})
    read = read_tensors(tmp_path / "a.safetensors")["x"]
    assert read.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert read.dtype.str == "<i4"


def test_a_failure_leaves_what_was_there(tmp_path):
    path = tmp_path / "a.safetensors"
    write_tensors(path, TENSORS, {})

    def failing():
        yield b"1234"
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        write_tensors(path, {"x": Streamed(np.dtype("<i4"), (3,), failing())}, {})
    assert same(read_tensors(path), TENSORS)
    assert list(tmp_path.iterdir()) == [path]


def test_dtypes_that_numpy_lacks_are_left_out(tmp_path):
    path = file_of(tmp_path, {"a": described("BF16", (1,), 0, 2), "b": described(begin=2, end=5)})
    path.write_bytes(path.read_bytes() + b"12345")
    assert list(read_tensors(path)) == ["b"]


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (b"{", "header"),
        (b"[]", "header"),
        (b"[" * 100_000, "header"),
        ({"a": 1}, "header"),
        ({"a": described(shape=(2**63, 2**63))}, "asks for"),
        ({"a": described(shape=(-1, -3))}, "shape"),
        ({"a": described(shape=(4,))}, "asks for 4"),
        ({"a": described(begin=-1, end=2)}, "do not follow"),
        ({"a": described(begin=1, end=4)}, "do not follow"),
        ({"a": described(shape=(4,), end=4)}, "do not follow"),
        ({"a": described(), "b": described()}, "do not follow"),
        ({"a": described(shape=(2,), end=2)}, "1 bytes after"),
        ({"a": described() | {"more": 1}}, "header"),
    ],
)
def test_a_header_that_lies_is_refused(tmp_path, header, reason):
    with pytest.raises(TableError, match=reason):
        read_tensors(file_of(tmp_path, header, b"123"))


@pytest.mark.parametrize("size", [0, 2**63, 2**64 - 1, 200_000_000])
def test_a_length_that_lies_is_refused(tmp_path, size):
    (tmp_path / "a").write_bytes(struct.pack("<Q", size) + b"{}"[: 2 * bool(size)])
    with pytest.raises(TableError):
        read_tensors(tmp_path / "a")


@in_one_directory
@given(data=st.binary(max_size=40), cut=st.integers(0, 800), place=st.integers(0, 400))
def test_whatever_is_in_a_file_it_is_read_or_refused(tmp_path, data, cut, place):
    path = tmp_path / "whole.safetensors"
    if not path.exists():
        write_tensors(path, TENSORS, {})
    whole = path.read_bytes()
    spoiled = (whole[:place] + data + whole[place + len(data) :])[: max(len(whole) - cut, cut)]
    path = tmp_path / "spoiled.safetensors"
    path.write_bytes(spoiled)
    with contextlib.suppress(TableError):
        tensors = read_tensors(path)
        assert sum(tensor.nbytes for tensor in tensors.values()) <= len(spoiled)
