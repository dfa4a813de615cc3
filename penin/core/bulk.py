"""A bulk: a whole matrix of vectors that passed the door, and the messages that it becomes.

Each message is a run of rows (one at least) that carries at most BULK_BYTES_MAX bytes. In a small
bulk the numbers stand in the messages. In a large one they do not: they go into sealed files
(`penin.storage.sealed`), written once as the bytes that they are, and the messages name the place
in the file. Applied, both give the same state; the numbers of a large one stay in the file until a
snapshot has them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray
from pybase64 import b64encode

from penin.core.segments import ROWS_MAX, SEGMENT_BYTES_MAX
from penin.core.transitions import (
    ExtendKnowledge,
    ExtendSealed,
    Matrix,
    Message,
    SealedPlace,
    encode_body,
)
from penin.storage.mapped import BLOCK_BYTES
from penin.storage.sealed import SealedFile

BULK_BYTES_MAX: Final = 2**20
"""How many bytes one message of a bulk carries."""
SEALED_ROWS_MAX: Final = ROWS_MAX // 2
"""How many rows one message has whose numbers are elsewhere: it is applied in about 3 ms."""
PART_BYTES: Final = 32 * 2**20
"""About how many bytes of numbers one sealed file has: few syncs, and a bounded memory."""


class Part:
    """The rows of a matrix that one sealed file holds: from `start` up to `stop`."""

    __slots__ = ("_rows", "start", "stop")

    def __init__(self, rows: NDArray[Any], start: int, stop: int) -> None:
        self._rows = rows
        self.start = start
        self.stop = stop

    def blocks(self) -> Iterator[memoryview]:
        """What the file holds, in blocks of BLOCK_BYTES; each is void after the next."""
        data = np.ascontiguousarray(self._rows[self.start : self.stop]).data.cast("B")
        buffer = memoryview(bytearray(BLOCK_BYTES))
        for first in range(0, len(data), BLOCK_BYTES):
            block = data[first : first + BLOCK_BYTES]
            # What is digested is what is written, whatever becomes of the caller's matrix.
            buffer[: len(block)] = block
            yield buffer[: len(block)]


def is_large(rows: NDArray[Any]) -> bool:
    """Whether the numbers of a matrix are more than one message carries."""
    return rows.nbytes > BULK_BYTES_MAX


def parts_of(rows: NDArray[Any]) -> Iterator[Part]:
    """The rows of a matrix, in order, in parts of about PART_BYTES; they are not copied."""
    step = max(1, PART_BYTES * len(rows) // rows.nbytes)
    for start in range(0, len(rows), step):
        yield Part(rows, start, min(start + step, len(rows)))


class Bulk:
    """Keys, one row of numbers for each, and their encoded metadata (None: none has any).

    `rows` is of shape (len(names), n), and not copied. Iterating gives the messages with the
    numbers in them.
    """

    __slots__ = ("_dtype", "_names", "_raws", "_row_bytes", "_rows")

    def __init__(self, names: list[str], rows: NDArray[Any], raws: list[bytes] | None) -> None:
        self._names = names
        self._rows = rows
        self._raws = raws
        self._dtype = rows.dtype.str
        self._row_bytes = rows.nbytes // len(rows)

    def __iter__(self) -> Iterator[Message]:
        count = len(self._names)
        for start, stop in self._runs(0, count, count, self._row_bytes):
            data = self._rows[start:stop].tobytes()
            encoded = b'{"dtype":"%b","data":"%b"}' % (self._dtype.encode(), b64encode(data))
            body = ExtendKnowledge(
                keys=self._names[start:stop],
                matrix=Matrix(self._dtype, data),
                metadata=self._metadata(start, stop),
            )
            yield Message(self._encoded(start, stop, encoded), body)

    def messages(self, part: Part, sealed: SealedFile) -> list[Message]:
        """The messages of a part whose numbers are in a sealed file."""
        rows_max = min(SEALED_ROWS_MAX, max(1, SEGMENT_BYTES_MAX // self._row_bytes))
        messages = []
        for start, stop in self._runs(part.start, part.stop, rows_max, 0):
            begin, size = (start - part.start), (stop - start)
            place = SealedPlace(sealed.name, begin * self._row_bytes, size * self._row_bytes)
            matrix = Matrix(self._dtype, sealed=place)
            body = ExtendSealed(
                keys=self._names[start:stop],
                matrix=matrix,
                metadata=self._metadata(start, stop),
                file=sealed.file,
            )
            messages.append(Message(self._encoded(start, stop, encode_body(matrix)), body))
        return messages

    def _runs(
        self, start: int, stop: int, rows_max: int, row_bytes: int
    ) -> Iterator[tuple[int, int]]:
        """The rows of each message: from, and up to; `row_bytes` of a row's numbers are in it."""
        size = 0
        for index in range(start, stop):
            row_size = row_bytes + len(self._names[index])
            row_size += 0 if self._raws is None else len(self._raws[index])
            if index - start == rows_max or (size + row_size > BULK_BYTES_MAX and index > start):
                yield start, index
                start, size = index, 0
            size += row_size
        yield start, stop

    def _metadata(self, start: int, stop: int) -> list[msgspec.Raw] | None:
        return None if self._raws is None else [msgspec.Raw(raw) for raw in self._raws[start:stop]]

    def _encoded(self, start: int, stop: int, matrix: bytes) -> bytes:
        raws = None if self._raws is None else self._raws[start:stop]
        return b'{"type":"extend_knowledge","keys":%b,"matrix":%b%b}' % (
            encode_body(self._names[start:stop]),
            matrix,
            b"" if raws is None else b',"metadata":[%b]' % b",".join(raws),
        )
