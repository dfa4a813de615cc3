"""What every table has in common: rows in blocks, and mistakes named by file and row.

Rules:

1. Rows are read in the order of the file and in blocks of about `BLOCK_BYTES`, so that a table of
   any size takes a bounded amount of memory, but for what `check_table` needs to find a key that
   stands twice.
2. A row has a position in its file, from 0, that is the same in every reading: reading can begin at
   any position. What is told to people is the place: "row 17" in an array, which numpy and
   pyarrow count from 0 too, and "line 18" in a file of lines, which editors count from 1.
3. Whatever is in a file, it is a table or a `TableError`; nothing in it is run.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from penin.core import values
from penin.core.artifacts import DTYPES, VECTOR_BYTES_MAX
from penin.core.names import check_name
from penin.errors import RefusedError, RefusedTypeError, RefusedValueError, TableError

BLOCK_BYTES: Final = 4 * 2**20
"""About so many bytes of vectors, and of keys and metadata, are in memory at a time."""
BLOCK_ROWS_MAX: Final = 2**16
NOTE_ROWS: Final = 1000
"""Progress is told every so many rows."""

_DOOR_FIELD: Final = re.compile(r"(matrix|keys|metadata)\[(\d+)\](.*)", re.DOTALL)
_FIELD_NAMES: Final = {"matrix": "vector", "keys": "key", "metadata": "metadata"}
_decode: Final = msgspec.json.Decoder().decode


class Rows(NamedTuple):
    """Neighbouring rows of one dtype and dimension; the first one's position is `first`."""

    first: int
    keys: list[str]
    matrix: NDArray[Any]  # (len(keys), n)
    metadata: list[dict[str, Any]] | None  # one for each key

    @property
    def stop(self) -> int:
        """The position after the last row."""
        return self.first + len(self.keys)


class Place(NamedTuple):
    """Where something stands, for people: a file, and the row or line in it."""

    path: Path
    row: str | None


class Table(Protocol):
    """A file of rows, with what stands in files beside it. Both readings raise TableError."""

    @property
    def paths(self) -> Sequence[Path]:
        """The files that the rows come from, the table itself first."""

    def read_keys(self) -> Iterator[tuple[int, str]]:
        """Position and key of every row. At its end, what stands side by side was compared."""

    def read_rows(self, first: int) -> Generator[Rows, None, None]:
        """The rows from the position `first` on."""

    def place(self, field: str, position: int) -> Place:
        """Where the `key`, the `vector` or the `metadata` of a row stands."""


def refused(table: Table, field: str, position: int, error: RefusedError) -> TableError:
    """The error for a part of a row that was refused; its field begins with `field`."""
    place = table.place(field, position)
    return TableError(place.path, place.row, f"{error.field}: {error.reason}")


def refused_at_door(table: Table, rows: Rows, error: RefusedError) -> TableError:
    """The same for what the door says of several rows, and of `matrix[5][3]` in them."""
    found = _DOOR_FIELD.fullmatch(error.field)
    if found is None:
        return TableError(table.paths[0], f"rows from {rows.first}", str(error))
    field = _FIELD_NAMES[found[1]]
    inside = RefusedValueError(f"{field}{found[3]}", error.reason)
    return refused(table, field, rows.first + int(found[2]), inside)


def check_table(table: Table, note: Callable[[int], None]) -> int:
    """Check all keys, and how many of everything there are, before anything is sent.

    Returns the number of rows; `note` is called with how many it has seen so far. All keys are in
    memory until it returns, as they will be in the state. Raises TableError.
    """
    positions: dict[str, int] = {}
    for position, key in table.read_keys():
        try:
            name = check_name(key, "key")
            if name in positions:
                other = table.place("key", positions[name]).row
                raise RefusedValueError("key", f"{values.shown(name)} stands in {other} already")
        except RefusedError as error:
            raise refused(table, "key", position, error) from error
        positions[name] = position
        if len(positions) % NOTE_ROWS == 0:
            note(len(positions))
    return len(positions)


def check_shape(shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """Raise RefusedError unless an array of that shape and dtype is a matrix of vectors.

    A matrix without a row is one, whatever its dimension.
    """
    if len(shape) != 2:  # noqa: PLR2004  # a matrix
        raise RefusedValueError("vectors", f"shape {shape} is not two-dimensional")
    if dtype.newbyteorder("<").str not in DTYPES:
        names = ", ".join(sorted(np.dtype(text).name for text in DTYPES))
        raise RefusedTypeError("vectors", f"dtype {dtype} is none of {names}")
    rows, dimension = shape
    if rows and not dimension:
        raise RefusedValueError("vectors", "empty; a vector has at least one element")
    if dimension * dtype.itemsize > VECTOR_BYTES_MAX:
        size = dimension * dtype.itemsize
        raise RefusedValueError(
            "vectors", f"a vector of {size} bytes is over the limit of {VECTOR_BYTES_MAX}"
        )


def block_rows(row_bytes: int) -> int:
    """How many rows of that size are read at a time."""
    return min(BLOCK_ROWS_MAX, max(1, BLOCK_BYTES // max(1, row_bytes)))


def json_value(text: str | bytes, field: str) -> Any:
    """What JSON decodes to, without reviving tagged values. Raises RefusedValueError."""
    try:
        return _decode(text)
    except UnicodeDecodeError as error:
        raise RefusedValueError(field, f"not valid UTF-8: {error.reason}") from error
    except RecursionError as error:
        raise RefusedValueError(field, "nested too deep") from error
    except (msgspec.MsgspecError, ValueError) as error:
        raise RefusedValueError(field, f"not JSON: {error}") from error


def as_metadata(plain: object, *, is_marked: bool) -> dict[str, Any]:
    """Metadata of what JSON decoded to. Raises RefusedError.

    With `is_marked` there may be tagged values in it, which are revived.
    """
    try:
        revived = values.from_wire(plain, values.DEPTH_MAX) if is_marked else plain
    except RefusedError as error:
        raise RefusedValueError("metadata", error.reason) from error
    if not isinstance(revived, dict):
        raise RefusedTypeError("metadata", f"{type(revived).__name__} is not a JSON object")
    return revived


def metadata_of(text: str) -> dict[str, Any]:
    """Metadata as it is written in a table: one JSON object. Raises RefusedError."""
    return as_metadata(json_value(text, "metadata"), is_marked=values.MARK in text)
