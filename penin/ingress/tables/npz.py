"""The arrays of a `.npz` file, read and written as a stream: none of them is in memory whole.

A `.npz` file is a ZIP archive of `.npy` files. Nothing in it is unpickled.
"""

from __future__ import annotations

import ast
import io
import lzma
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from penin.errors import TableError
from penin.ingress.tables.sink import Sink
from penin.ingress.tables.table import Place, block_rows

MALFORMED: Final = (
    ValueError,
    KeyError,  # no such array in the archive
    EOFError,
    NotImplementedError,  # a later version of ZIP
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
)
"""What numpy and zipfile raise for files that are none of theirs."""
_NO_LITERAL: Final = (ValueError, TypeError, SyntaxError, MemoryError, RecursionError)
"""What `ast.literal_eval` raises, by its documentation, for texts of any length that are none."""
_SUFFIX: Final = ".npy"
_DATE: Final = (1980, 1, 1, 0, 0, 0)  # the same arrays make the same file
_LENGTHS: Final = {(1, 0): struct.Struct("<H"), (2, 0): struct.Struct("<I")}
"""Version -> the length of the header. A third one has names of fields, which no table has."""
_HEADER_BYTES_MAX: Final = 10_000
_MEMBERS: Final = {"descr", "fortran_order", "shape"}


class Header(NamedTuple):
    """What a `.npy` file says about its array."""

    shape: tuple[int, ...]
    is_fortran: bool
    dtype: np.dtype[Any]


def read_npy_header(file: IO[bytes]) -> Header:
    """Read a header, up to where the numbers begin. Raises one of MALFORMED.

    Not by numpy, which warns about some of the malformed headers and repairs others.
    """
    version = np.lib.format.read_magic(file)
    length = _LENGTHS.get(version)
    if length is None:
        raise ValueError(f"version {version} of .npy")
    (header_bytes,) = length.unpack(file.read(length.size))
    if header_bytes > _HEADER_BYTES_MAX:
        raise ValueError(f"a header of {header_bytes} bytes")
    try:
        members = ast.literal_eval(file.read(header_bytes).decode("latin-1").strip())
    except _NO_LITERAL as error:
        raise ValueError(f"a header that is no literal: {error}") from error
    if not isinstance(members, dict) or members.keys() != _MEMBERS:
        raise ValueError("not the members of a header")
    shape, is_fortran = members["shape"], members["fortran_order"]
    if not isinstance(shape, tuple) or not all(type(n) is int and n >= 0 for n in shape):
        raise ValueError(f"the shape {shape}")
    try:
        dtype = np.lib.format.descr_to_dtype(members["descr"])
    except (ValueError, TypeError, LookupError) as error:
        raise ValueError(f"no dtype: {error}") from error
    if dtype.hasobject:
        raise ValueError("Python objects, which are not read (no pickle)")
    return Header(shape, is_fortran is True, dtype)


def npz_names(path: Path) -> set[str]:
    """The names of the arrays in a file. Raises TableError, OSError."""
    with _malformed(path, None), zipfile.ZipFile(path) as archive:
        return {name.removesuffix(_SUFFIX) for name in archive.namelist()}


class NpzArray:
    """One array of a `.npz` file, with what its header says. Raises TableError, OSError."""

    def __init__(self, path: Path, name: str) -> None:
        self._path = path
        self._name = name
        with self._opened() as (_, header):
            self.shape = header.shape
            self.dtype = header.dtype
        if header.is_fortran and len(self.shape) > 1 and min(self.shape) > 1:
            reason = "in Fortran order, which cannot be read row by row: np.ascontiguousarray"
            raise TableError(path, name, reason)

    @contextmanager
    def _opened(self) -> Iterator[tuple[IO[bytes], Header]]:
        with (
            _malformed(self._path, self._name),
            zipfile.ZipFile(self._path) as archive,
            self._entry(archive) as file,
        ):
            yield file, read_npy_header(file)

    def _entry(self, archive: zipfile.ZipFile) -> IO[bytes]:
        try:
            return archive.open(self._name + _SUFFIX)
        except RuntimeError as error:
            # Encrypted, or compressed in a way that zipfile or this Python does not have. From
            # here only: anywhere else a RuntimeError is a bug of ours, and no malformed file.
            raise TableError(self._path, self._name, f"cannot be read: {error}") from error

    def blocks(self, first: int) -> Iterator[NDArray[Any]]:
        """The rows from `first` on, in blocks."""
        row_bytes = int(np.prod(self.shape[1:], dtype=object)) * self.dtype.itemsize
        rows = block_rows(row_bytes)
        with self._opened() as (file, _):
            _skip(file, first * row_bytes)
            for start in range(first, self.shape[0], rows):
                count = min(rows, self.shape[0] - start)
                data = file.read(count * row_bytes)
                if len(data) < count * row_bytes:
                    raise TableError(self._path, self._name, "the file ends before the array")
                yield np.frombuffer(data, self.dtype).reshape(count, *self.shape[1:])


def _skip(file: IO[bytes], size: int) -> None:
    """Read on by `size` bytes; less where the file ends before, which the next reading finds."""
    while size > 0 and (piece := file.read(min(size, 2**20))):
        size -= len(piece)


class NpzTexts:
    """Texts in a `.npz` file: a one-dimensional array of str. See `Texts`."""

    def __init__(self, path: Path, name: str) -> None:
        self._array = NpzArray(path, name)
        self._path = path
        if self._array.dtype.kind != "U" or len(self._array.shape) != 1:
            reason = f"{self._array.dtype} {self._array.shape} is not an array of str, (rows,)"
            raise TableError(path, name, reason)

    def texts(self, first: int) -> Iterator[str]:
        if self._array.dtype.itemsize == 0:  # numpy has no room for a single empty text
            yield from [""] * (self._array.shape[0] - first)
            return
        for block in self._array.blocks(first):
            with _malformed(self._path, "texts"):  # characters beyond Unicode
                texts = block.tolist()
            yield from texts

    def place(self, row: int) -> Place:
        return Place(self._path, f"row {row}")


@contextmanager
def _malformed(path: Path, place: str | None) -> Iterator[None]:
    try:
        yield
    except MALFORMED as error:
        raise TableError(path, place, f"not an array of a .npz file: {error}") from error


# -- writing ----------------------------------------------------------------------------------


def npy_header(shape: tuple[int, ...], dtype: np.dtype[Any]) -> bytes:
    """What a `.npy` file begins with."""
    header = io.BytesIO()
    described = {"descr": dtype.str, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(header, described)
    return header.getvalue()


def npz_chunks(arrays: Mapping[str, Iterable[bytes]]) -> Iterator[bytes]:
    """The bytes of a `.npz` file; each array is the bytes of a `.npy` file."""
    sink = Sink()
    # A stream has no place to go back to, and zipfile then writes sizes after the data.
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as archive:
        for name, blocks in arrays.items():
            entry = zipfile.ZipInfo(name + _SUFFIX, _DATE)
            with archive.open(entry, "w", force_zip64=True) as file:
                for block in blocks:
                    file.write(block)
                    yield sink.taken()
    yield sink.taken()
