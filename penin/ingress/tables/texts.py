"""Keys and metadata that stand beside vectors, one text a row."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from penin.errors import RefusedError, RefusedTypeError, TableError
from penin.ingress.splitting import LINE_BYTES_MAX
from penin.ingress.tables.table import Place, json_value

JSON_LINES_SUFFIX: Final = ".jsonl"


class Texts(Protocol):
    """One text a row."""

    def texts(self, first: int) -> Iterator[str]:
        """The texts from the row `first` on. Raises TableError."""

    def place(self, row: int) -> Place:
        """Where the text of a row stands."""


def file_lines(path: Path) -> Iterator[bytes]:
    """The lines of a file without their ends. Raises TableError for one that is too long."""
    try:
        with path.open("rb") as file:
            number = 0
            while line := file.readline(LINE_BYTES_MAX + 2):
                number += 1
                bare = line.removesuffix(b"\n")
                if len(bare) > LINE_BYTES_MAX:
                    reason = f"longer than the {LINE_BYTES_MAX} bytes that a line may have"
                    raise TableError(path, f"line {number}", reason)
                yield bare
    except OSError as error:
        raise TableError(path, None, error.strerror or str(error)) from error


class LineTexts:
    """The lines of a file: as they are, or, in `.jsonl` with `in_json`, each a JSON string.

    Raises OSError where there is no such file.
    """

    def __init__(self, path: Path, *, in_json: bool) -> None:
        path.open("rb").close()
        self._path = path
        self._in_json = in_json and path.suffix == JSON_LINES_SUFFIX

    def texts(self, first: int) -> Iterator[str]:
        for row, line in enumerate(file_lines(self._path)):
            if row >= first:
                yield self._text(row, line)

    def _text(self, row: int, line: bytes) -> str:
        try:
            if not self._in_json:
                return line.removesuffix(b"\r").decode()
            text = json_value(line, "key")
            if not isinstance(text, str):
                raise RefusedTypeError("key", f"{type(text).__name__} is not a string")
            return text
        except UnicodeDecodeError as error:
            place = self.place(row).row
            raise TableError(self._path, place, f"not valid UTF-8: {error.reason}") from error
        except RefusedError as error:
            raise TableError(self._path, self.place(row).row, str(error)) from error

    def place(self, row: int) -> Place:
        return Place(self._path, f"line {row + 1}")


class PackedTexts:
    """UTF-8 behind one another in one array of bytes, and where each of them ends.

    `data` has dtype uint8 and shape (bytes,), `ends` int64 and (rows,).
    """

    def __init__(self, path: Path, name: str, data: NDArray[Any], ends: NDArray[Any]) -> None:
        if data.dtype != np.uint8 or data.ndim != 1:
            raise TableError(path, name, f"{data.dtype.name} {data.shape} is not uint8 (bytes,)")
        if ends.dtype != np.int64 or ends.ndim != 1:
            raise TableError(path, f"{name}_ends", f"{ends.dtype.name} {ends.shape} is no int64")
        self._path = path
        self._name = name
        self._data = data
        self._ends = ends

    def texts(self, first: int) -> Iterator[str]:
        start = int(self._ends[first - 1]) if 0 < first <= len(self._ends) else 0
        for row in range(first, len(self._ends)):
            end = int(self._ends[row])
            if not 0 <= start <= end <= len(self._data):
                raise TableError(self._path, f"row {row}", f"{self._name}_ends[{row}] is {end}")
            try:
                yield self._data[start:end].tobytes().decode()
            except UnicodeDecodeError as error:
                reason = f"{self._name}: not valid UTF-8: {error.reason}"
                raise TableError(self._path, f"row {row}", reason) from error
            start = end

    def place(self, row: int) -> Place:
        return Place(self._path, f"row {row}")
