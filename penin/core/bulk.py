"""A bulk: a whole matrix of vectors that passed the door, and the messages that it becomes.

Each message is a run of rows (one at least) that carries at most BULK_BYTES_MAX bytes. In a small
bulk the numbers stand in the messages. In a large one they do not: they go into sealed files
(`penin.storage.sealed`), written once as the bytes that they are, and the messages name the place
in the file. Applied, both give the same state; the numbers of a large one stay in the file until a
snapshot has them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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

    @property
    def is_large(self) -> bool:
        """Whether the numbers are more than one message carries."""
        return self._rows.nbytes > BULK_BYTES_MAX

    def __iter__(self) -> Iterator[Message]:
        for start, stop in self._runs(len(self._names), self._row_bytes):
            data = self._rows[start:stop].tobytes()
            encoded = b'{"dtype":"%b","data":"%b"}' % (self._dtype.encode(), b64encode(data))
            body = ExtendKnowledge(
                keys=self._names[start:stop],
                matrix=Matrix(self._dtype, data),
                metadata=self._metadata(start, stop),
            )
            yield Message(self._encoded(start, stop, encoded), body)

    def parts(self) -> Iterator[Part]:
        """The rows, in order, in parts of about PART_BYTES."""
        runs: list[tuple[int, int]] = []
        rows_max = min(SEALED_ROWS_MAX, max(1, SEGMENT_BYTES_MAX // self._row_bytes))
        for start, stop in self._runs(rows_max, 0):
            runs.append((start, stop))
            if (stop - runs[0][0]) * self._row_bytes >= PART_BYTES:
                yield Part(self, runs)
                runs = []
        if runs:
            yield Part(self, runs)

    def _runs(self, rows_max: int, row_bytes: int) -> Iterator[tuple[int, int]]:
        """The rows of each message: from, and up to; `row_bytes` of a row's numbers are in it."""
        start = size = 0
        for index, name in enumerate(self._names):
            row_size = row_bytes + len(name) + (0 if self._raws is None else len(self._raws[index]))
            if index - start == rows_max or (size + row_size > BULK_BYTES_MAX and index > start):
                yield start, index
                start, size = index, 0
            size += row_size
        yield start, len(self._names)

    def blocks(self, start: int, stop: int) -> Iterator[memoryview]:
        """The bytes of a run of rows in blocks of BLOCK_BYTES; each is void after the next."""
        data = np.ascontiguousarray(self._rows[start:stop]).data.cast("B")
        buffer = memoryview(bytearray(BLOCK_BYTES))
        for first in range(0, len(data), BLOCK_BYTES):
            block = data[first : first + BLOCK_BYTES]
            # What is digested is what is written, whatever becomes of the caller's matrix.
            buffer[: len(block)] = block
            yield buffer[: len(block)]

    def sealed_message(
        self, start: int, stop: int, begin: int, sealed: SealedFile
    ) -> tuple[Message, int]:
        """The message of rows whose numbers begin at byte `begin` of a file, and their size."""
        size = (stop - start) * self._row_bytes
        place = SealedPlace(sealed.name, begin, size)
        matrix = Matrix(self._dtype, sealed=place)
        body = ExtendSealed(
            keys=self._names[start:stop],
            matrix=matrix,
            metadata=self._metadata(start, stop),
            file=sealed.file,
        )
        return Message(self._encoded(start, stop, encode_body(matrix)), body), size

    def _metadata(self, start: int, stop: int) -> list[msgspec.Raw] | None:
        return None if self._raws is None else [msgspec.Raw(raw) for raw in self._raws[start:stop]]

    def _encoded(self, start: int, stop: int, matrix: bytes) -> bytes:
        raws = None if self._raws is None else self._raws[start:stop]
        return b'{"type":"extend_knowledge","keys":%b,"matrix":%b%b}' % (
            encode_body(self._names[start:stop]),
            matrix,
            b"" if raws is None else b',"metadata":[%b]' % b",".join(raws),
        )


class Part:
    """The rows of a bulk that one sealed file holds."""

    __slots__ = ("_bulk", "_runs")

    def __init__(self, bulk: Bulk, runs: Sequence[tuple[int, int]]) -> None:
        self._bulk = bulk
        self._runs = runs

    def blocks(self) -> Iterator[memoryview]:
        """What the file holds, in blocks of BLOCK_BYTES; each is void after the next."""
        return self._bulk.blocks(self._runs[0][0], self._runs[-1][1])

    def messages(self, sealed: SealedFile) -> list[Message]:
        """The messages that name the file."""
        messages = []
        begin = 0
        for start, stop in self._runs:
            message, size = self._bulk.sealed_message(start, stop, begin, sealed)
            messages.append(message)
            begin += size
        return messages
