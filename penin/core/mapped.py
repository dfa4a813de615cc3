"""Segments in a mapped file: vectors, keys and metadata that are read from the disk when asked for.

The file is a snapshot of `penin.core.tensors`, mapped into memory. Each MiB of its data has a
digest, and is checked against it when it is first read, so what damage there is becomes a
CorruptionError with file and position, and never a number. The first read of a block so costs
about a millisecond, and as long as the disk takes where the block is not in the page cache. A
block that was checked may leave the page cache again when memory is short; reading it then waits
for the disk, too. A disk that cannot read a page of a mapped file ends the process (SIGBUS): the
kernel has no other way to tell it.

A mapped file stays mapped as long as a segment, a view or an artifact refers to it, and its space
on the disk is given back after that, also where a newer snapshot has long taken its name.
"""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from penin.core.segments import Kind, Segment
from penin.errors import CorruptionError
from penin.storage.filesystem import give_back

BLOCK_BYTES: Final = 2**20
"""What has a digest of its own."""
DIGEST_BYTES: Final = 32
INTEGER_BYTES: Final = 8
_integer: Final = struct.Struct("<q").unpack_from


class MappedFile:
    """The data of a snapshot, and which of its blocks were checked. Any thread may read it.

    `data` is what the digests are of, without the header, which ends at byte `begin` of the file.
    The digests are a copy: comparing with what is mapped could hold the interpreter while it waits.
    """

    __slots__ = ("_begin", "_checked", "_data", "_digests", "_path")

    def __init__(self, path: Path, begin: int, data: memoryview, digests: bytes) -> None:
        self._path = path
        self._begin = begin
        self._data = data
        self._digests = digests
        self._checked = bytearray(len(digests) // DIGEST_BYTES)

    def unchecked(self) -> MappedFile:
        """The same file, of which every block is checked once more when it is first read."""
        return MappedFile(self._path, self._begin, self._data, self._digests)

    def is_checked(self, start: int, stop: int) -> bool:
        """Whether the blocks that hold these bytes were all read before."""
        return 0 not in self._checked[start // BLOCK_BYTES : -(-stop // BLOCK_BYTES)]

    def read(self, start: int, stop: int) -> memoryview:
        """These bytes of the data, checked; raises CorruptionError."""
        number = start // BLOCK_BYTES
        while number * BLOCK_BYTES < stop:
            if not self._checked[number]:
                self._check(number)
            number += 1
        return self._data[start:stop]

    def integer(self, start: int) -> int:
        """The 64-bit integer that begins at a byte; raises CorruptionError."""
        number: int = _integer(self.read(start, start + INTEGER_BYTES))[0]
        return number

    def give_back(self, start: int, stop: int) -> None:
        """Let these bytes leave the memory of the process; they stay in the page cache."""
        give_back(self._data, self._begin + start, self._begin + stop)

    def _check(self, number: int) -> None:
        start = number * BLOCK_BYTES
        digest = hashlib.sha256(self._data[start : start + BLOCK_BYTES]).digest()
        if digest != self._digests[number * DIGEST_BYTES : (number + 1) * DIGEST_BYTES]:
            reason = "the digest of this block is not right"
            raise CorruptionError(self._path, self._begin + start, reason)
        # Two threads may check the same block; they find the same.
        self._checked[number] = 1


class MappedColumn(NamedTuple):
    """A column in a mapped file: where each of its tensors begins in the data."""

    file: MappedFile
    kind: Kind
    vectors: int
    seqs: int
    key_ends: int
    metadata_ends: int
    keys: int
    metadata: int


class MappedSegment(Segment):
    """The rows of a mapped column from `first` on, so many as `live` has; all live at first."""

    __slots__ = ("_column", "_first")

    def __init__(self, column: MappedColumn, first: int, count: int) -> None:
        super().__init__(column.kind)
        self._column = column
        self._first = first
        self.live = bytearray(b"\1") * count
        self.live_count = count
        self.is_sealed = True

    def for_copying(self, files: dict[int, Any]) -> MappedSegment:
        file = self._column.file
        unchecked = files.setdefault(id(file), file.unchecked())
        column = self._column._replace(file=unchecked)
        return MappedSegment(column, self._first, len(self.live))

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
        column = self._column
        start, stop = self._range(column.key_ends, row)
        return bytes(column.file.read(column.keys + start, column.keys + stop))

    def key_ends(self, count: int) -> NDArray[np.int64]:
        return self._ends(self._column.key_ends, count)

    def key_text(self, start: int, stop: int) -> bytes:
        column = self._column
        return bytes(column.file.read(column.keys + start, column.keys + stop))

    def metadata(self, row: int) -> bytes:
        column = self._column
        start, stop = self._range(column.metadata_ends, row)
        return bytes(column.file.read(column.metadata + start, column.metadata + stop))

    def metadata_ends(self, count: int) -> NDArray[np.int64]:
        return self._ends(self._column.metadata_ends, count)

    def metadata_text(self, start: int, stop: int) -> bytes:
        column = self._column
        return bytes(column.file.read(column.metadata + start, column.metadata + stop))

    def is_ready(self, row: int) -> bool:
        column = self._column
        start = column.vectors + (self._first + row) * self.kind[1]
        if not column.file.is_checked(start, start + self.kind[1]):
            return False
        # The ends were checked when the file was opened.
        start, stop = self._range(column.metadata_ends, row)
        return column.file.is_checked(column.metadata + start, column.metadata + stop)

    def release(self) -> None:
        start = self._column.vectors + self._first * self.kind[1]
        self._column.file.give_back(start, start + len(self.live) * self.kind[1])

    def _range(self, ends: int, row: int) -> tuple[int, int]:
        """Where the text of a row begins and ends among the texts of the column."""
        file, at = self._column.file, ends + (self._first + row) * INTEGER_BYTES
        return file.integer(at - INTEGER_BYTES) if self._first + row else 0, file.integer(at)

    def _ends(self, ends: int, count: int) -> NDArray[np.int64]:
        if self._first:
            return self._integers(ends, self._first - 1, count + 1)
        return np.concatenate((np.zeros(1, np.int64), self._integers(ends, 0, count)))

    def _integers(self, start: int, first: int, count: int) -> NDArray[np.int64]:
        start += first * INTEGER_BYTES
        return np.frombuffer(self._column.file.read(start, start + count * INTEGER_BYTES), "<i8")
