"""Plain safetensors files: a header in JSON, and tensors behind one another.

The layout: 8 bytes, the length of the header as a little-endian integer; the header, a JSON object
of name -> `{"dtype", "shape", "data_offsets": [begin, end]}`, and `__metadata__`, texts by name;
then the numbers, in C order and little-endian, without a gap between two tensors.
"""

from __future__ import annotations

import math
import mmap
import struct
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from penin.errors import TableError
from penin.storage.files import replace_file

HEADER_BYTES_MAX: Final = 100 * 10**6
"""As in the reference implementation."""
ALIGNMENT_BYTES: Final = 8
DTYPES: Final = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "|i1",
    "U64": "<u8",
    "U32": "<u4",
    "U16": "<u2",
    "U8": "|u1",
    "BOOL": "|b1",
}
"""The dtypes that numpy has, too."""
_NAMES: Final = {text: name for name, text in DTYPES.items()}
_METADATA: Final = "__metadata__"


class Streamed(NamedTuple):
    """A tensor to write, as bytes that are made on the way: C order, little-endian."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    blocks: Iterable[bytes]

    @property
    def size_bytes(self) -> int:
        """How many bytes `blocks` gives in all."""
        return math.prod(self.shape) * self.dtype.itemsize


class _Described(msgspec.Struct, forbid_unknown_fields=True):
    dtype: str
    shape: list[int]
    data_offsets: tuple[int, int]


def read_tensors(path: Path) -> dict[str, NDArray[Any]]:
    """The tensors of a file, as read-only views of it in memory, nothing read before it is used.

    Tensors of a dtype that numpy lacks (BF16, F8, ...) are left out. The file must not be cut
    while a view is in use. Raises OSError, and TableError for what is not such a file.
    """
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(0)
        start = file.read(ALIGNMENT_BYTES)
        if len(start) < ALIGNMENT_BYTES:
            raise TableError(path, None, f"not a safetensors file: {size} bytes")
        (header_bytes,) = struct.unpack("<Q", start)
        if header_bytes > min(HEADER_BYTES_MAX, size - ALIGNMENT_BYTES):
            raise TableError(path, None, f"not a safetensors file: a header of {header_bytes}")
        header = file.read(header_bytes)
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    data_start = ALIGNMENT_BYTES + header_bytes
    described = _described(path, header, size - data_start)
    tensors = {}
    for name, tensor in described.items():
        if tensor.dtype in DTYPES:
            dtype = np.dtype(DTYPES[tensor.dtype])
            offset = data_start + tensor.data_offsets[0]
            count = math.prod(tensor.shape)
            flat = np.frombuffer(mapped, dtype, count, offset) if count else np.empty(0, dtype)
            tensors[name] = flat.reshape(tensor.shape)
    return tensors


def _described(path: Path, header: bytes, data_bytes: int) -> dict[str, _Described]:
    """The header, every part of it checked against the size of the data."""
    try:
        members = msgspec.json.decode(header, type=dict[str, msgspec.Raw])
        members.pop(_METADATA, None)
        described = {
            name: msgspec.json.decode(raw, type=_Described) for name, raw in members.items()
        }
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise TableError(path, "header", f"not that of a safetensors file: {error}") from error
    position = 0
    for name, tensor in sorted(described.items(), key=lambda item: item[1].data_offsets):
        begin, end = tensor.data_offsets
        if begin != position or not begin <= end <= data_bytes:
            reason = f"bytes {begin} to {end} do not follow byte {position} of {data_bytes}"
            raise TableError(path, f"tensor {name}", reason)
        if any(length < 0 for length in tensor.shape):
            raise TableError(path, f"tensor {name}", f"shape {tensor.shape}")
        if tensor.dtype in DTYPES:
            expected = math.prod(tensor.shape) * np.dtype(DTYPES[tensor.dtype]).itemsize
            if end - begin != expected:
                reason = f"{end - begin} bytes, and its shape asks for {expected}"
                raise TableError(path, f"tensor {name}", reason)
        position = end
    if position != data_bytes:
        raise TableError(path, None, f"{data_bytes - position} bytes after the last tensor")
    return described


def write_tensors(
    path: Path,
    tensors: Mapping[str, NDArray[Any] | Streamed],
    metadata: Mapping[str, str],
) -> None:
    """Write a file, atomically and durably; the largest items first, so that all are aligned.

    Raises OSError; then what was there before is there. Nothing larger than a block of a streamed
    tensor is copied. dtypes are those of `DTYPES`.
    """
    streamed = {
        name: tensor if isinstance(tensor, Streamed) else _streamed(tensor)
        for name, tensor in tensors.items()
    }
    replace_file(path, _chunks(streamed, metadata))


def _streamed(array: NDArray[Any]) -> Streamed:
    little = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False)
    return Streamed(little.dtype, array.shape, [little.tobytes()])


def _chunks(tensors: Mapping[str, Streamed], metadata: Mapping[str, str]) -> Iterator[bytes]:
    # Stable: tensors of the same item size keep the order in which they were given.
    ordered = sorted(tensors.items(), key=lambda item: -item[1].dtype.itemsize)
    header: dict[str, Any] = {_METADATA: dict(metadata)} if metadata else {}
    position = 0
    for name, tensor in ordered:
        header[name] = {
            "dtype": _NAMES[tensor.dtype.str],
            "shape": tensor.shape,
            "data_offsets": (position, position + tensor.size_bytes),
        }
        position += tensor.size_bytes
    encoded = msgspec.json.encode(header)
    encoded += b" " * (-len(encoded) % ALIGNMENT_BYTES)
    yield struct.pack("<Q", len(encoded)) + encoded
    for name, tensor in ordered:
        size = 0
        for block in tensor.blocks:
            size += len(block)
            yield block
        assert size == tensor.size_bytes, f"{name}: {size} bytes for {tensor.size_bytes}"
