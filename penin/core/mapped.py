"""Segments whose vectors are in a mapped file, and are read from the disk when asked for.

A `MappedSegment` is rows of a snapshot of `penin.core.tensors`: metadata and seqs are in the file
too, and keys in memory, so that looking one up never waits for a disk. Of a `SealedSegment` the
numbers alone are in a file, which is a sealed one. What damage there is becomes an error when it is
first read; see `penin.storage.mapped`.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from copy import copy
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from penin.core.segments import Kind, MemorySegment, Segment
from penin.storage.mapped import INTEGER_BYTES, MappedFile


class MappedColumn(NamedTuple):
    """A column in a mapped file: where each of its tensors begins in the data."""

    file: MappedFile
    kind: Kind
    vectors: int
    seqs: int
    metadata_ends: int
    metadata: int


class MappedSegment(Segment):
    """The rows of a mapped column from `first` on, one for each key; all live at first.

    The key of row `row` is `key_text[key_begins[row] : key_begins[row + 1]]`.
    """

    __slots__ = ("_column", "_first", "_key_begins", "_key_text")

    def __init__(
        self, column: MappedColumn, first: int, key_text: bytes, key_begins: NDArray[np.uint32]
    ) -> None:
        super().__init__(column.kind)
        self._column = column
        self._first = first
        self._key_text = key_text
        self._key_begins = array("I", key_begins.tobytes())
        count = len(key_begins) - 1
        self.live = bytearray(b"\1") * count
        self.live_count = count
        self.is_sealed = True

    def for_copying(self, files: dict[int, Any]) -> MappedSegment:
        segment = copy(self)
        segment._column = self._column._replace(file=unchecked(self._column.file, files))  # noqa: SLF001  # of the same class
        return segment

    def numbers(self, row: int) -> memoryview:
        row_bytes = self.kind[1]
        start = self._column.vectors + (self._first + row) * row_bytes
        return self._column.file.read(start, start + row_bytes)

    def matrix(self, count: int) -> NDArray[Any]:
        dtype, row_bytes = self.kind
        start = self._column.vectors + self._first * row_bytes
        flat = np.frombuffer(self._column.file.read(start, start + count * row_bytes), dtype)
        return flat.reshape(count, row_bytes // flat.itemsize)

    def seq(self, row: int) -> int:
        column = self._column
        return column.file.integer(column.seqs + (self._first + row) * INTEGER_BYTES)

    def seqs(self, count: int) -> NDArray[np.int64]:
        return self._integers(self._column.seqs, self._first, count)

    def key(self, row: int) -> bytes:
        begins = self._key_begins
        return self._key_text[begins[row] : begins[row + 1]]

    def key_ends(self, count: int) -> NDArray[np.int64]:
        return np.frombuffer(self._key_begins, np.uintc, count + 1).astype(np.int64)

    def key_text(self, start: int, stop: int) -> bytes:
        return self._key_text[start:stop]

    def metadata(self, row: int) -> bytes:
        column = self._column
        start, stop = self._range(row)
        return bytes(column.file.read(column.metadata + start, column.metadata + stop))

    def metadata_ends(self, count: int) -> NDArray[np.int64]:
        if self._first:
            return self._integers(self._column.metadata_ends, self._first - 1, count + 1)
        ends = self._integers(self._column.metadata_ends, 0, count)
        return np.concatenate((np.zeros(1, np.int64), ends))

    def metadata_text(self, start: int, stop: int) -> bytes:
        column = self._column
        return bytes(column.file.read(column.metadata + start, column.metadata + stop))

    def is_ready(self, row: int) -> bool:
        column = self._column
        start = column.vectors + (self._first + row) * self.kind[1]
        if not column.file.is_checked(start, start + self.kind[1]):
            return False
        # The ends were checked when the file was opened.
        start, stop = self._range(row)
        return column.file.is_checked(column.metadata + start, column.metadata + stop)

    def release(self) -> None:
        start = self._column.vectors + self._first * self.kind[1]
        self._column.file.give_back(start, start + len(self.live) * self.kind[1])

    def _range(self, row: int) -> tuple[int, int]:
        """Where the metadata of a row begins and ends in that of the column."""
        file = self._column.file
        at = self._column.metadata_ends + (self._first + row) * INTEGER_BYTES
        return file.integer(at - INTEGER_BYTES) if self._first + row else 0, file.integer(at)

    def _integers(self, start: int, first: int, count: int) -> NDArray[np.int64]:
        start += first * INTEGER_BYTES
        return np.frombuffer(self._column.file.read(start, start + count * INTEGER_BYTES), "<i8")


class SealedSegment(MemorySegment):
    """Rows whose numbers are in a file, from byte `start` of its data on; the rest is in memory.

    It is filled by one `extend`, and sealed by that.
    """

    __slots__ = ("_file", "_start")

    def __init__(self, kind: Kind, file: MappedFile, start: int) -> None:
        super().__init__(kind, 0)
        self._file = file
        self._start = start

    def fill(
        self, keys: Sequence[bytes], metadata: Sequence[bytes | msgspec.Raw], seqs: Iterable[int]
    ) -> None:
        """Add a live row for each key; their numbers are there already."""
        self.add_rows(keys, metadata, seqs)
        self.is_sealed = True

    def numbers(self, row: int) -> memoryview:
        row_bytes = self.kind[1]
        start = self._start + row * row_bytes
        return self._file.read(start, start + row_bytes)

    def matrix(self, count: int) -> NDArray[Any]:
        dtype, row_bytes = self.kind
        data = self._file.read(self._start, self._start + count * row_bytes)
        flat = np.frombuffer(data, dtype)
        return flat.reshape(count, row_bytes // flat.itemsize)

    def is_ready(self, row: int) -> bool:
        start = self._start + row * self.kind[1]
        return self._file.is_checked(start, start + self.kind[1])

    def for_copying(self, files: dict[int, Any]) -> SealedSegment:
        segment = copy(self)
        segment._file = unchecked(self._file, files)  # noqa: SLF001  # of the same class
        return segment

    def release(self) -> None:
        self._file.give_back(self._start, self._start + len(self.live) * self.kind[1])


def unchecked(file: MappedFile, files: dict[int, Any]) -> MappedFile:
    """The same file, of which every block is checked once in one snapshot; see `for_copying`."""
    found: MappedFile = files.setdefault(id(file), file.unchecked())
    return found
