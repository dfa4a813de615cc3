"""Tables of JSON lines: each row has the dtype and the dimension that it says itself.

`{"key": …, "vector": […], "dtype": "float32", "metadata": {…}}`: key and vector are there; without
`dtype` a vector of integers alone is int64 and any other float64. Empty lines are skipped.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from penin.core import values
from penin.core.artifacts import typed_vector
from penin.errors import RefusedError, RefusedValueError
from penin.ingress.tables.table import (
    BLOCK_BYTES,
    BLOCK_ROWS_MAX,
    Place,
    Rows,
    as_metadata,
    refused,
)
from penin.ingress.tables.texts import file_lines


class _Keyed(msgspec.Struct):
    """What the first reading looks at; the line is valid JSON to its end all the same."""

    key: str


class _Row(msgspec.Struct, forbid_unknown_fields=True):
    key: str
    vector: Any
    dtype: str | None = None
    metadata: Any = None


_decode_key: Final = msgspec.json.Decoder(_Keyed).decode
_decode_row: Final = msgspec.json.Decoder(_Row).decode


class _Block:
    """Neighbouring rows that belong together so far."""

    def __init__(self, first: int) -> None:
        self._first = first
        self._keys: list[str] = []
        self._vectors: list[NDArray[Any]] = []
        self._metadata: list[dict[str, Any]] = []
        self._size = 0

    def takes(self, vector: NDArray[Any]) -> bool:
        """Whether the next row may be one with this vector."""
        if not self._vectors:
            return True
        last = self._vectors[-1]
        return (
            last.dtype == vector.dtype
            and last.shape == vector.shape
            and self._size < BLOCK_BYTES
            and len(self._keys) < BLOCK_ROWS_MAX
        )

    def add(self, row: _Row, vector: NDArray[Any], metadata: dict[str, Any], size: int) -> None:
        """Add a row whose line has `size` bytes."""
        self._keys.append(row.key)
        self._vectors.append(vector)
        self._metadata.append(metadata)
        self._size += size

    def rows(self) -> Iterator[Rows]:
        """The rows, if there are any."""
        if self._keys:
            metadata = self._metadata if any(self._metadata) else None
            yield Rows(self._first, self._keys, np.stack(self._vectors), metadata)


class LineTable:
    """A file of JSON lines. See `Table`; the position of a row is that of its line, from 0."""

    def __init__(self, path: Path) -> None:
        self.paths = [path]

    def read_keys(self) -> Iterator[tuple[int, str]]:
        for position, line in enumerate(file_lines(self.paths[0])):
            if line.strip():
                yield position, self._decoded(position, line, _decode_key).key

    def read_rows(self, first: int) -> Generator[Rows, None, None]:
        block = _Block(first)
        for position, line in enumerate(file_lines(self.paths[0])):
            if position < first:
                continue
            if not line.strip():  # positions in a block have no gap
                yield from block.rows()
                block = _Block(position + 1)
                continue
            row: _Row = self._decoded(position, line, _decode_row)
            try:
                vector = typed_vector(row.vector, row.dtype, "vector")
                is_marked = values.MARK_BYTES in line
                metadata = {}
                if row.metadata is not None:
                    metadata = as_metadata(row.metadata, is_marked=is_marked)
            except RefusedError as error:
                raise refused(self, error.field, position, error) from error
            if not block.takes(vector):
                yield from block.rows()
                block = _Block(position)
            block.add(row, vector, metadata, len(line))
        yield from block.rows()

    def _decoded(self, position: int, line: bytes, decode: Any) -> Any:
        try:
            return decode(line)
        except UnicodeDecodeError as error:
            reason = f"not valid UTF-8: {error.reason}"
        except RecursionError:
            reason = "nested too deep"
        except (msgspec.MsgspecError, ValueError) as error:
            reason = str(error)
        raise refused(self, "row", position, RefusedValueError("row", reason))

    def place(self, field: str, position: int) -> Place:
        del field  # all of a row stands in one line
        return Place(self.paths[0], f"line {position + 1}")
