"""Segments: the vectors of a knowledge base in columns, with their keys and metadata beside.

A *column* is all vectors of one dtype and dimension, in the order of their last change; it is a
list of *segments* of at most 16 MiB. What a row holds is written once and never changed: a row that
was replaced or removed only loses its place in the mask of live rows. So a *block*, which is a
segment with a copy of its mask, stays what it was, whatever happens to the segment afterwards.

A block may be read in any thread while the loop appends to its segment. Rows below its count never
change, and every access to what grows (bytearrays, arrays) is one slice or one item, which the
interpreter lock makes atomic. A buffer of something that may still grow is never exported: with a
memoryview of it alive, the next append on the loop would fail. The numbers never grow.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from array import array
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from penin.core.artifacts import NumericVectorArtifact

SEGMENT_BYTES_MAX: Final = 16 * 2**20
"""How many bytes of numbers a segment has room for; a longer vector would have one of its own."""
TEXT_BYTES_MAX: Final = 16 * 2**20
"""A segment whose keys, or whose metadata, have grown beyond this takes no further row."""
ROW_BITS: Final = 13
ROWS_MAX: Final = 2**ROW_BITS
"""How many rows a segment has: few enough that half of them are adopted in about 2 ms."""

_NO_NORMS: Final = np.empty(0)

Kind = tuple[str, int]
"""What the vectors of a column have in common: the dtype and the bytes of one vector."""


class Segment(ABC):
    """Rows of one kind, appended and never changed; which of them are live does change.

    `live` has one byte a row: 1, or 0 once the row was replaced or removed. A sealed segment takes
    no further row. `number` is given by the knowledge base that it is in. `norms` and `newest` are
    kept by `Block.norms` and `Block.newest_seq`, of the first rows.
    """

    __slots__ = ("is_sealed", "kind", "live", "live_count", "newest", "norms", "number")

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.number = -1
        self.live = bytearray()
        self.live_count = 0
        self.is_sealed = False
        self.norms: NDArray[np.float64] = _NO_NORMS
        self.newest = 0, 0

    @abstractmethod
    def numbers(self, row: int) -> memoryview:
        """The bytes of one vector: a read-only view, which keeps the segment's numbers alive."""

    @abstractmethod
    def matrix(self, count: int) -> NDArray[Any]:
        """The first `count` vectors, a read-only view of shape (count, n)."""

    @abstractmethod
    def key(self, row: int) -> bytes:
        """The key of a row, in UTF-8."""

    @abstractmethod
    def metadata(self, row: int) -> bytes:
        """The metadata of a row, as JSON."""

    @abstractmethod
    def key_ends(self, count: int) -> NDArray[np.int64]:
        """Where the keys of the first `count` rows end in the text of all keys.

        Shape (count + 1,): before them stands where the first begins.
        """

    @abstractmethod
    def key_text(self, start: int, stop: int) -> bytes:
        """A part of the text of all keys."""

    @abstractmethod
    def metadata_ends(self, count: int) -> NDArray[np.int64]:
        """The same as `key_ends`, of the metadata."""

    @abstractmethod
    def metadata_text(self, start: int, stop: int) -> bytes:
        """A part of the text of all metadata."""

    @abstractmethod
    def seq(self, row: int) -> int:
        """The seq of the transition that put the row there."""

    @abstractmethod
    def seqs(self, count: int) -> NDArray[np.int64]:
        """The same of the first `count` rows."""

    def artifact(self, row: int) -> NumericVectorArtifact:
        """The artifact of a row; its numbers are a view of the segment."""
        return NumericVectorArtifact.from_parts(self.kind[0], self.numbers(row), self.metadata(row))

    def is_ready(self, row: int) -> bool:
        """Whether the artifact of a row is made without waiting for a disk."""
        del row
        return True

    def for_copying(self, files: dict[int, Any]) -> Segment:
        """The same rows, of which everything is checked that can be damaged; for one snapshot.

        `files` is what the segments of one snapshot share, empty at first.
        """
        del files
        return self

    def release(self) -> None:  # noqa: B027  # nothing to do in memory
        """The vectors were copied and are not needed for now."""

    @property
    def is_mostly_dead(self) -> bool:
        """Whether less than half of the rows are live."""
        return 2 * self.live_count < len(self.live)


class MemorySegment(Segment):
    """A segment in memory with room for `capacity` rows."""

    __slots__ = (
        "_key_bytes",
        "_key_ends",
        "_metadata_bytes",
        "_metadata_ends",
        "_readable",
        "_seqs",
        "_writable",
        "capacity",
    )

    def __init__(self, kind: Kind, capacity: int) -> None:
        super().__init__(kind)
        self.capacity = capacity
        # Not filled: the system gives memory only for what is written.
        self._writable = np.empty(capacity * kind[1], np.uint8).data
        self._readable = self._writable.toreadonly()
        self._key_bytes = bytearray()
        self._metadata_bytes = bytearray()
        # Row `row` ends where the next begins: its text is at [ends[row] : ends[row + 1]].
        self._key_ends = array("I", (0,))
        self._metadata_ends = array("I", (0,))
        self._seqs = array("q")

    def touch(self) -> None:
        """Let the system give all memory for the numbers now; in any thread, before the first row.

        It may take longer than filling the segment afterwards, and holds no interpreter lock.
        """
        np.frombuffer(self._writable, np.uint8).fill(0)

    @property
    def room(self) -> int:
        """How many more rows there is room for."""
        return self.capacity - len(self.live)

    def append(
        self,
        key: bytes,
        data: bytes | memoryview,
        metadata: bytes | msgspec.Raw,
        seq: int,
    ) -> int:
        """Add a live row, copying all parts, and return its number."""
        live = self.live
        row = len(live)
        row_bytes = self.kind[1]
        start = row * row_bytes
        self._writable[start : start + row_bytes] = data
        key_bytes = self._key_bytes
        key_bytes += key
        self._key_ends.append(len(key_bytes))
        metadata_bytes = self._metadata_bytes
        metadata_bytes += metadata
        self._metadata_ends.append(len(metadata_bytes))
        self._seqs.append(seq)
        live.append(1)
        self.live_count += 1
        if (
            row + 1 == self.capacity
            or len(metadata_bytes) > TEXT_BYTES_MAX
            or len(key_bytes) > TEXT_BYTES_MAX
        ):
            self.is_sealed = True
        return row

    def extend(
        self,
        keys: Sequence[bytes],
        data: memoryview,
        metadata: Sequence[bytes | msgspec.Raw],
        seqs: Iterable[int],
    ) -> int:
        """Add a live row for each key, with block copies, and return the number of the first."""
        first, count = len(self.live), len(keys)
        start = first * self.kind[1]
        self._writable[start : start + len(data)] = data
        self.add_rows(keys, metadata, seqs)
        longest = max(len(self._metadata_bytes), len(self._key_bytes))
        self.is_sealed = first + count == self.capacity or longest > TEXT_BYTES_MAX
        return first

    def add_rows(
        self, keys: Sequence[bytes], metadata: Sequence[bytes | msgspec.Raw], seqs: Iterable[int]
    ) -> None:
        """Add live rows without their numbers."""
        _append_texts(self._key_bytes, self._key_ends, keys)
        _append_texts(self._metadata_bytes, self._metadata_ends, metadata)
        self._seqs.extend(seqs)
        self.live += b"\1" * len(keys)
        self.live_count += len(keys)

    def restore_seq(self, row: int, seq: int) -> None:
        """Set the seq of a row that was put there before its seq was known, by a loading."""
        self._seqs[row] = seq

    def numbers(self, row: int) -> memoryview:
        row_bytes = self.kind[1]
        return self._readable[row * row_bytes : (row + 1) * row_bytes]

    def matrix(self, count: int) -> NDArray[Any]:
        dtype, row_bytes = self.kind
        flat = np.frombuffer(self._readable[: count * row_bytes], dtype)
        return flat.reshape(count, row_bytes // flat.itemsize)

    def key(self, row: int) -> bytes:
        ends = self._key_ends
        return bytes(self._key_bytes[ends[row] : ends[row + 1]])

    def metadata(self, row: int) -> bytes:
        ends = self._metadata_ends
        return bytes(self._metadata_bytes[ends[row] : ends[row + 1]])

    def key_ends(self, count: int) -> NDArray[np.int64]:
        return _copied_ends(self._key_ends, count)

    def key_text(self, start: int, stop: int) -> bytes:
        return bytes(self._key_bytes[start:stop])

    def metadata_ends(self, count: int) -> NDArray[np.int64]:
        return _copied_ends(self._metadata_ends, count)

    def metadata_text(self, start: int, stop: int) -> bytes:
        return bytes(self._metadata_bytes[start:stop])

    def seq(self, row: int) -> int:
        return self._seqs[row]

    def seqs(self, count: int) -> NDArray[np.int64]:
        # Of a copy: the array itself may grow.
        return np.frombuffer(self._seqs[:count].tobytes(), np.int64)


def _copied_ends(ends: array[int], count: int) -> NDArray[np.int64]:
    # Of a copy: the array itself may grow.
    copied = np.frombuffer(ends[: count + 1].tobytes(), np.uintc)
    return copied.astype(np.int64)


def _append_texts(texts: bytearray, ends: array[int], added: Sequence[bytes | msgspec.Raw]) -> None:
    lengths = accumulate(map(len, added), initial=len(texts))
    next(lengths)  # where the first begins is where the last one ended
    ends.extend(lengths)
    texts += b"".join(added)
