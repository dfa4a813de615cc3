"""Tables in Parquet, with pyarrow, which is an extra: `penin[parquet]`.

The columns: `key` (string), `vector` (a list of numbers, all of one length, or a list of fixed
size), and perhaps `metadata` (a string with a JSON object, or a struct). Others are not read.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet
from numpy.typing import NDArray

from penin.errors import RefusedError, RefusedTypeError, RefusedValueError, TableError
from penin.ingress.tables.selection import Selection
from penin.ingress.tables.sink import Sink
from penin.ingress.tables.table import (
    BLOCK_BYTES,
    Place,
    Rows,
    as_metadata,
    block_rows,
    check_shape,
    metadata_of,
    refused,
)

KEY: Final = "key"
VECTOR: Final = "vector"
METADATA: Final = "metadata"
_UNREADABLE: Final = (pa.ArrowException, OSError, ValueError, TypeError)


class ParquetTable:
    """A Parquet file. See `Table`. Raises TableError, OSError."""

    def __init__(self, path: Path) -> None:
        self.paths = [path]
        path.stat()  # an OSError that says what is wrong with the path itself
        schema = self._file().schema_arrow
        for name in (KEY, VECTOR):
            if name not in schema.names:
                raise TableError(path, None, f"no column {name}")
        if not _is_text(schema.field(KEY).type):
            raise TableError(path, f"column {KEY}", f"{schema.field(KEY).type} is not a string")
        kind = schema.field(VECTOR).type
        if not _is_list(kind):
            raise TableError(path, f"column {VECTOR}", f"{kind} is not a list of numbers")
        if not _is_number(kind.value_type):
            reason = f"{kind}: vectors: {kind.value_type} is not a number"
            raise TableError(path, f"column {VECTOR}", reason)
        self._dtype = np.dtype(kind.value_type.to_pandas_dtype())
        try:
            check_shape((0, 0), self._dtype)
        except RefusedError as error:
            raise TableError(path, f"column {VECTOR}", f"{kind}: {error}") from error
        self._columns = [KEY, VECTOR, *({METADATA} & set(schema.names))]
        self._dimension: int | None = None

    def _file(self) -> Any:
        try:
            # From the bytes and not from a memory map: nothing is mapped that may be cut.
            return pa.parquet.ParquetFile(str(self.paths[0]))
        except _UNREADABLE as error:
            raise TableError(self.paths[0], None, f"not a Parquet file: {error}") from error

    def _batches(self, columns: list[str], first: int) -> Iterator[tuple[int, Any]]:
        """Batches of the columns, with the row that they begin at, from the row `first` on."""
        try:
            with self._file() as file:
                groups = file.metadata.num_row_groups
                start, group = 0, 0
                while group < groups and start + file.metadata.row_group(group).num_rows <= first:
                    start += file.metadata.row_group(group).num_rows
                    group += 1
                rest = list(range(group, groups))
                size = _batch_rows(file.metadata)
                for batch in file.iter_batches(size, row_groups=rest, columns=columns):
                    if start + batch.num_rows > first:
                        skipped = max(0, first - start)
                        yield start + skipped, batch.slice(skipped)
                    start += batch.num_rows
        except _UNREADABLE as error:
            raise TableError(self.paths[0], None, f"cannot be read: {error}") from error

    def read_keys(self) -> Iterator[tuple[int, str]]:
        for start, batch in self._batches([KEY], 0):
            for row, key in enumerate(self._listed(batch, KEY), start):
                yield row, self._key(row, key)

    def _listed(self, batch: Any, name: str) -> list[Any]:
        try:
            listed: list[Any] = batch.column(name).to_pylist()
        except _UNREADABLE as error:
            raise TableError(self.paths[0], f"column {name}", str(error)) from error
        return listed

    def _key(self, row: int, key: str | None) -> str:
        if key is None:
            raise refused(self, "key", row, RefusedValueError("key", "null"))
        return key

    def read_rows(self, first: int) -> Generator[Rows, None, None]:
        for start, batch in self._batches(self._columns, first):
            keys = [self._key(row, key) for row, key in enumerate(self._listed(batch, KEY), start)]
            if not keys:
                continue
            matrix = self._matrix(start, batch.column(VECTOR))
            metadata = None
            if METADATA in self._columns:
                objects = self._listed(batch, METADATA)
                metadata = [self._metadata(row, item) for row, item in enumerate(objects, start)]
            yield Rows(start, keys, matrix, metadata)

    def _matrix(self, start: int, column: Any) -> NDArray[Any]:
        """The vectors of a batch as (rows, n)."""
        lengths = column.value_lengths().to_numpy(zero_copy_only=False)
        if column.null_count:
            row = start + int(np.argmax(column.is_null().to_numpy(zero_copy_only=False)))
            raise refused(self, "vector", row, RefusedValueError("vector", "null"))
        if self._dimension is None:
            self._dimension = int(lengths[0])
        if np.any(lengths != self._dimension):
            index = int(np.argmax(lengths != self._dimension))
            reason = f"{int(lengths[index])} numbers, and others have {self._dimension}"
            raise refused(self, "vector", start + index, RefusedValueError("vector", reason))
        numbers = column.flatten()
        if numbers.null_count:
            index = int(np.argmax(numbers.is_null().to_numpy(zero_copy_only=False)))
            row, place = start + index // self._dimension, index % self._dimension
            raise refused(self, "vector", row, RefusedValueError(f"vector[{place}]", "null"))
        flat: NDArray[Any] = numbers.to_numpy(zero_copy_only=False)
        matrix = flat.astype(self._dtype, copy=False).reshape(len(column), self._dimension)
        try:
            check_shape(matrix.shape, matrix.dtype)
        except RefusedError as error:
            raise refused(self, "vector", start, error) from error
        return matrix

    def _metadata(self, row: int, item: object) -> dict[str, Any]:
        try:
            if item is None:
                return {}
            if isinstance(item, str):
                return metadata_of(item)
            if isinstance(item, dict):
                return as_metadata(item, is_marked=False)
            raise RefusedTypeError("metadata", f"{type(item).__name__} is no JSON object")
        except RefusedError as error:
            raise refused(self, "metadata", row, error) from error

    def place(self, field: str, position: int) -> Place:
        del field
        return Place(self.paths[0], f"row {position}")


def _batch_rows(metadata: Any) -> int:
    """How many rows of a file are read at a time."""
    groups = range(metadata.num_row_groups)
    size_bytes = sum(metadata.row_group(group).total_byte_size for group in groups)
    return block_rows(size_bytes // max(1, metadata.num_rows))


def _is_text(kind: Any) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_list(kind: Any) -> bool:
    types = pa.types
    return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))


def _is_number(kind: Any) -> bool:
    """Whether numpy has it as a number; a decimal is none."""
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def parquet_chunks(selection: Selection) -> Iterator[bytes]:
    """The bytes of a Parquet file of artifacts that are all of one dtype and dimension."""
    kind = selection.kind
    number = pa.from_numpy_dtype(kind.dtype)
    fields = [pa.field(KEY, pa.string()), pa.field(VECTOR, pa.list_(number))]
    if selection.has_metadata:
        fields.append(pa.field(METADATA, pa.string()))
    schema = pa.schema(fields)
    sink = Sink()
    with pa.PythonFile(sink, "w") as file, pa.parquet.ParquetWriter(file, schema) as writer:
        for keys, matrix, metadata in selection.blocks(BLOCK_BYTES):
            ends = np.arange(len(keys) + 1, dtype=np.int32) * kind.dimension
            vectors = pa.ListArray.from_arrays(ends, pa.array(matrix.reshape(-1), number))
            columns = [pa.array(keys, pa.string()), vectors]
            if selection.has_metadata:
                columns.append(pa.array([raw.decode() for raw in metadata], pa.string()))
            writer.write_batch(pa.record_batch(columns, schema=schema))
            yield sink.taken()
    yield sink.taken()
