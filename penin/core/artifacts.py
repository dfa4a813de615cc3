"""`NumericVectorArtifact`: an immutable numeric vector with JSON metadata.

The numbers are kept as little-endian bytes and the metadata as JSON, both immutable; what a reader
gets is a view or a new copy, so nothing that a caller does to it changes the artifact.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from penin.core import values
from penin.errors import RefusedTypeError, RefusedValueError

TYPE_NAME: Final = "NumericVectorArtifact"
FLOAT64: Final = "<f8"
FLOAT32: Final = "<f4"
INT64: Final = "<i8"
DTYPES: Final = frozenset(
    {"<f8", "<f4", "<i8", "<i4", "<i2", "|i1", "<u8", "<u4", "<u2", "|u1"},
)
"""The dtypes that a vector may have, as numpy writes them (`dtype.str`), all little-endian."""
_FINITE_AT_ONCE: Final = 2**17
VECTOR_BYTES_MAX: Final = 4 * 2**20
"""How long one vector may be: 4 MiB, which is 524,288 float64."""
_SURELY_SHORT: Final = min(VECTOR_BYTES_MAX // 8, _FINITE_AT_ONCE)
"""So many numbers are within the limit in each dtype."""
_NO_METADATA: Final = b"{}"
_DTYPE_TEXTS: Final = {np.dtype(text): text for text in DTYPES}

DTYPE_NAMES: Final = {np.dtype(text).name: text for text in DTYPES}
"""The same by name (`float32`), which is how they are written in JSON for people."""


class NumericVectorArtifact:
    """An immutable numeric vector of shape (n,), n >= 1, all finite, with JSON metadata.

    `vector` is a list of numbers or a one-dimensional numpy array. A list of ints alone becomes
    int64 and any float in it makes it float64; an array keeps its dtype (float32, float64, or an
    integer type). `metadata` is a mapping with str keys, by the table of `penin.core.values`.

    Raises RefusedTypeError or RefusedValueError for anything else: ragged, empty, bools, NaN,
    infinities, and numbers that the dtype does not hold exactly.

    Two artifacts are equal when dtype, numbers and metadata are.
    """

    __slots__ = ("_data", "_dtype", "_metadata")

    def __init__(
        self,
        vector: Sequence[float] | NDArray[Any],
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        dtype = _sound_dtype(vector) if type(vector) is np.ndarray else None
        if dtype is None:
            vector = vector_array(vector, "vector")
            dtype = vector.dtype.str
        self._dtype: str = dtype
        self._data: bytes | memoryview = vector.tobytes()  # type: ignore[union-attr]  # an array by now
        self._metadata: bytes = (
            _NO_METADATA if metadata is None else values.take_object(metadata, "metadata")
        )

    @classmethod
    def from_parts(
        cls, dtype: str, data: bytes | memoryview, metadata: bytes
    ) -> NumericVectorArtifact:
        """The artifact of valid parts: a dtype of DTYPES, the numbers' bytes, metadata as JSON.

        `data` may be a read-only view of memory that never changes; the artifact keeps it alive.
        """
        artifact = cls.__new__(cls)
        artifact._dtype = dtype  # noqa: SLF001  # another way of constructing one
        artifact._data = data  # noqa: SLF001
        artifact._metadata = metadata  # noqa: SLF001
        return artifact

    @classmethod
    def from_bytes(cls, dtype: str, data: bytes, metadata: bytes) -> NumericVectorArtifact:
        """The artifact of numbers that somebody hands in as bytes, with what `take_object` gave.

        Raises as the constructor does, and ValueError where they are no numbers of this dtype.
        """
        if dtype not in DTYPES:
            raise RefusedValueError("dtype", f"{values.shown(dtype)} is no dtype of a vector")
        array = np.frombuffer(data, dtype)
        if _sound_dtype(array) is None:
            vector_array(array, "vector")
        return cls.from_parts(dtype, data, metadata)

    @property
    def vector(self) -> list[Any]:
        """The numbers as a new list of int or float, exactly as they went in."""
        numbers: list[Any] = self.array.tolist()
        return numbers

    @property
    def array(self) -> NDArray[Any]:
        """The numbers as a read-only numpy view of shape (n,)."""
        return np.frombuffer(self._data, self._dtype)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of `array`."""
        return np.dtype(self._dtype)

    @property
    def metadata(self) -> dict[str, Any]:
        """The metadata as a new dictionary."""
        decoded: dict[str, Any] = values.decode_value(self._metadata)
        return decoded

    @property
    def parts(self) -> tuple[str, bytes, bytes]:
        """What `from_parts` takes: dtype, the numbers' bytes, the metadata as JSON."""
        data = self._data
        return self._dtype, data if type(data) is bytes else bytes(data), self._metadata

    def __reduce__(self) -> tuple[Any, ...]:
        # A copy of another process has numbers of its own: a view cannot be sent.
        return NumericVectorArtifact.from_parts, self.parts

    def to_dict(self) -> dict[str, Any]:
        """The tagged dictionary of the original format, with `dtype` where it is not float64."""
        tagged: dict[str, Any] = {values.MARK: TYPE_NAME, "vector": self.vector}
        if self._dtype != FLOAT64:
            tagged["dtype"] = self.dtype.name
        tagged["metadata"] = self.metadata
        return tagged

    @classmethod
    def from_dict(cls, tagged: Mapping[str, Any]) -> NumericVectorArtifact:
        """The artifact of `to_dict`; without `metadata` it has none.

        Where there is no `dtype`, it is float64, or int64 if all numbers are integers, as in the
        constructor. Raises RefusedTypeError, RefusedValueError.
        """
        if "vector" not in tagged:
            raise RefusedValueError("vector", "missing")
        artifact = cls(typed_vector(tagged["vector"], tagged.get("dtype"), "vector"))
        metadata = tagged.get("metadata")
        if metadata is not None:
            if not isinstance(metadata, Mapping):
                raise RefusedTypeError("metadata", "not a JSON object")
            # Read from a file, so without the limits of the door.
            plain = values.to_wire(metadata, "metadata", escape=True)
            artifact._metadata = msgspec.json.encode(plain)
        return artifact

    def __len__(self) -> int:
        return len(self._data) // self.dtype.itemsize

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, NumericVectorArtifact):
            return NotImplemented
        return (
            self._dtype == other._dtype
            and np.array_equal(self.array, other.array)
            and (self._metadata == other._metadata or self.metadata == other.metadata)
        )

    __hash__ = None  # type: ignore[assignment]  # compared by value, and metadata has no hash

    def __repr__(self) -> str:
        return f"{TYPE_NAME}({len(self)} x {self.dtype.name}, metadata={self.metadata!r})"


# -- vectors ----------------------------------------------------------------------------------


def typed_vector(vector: object, dtype: object, field: str) -> NDArray[Any]:
    """A vector read from JSON, with the dtype that is written beside it, if any."""
    if dtype is None:
        return vector_array(vector, field)
    if not isinstance(dtype, str) or dtype not in DTYPE_NAMES:
        known = ", ".join(sorted(DTYPE_NAMES))
        raise RefusedValueError("dtype", f"{values.shown(dtype)} is none of {known}")
    return check_numbers(_array_of_list(vector, field, DTYPE_NAMES[dtype]), field)


def _sound_dtype(array: NDArray[Any]) -> str | None:
    """The dtype of an array that is a vector as it is; None for one that needs a closer look."""
    dtype = _DTYPE_TEXTS.get(array.dtype)
    size = array.size
    if dtype is None or array.ndim != 1 or not 0 < size <= _SURELY_SHORT:
        return None
    # The first look of `_is_finite`, without a call: this is on the way of every vector.
    if dtype[1] == "f" and 0 in np.isfinite(array).tobytes():
        return None
    return dtype


def _is_finite(array: NDArray[Any]) -> bool:
    """Whether all are; a large array is looked at in pieces, which fit a cache."""
    if array.size <= _FINITE_AT_ONCE:
        # As bytes, since `.all()` takes twice as long for some hundred numbers.
        return 0 not in np.isfinite(array).tobytes()
    step = max(1, _FINITE_AT_ONCE * len(array) // array.size)
    pieces = (array[start : start + step] for start in range(0, len(array), step))
    return all(bool(np.isfinite(piece).all()) for piece in pieces)


def vector_array(vector: object, field: str) -> NDArray[Any]:
    """A checked array of shape (n,) with a dtype of DTYPES; shares memory where it can."""
    array = vector if isinstance(vector, np.ndarray) else _array_of_list(vector, field)
    refuse_masked(array, field)
    if array.ndim != 1:
        raise RefusedValueError(field, f"shape {array.shape} is not one-dimensional")
    return check_numbers(array, field)


def check_numbers(array: NDArray[Any], field: str) -> NDArray[Any]:
    """An array of any shape with a dtype of DTYPES, all finite, not empty, within size."""
    if array.dtype.str not in DTYPES:
        array = _little_endian(array, field)
    if array.size == 0:
        raise RefusedValueError(field, "empty; a vector has at least one element")
    if array.dtype.kind == "f" and not _is_finite(array):
        index = tuple(int(axis) for axis in np.argwhere(~np.isfinite(array))[0])
        place = "".join(f"[{axis}]" for axis in index)
        raise RefusedValueError(f"{field}{place}", f"{array[index]} is not finite")
    row_bytes = array.shape[-1] * array.itemsize
    if row_bytes > VECTOR_BYTES_MAX:
        raise RefusedValueError(
            field, f"a vector of {row_bytes} bytes is over the limit of {VECTOR_BYTES_MAX}"
        )
    return array


def _little_endian(array: NDArray[Any], field: str) -> NDArray[Any]:
    swapped = array.dtype.newbyteorder("<")
    if swapped.str not in DTYPES:
        raise RefusedTypeError(
            field, f"dtype {array.dtype} is none of {', '.join(sorted(DTYPE_NAMES))}"
        )
    return array.astype(swapped)


def _array_of_list(vector: object, field: str, target: str | None = None) -> NDArray[Any]:
    """An array of a list of numbers, of dtype `target` or the one that the numbers ask for."""
    if not isinstance(vector, (list, tuple)):
        raise RefusedTypeError(field, f"{type(vector).__name__} is not a list of numbers")
    kinds = set(map(type, vector))
    if kinds == {float} and target in {None, FLOAT64, FLOAT32}:
        wide = np.array(vector, FLOAT64)
        if target != FLOAT32:
            return wide
        with np.errstate(all="ignore"):
            narrow = wide.astype(FLOAT32)
        if np.array_equal(narrow, wide):
            return narrow  # else the place is found below
    numbers = [_number(item, f"{field}[{index}]") for index, item in enumerate(vector)]
    dtype = np.dtype(target or (FLOAT64 if float in set(map(type, numbers)) else INT64))
    try:
        with np.errstate(all="ignore"):
            array = np.array(numbers, dtype)
    except (OverflowError, ValueError) as error:
        raise RefusedValueError(field, f"{dtype.name} does not hold it: {error}") from error
    for index, (kept, given) in enumerate(zip(array.tolist(), numbers, strict=True)):
        if kept != given and given == given:  # noqa: PLR0124  # NaN is refused later, by name
            raise RefusedValueError(f"{field}[{index}]", f"{dtype.name} does not hold {given}")
    return array


def matrix_array(matrix: object, field: str) -> NDArray[Any]:
    """A checked array of shape (rows, n): a two-dimensional array or a list of equal rows."""
    if isinstance(matrix, np.ndarray):
        array = matrix
        refuse_masked(array, field)
    elif isinstance(matrix, (list, tuple)) and matrix:
        rows = [vector_array(row, f"{field}[{index}]") for index, row in enumerate(matrix)]
        for index, row in enumerate(rows):
            if row.shape != rows[0].shape:
                raise RefusedValueError(
                    f"{field}[{index}]", f"{len(row)} numbers, and row 0 has {len(rows[0])}"
                )
        if len({row.dtype for row in rows}) > 1:
            rows = [
                _array_of_list(row, f"{field}[{index}]", FLOAT64)
                for index, row in enumerate(matrix)
            ]
        array = np.stack(rows)
    else:
        raise RefusedTypeError(field, f"{type(matrix).__name__} is not a matrix")
    if array.ndim != 2:  # noqa: PLR2004  # a matrix
        raise RefusedValueError(field, f"shape {array.shape} is not two-dimensional")
    return check_numbers(array, field)


def refuse_masked(array: NDArray[Any], field: str) -> None:
    """Raise RefusedValueError where some elements are masked."""
    if isinstance(array, np.ma.MaskedArray) and np.ma.is_masked(array):
        raise RefusedValueError(field, "some elements are masked")


def _number(item: object, field: str) -> float:
    """A Python int or float for one element of a list; bools and everything else are refused."""
    plain = item.item() if isinstance(item, np.generic) else item
    if isinstance(plain, bool) or not isinstance(plain, (int, float)):
        raise RefusedTypeError(field, f"{type(item).__name__} is not a number")
    return int(plain) if isinstance(plain, int) else float(plain)


class Vector(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """Numbers in a journal: `dtype` as numpy writes it, `data` as base64 of their bytes."""

    dtype: str
    data: bytes

    @property
    def array(self) -> NDArray[Any]:
        """A read-only view of shape (n,)."""
        return np.frombuffer(self.data, self.dtype)


def _make_artifact(tagged: dict[str, Any]) -> NumericVectorArtifact:
    return NumericVectorArtifact.from_dict(tagged)


values.type_marks[TYPE_NAME] = _make_artifact
values.tagged_types[NumericVectorArtifact] = NumericVectorArtifact.to_dict
