"""Tables whose vectors are one matrix: `.npy`, `.npz` and `.safetensors`.

Keys, and metadata where there is any, stand in the same file or in files beside it; a file beside
it goes before what is in the table.

- `.npy`: the matrix of shape (rows, n); the keys in a file beside it.
- `.npz`: the arrays `vectors` (rows, n), `keys` and `metadata`, both (rows,) of str.
- `.safetensors`: the tensors `vectors` (rows, n), `keys` and `keys_ends`, `metadata` and
  `metadata_ends`: UTF-8 behind one another as U8, and the position after each row's as I64.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any, Final, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from penin.errors import RefusedError, TableError, UsageError
from penin.ingress.safetensors import read_tensors
from penin.ingress.tables.npz import (
    MALFORMED,
    NpzArray,
    NpzTexts,
    npz_names,
    read_npy_header,
)
from penin.ingress.tables.table import (
    BLOCK_BYTES,
    Place,
    Rows,
    block_rows,
    check_shape,
    metadata_of,
    refused,
)
from penin.ingress.tables.texts import LineTexts, PackedTexts, Texts

VECTORS: Final = "vectors"
KEYS: Final = "keys"
METADATA: Final = "metadata"
_Given = Path | None


class Matrix(Protocol):
    """The vectors of a table."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(rows, n), once it is checked."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype, in whatever byte order it is kept."""

    def blocks(self, first: int) -> Iterator[NDArray[Any]]:
        """The rows from `first` on, in blocks of shape (some, n)."""


class MappedMatrix:
    """A matrix in memory, or one that is a view of a file."""

    def __init__(self, array: NDArray[Any]) -> None:
        self._array = array

    @property
    def shape(self) -> tuple[int, ...]:
        return self._array.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._array.dtype

    def blocks(self, first: int) -> Iterator[NDArray[Any]]:
        rows = block_rows(self._array.shape[1] * self._array.itemsize)
        for start in range(first, len(self._array), rows):
            yield self._array[start : start + rows]


class ArrayTable:
    """A matrix with keys and metadata. See `Table`. Raises TableError for a matrix of no vectors.

    `path` is the file of the matrix, `beside` those of the rest.
    """

    def __init__(
        self,
        path: Path,
        matrix: Matrix,
        keys: Texts,
        metadata: Texts | None,
        beside: Sequence[_Given] = (),
    ) -> None:
        try:
            check_shape(matrix.shape, matrix.dtype)
        except RefusedError as error:
            raise TableError(path, None, str(error)) from error
        self.paths = [path, *(file for file in beside if file is not None)]
        self._matrix = matrix
        self._keys = keys
        self._metadata = metadata

    def read_keys(self) -> Iterator[tuple[int, str]]:
        count = self._matrix.shape[0]
        metadata = range(count) if self._metadata is None else self._metadata.texts(0)
        nothing = object()
        row = -1
        pairs = zip_longest(self._keys.texts(0), metadata, fillvalue=nothing)
        for row, (key, item) in enumerate(pairs):
            for field, text in (("key", key), ("metadata", item)):
                if (text is nothing) != (row >= count):
                    place = self.place(field, row)
                    what = "nothing stands here" if text is nothing else "one more"
                    raise TableError(place.path, place.row, f"{field}: {what}, {self._counted}")
            assert isinstance(key, str)
            yield row, key
        if row + 1 < count:
            place = self.place("key", row + 1)
            raise TableError(place.path, place.row, f"key: nothing stands here, {self._counted}")

    @property
    def _counted(self) -> str:
        return f"and {self.paths[0]} has {self._matrix.shape[0]} rows"

    def read_rows(self, first: int) -> Generator[Rows, None, None]:
        keys = self._keys.texts(first)
        metadata = None if self._metadata is None else self._metadata.texts(first)
        for block in self._matrix.blocks(first):
            start = 0
            while start < len(block):
                names, objects = self._beside(first, len(block) - start, keys, metadata)
                stop = start + len(names)
                yield Rows(first, names, block[start:stop], objects)
                start, first = stop, first + len(names)

    def _beside(
        self, first: int, rows_max: int, keys: Iterator[str], metadata: Iterator[str] | None
    ) -> tuple[list[str], list[dict[str, Any]] | None]:
        """Keys and metadata of the next rows: one at least, and of about BLOCK_BYTES at most."""
        names: list[str] = []
        objects: list[dict[str, Any]] = []
        size = 0
        while len(names) < rows_max and size < BLOCK_BYTES:
            key = next(keys, None)
            text = None if metadata is None else next(metadata, None)
            if key is None or (metadata is not None and text is None):
                raise TableError(self.paths[0], None, "changed while it was read")
            names.append(key)
            size += len(key)
            if text is not None:
                objects.append(self._metadata_of(first + len(names) - 1, text))
                size += len(text)
        return names, None if metadata is None else objects

    def _metadata_of(self, row: int, text: str) -> dict[str, Any]:
        try:
            return metadata_of(text)
        except RefusedError as error:
            raise refused(self, "metadata", row, error) from error

    def place(self, field: str, position: int) -> Place:
        if field == "key":
            return self._keys.place(position)
        if field == "metadata" and self._metadata is not None:
            return self._metadata.place(position)
        return Place(self.paths[0], f"row {position}")


# -- the formats ------------------------------------------------------------------------------


def open_npy(path: Path, keys: _Given, metadata: _Given) -> ArrayTable:
    """The table of a `.npy` file. Raises TableError, UsageError, OSError."""
    if keys is None:
        raise UsageError(f"{path}: a .npy file has no keys: --keys names a file of them")
    try:
        with path.open("rb") as file:
            header = read_npy_header(file)
            order: Literal["C", "F"] = "F" if header.is_fortran else "C"
            array = np.memmap(file, header.dtype, "r", file.tell(), header.shape, order)
    except MALFORMED as error:
        raise TableError(path, None, f"not a .npy file: {error}") from error
    matrix = MappedMatrix(np.asarray(array))
    return ArrayTable(path, matrix, _lines(keys), _objects(metadata), (keys, metadata))


def open_npz(path: Path, keys: _Given, metadata: _Given) -> ArrayTable:
    """The table of a `.npz` file. Raises TableError, UsageError, OSError."""
    names = npz_names(path)
    if VECTORS not in names:
        raise TableError(path, None, f"no array {VECTORS}")
    if keys is None and KEYS not in names:
        raise UsageError(f"{path}: no array {KEYS} in it, and no --keys")
    found = _lines(keys) if keys is not None else NpzTexts(path, KEYS)
    objects = _objects(metadata)
    if objects is None and METADATA in names:
        objects = NpzTexts(path, METADATA)
    return ArrayTable(path, NpzArray(path, VECTORS), found, objects, (keys, metadata))


def open_safetensors(path: Path, keys: _Given, metadata: _Given) -> ArrayTable:
    """The table of a `.safetensors` file. Raises TableError, UsageError, OSError."""
    tensors = read_tensors(path)
    if VECTORS not in tensors:
        raise TableError(path, None, f"no tensor {VECTORS} of a known dtype")
    found = _lines(keys) if keys is not None else _packed(path, tensors, KEYS)
    if found is None:
        raise UsageError(f"{path}: no tensors {KEYS} and {KEYS}_ends in it, and no --keys")
    objects = _objects(metadata) or _packed(path, tensors, METADATA)
    matrix = MappedMatrix(tensors[VECTORS])
    return ArrayTable(path, matrix, found, objects, (keys, metadata))


def _lines(path: Path) -> Texts:
    return LineTexts(path, in_json=True)


def _objects(path: _Given) -> Texts | None:
    return None if path is None else LineTexts(path, in_json=False)


def _packed(path: Path, tensors: dict[str, NDArray[Any]], name: str) -> Texts | None:
    ends = f"{name}_ends"
    if name not in tensors or ends not in tensors:
        return None
    return PackedTexts(path, name, tensors[name], tensors[ends])
