"""Recall: the artifacts of a knowledge base that are nearest to a vector, found exactly.

`nearest` is synchronous, reads a `KnowledgeView`, and may run in any thread: it lets go of the
interpreter while numpy computes.

=============  ==========================================================  ==================
metric         score                                                       best first means
=============  ==========================================================  ==================
``cosine``     the cosine of the angle, -1.0 to 1.0; 0.0 where one of the  descending
               two vectors is all zeros
``dot``        the sum of the products; infinite beyond float64            descending
``euclidean``  the distance, 0.0 and up; infinite beyond float64           ascending
=============  ==========================================================  ==================

A score is computed in float64 from the numbers as they are kept (64-bit integers are rounded to
float64), row by row and always in the same way: equal vectors have equal scores, wherever they lie.
Equal scores stand in the order of the knowledge base.

That would take many times as long as one pass over float32 numbers. So each block is passed over
once in the dtype that it has (8- and 16-bit integers in float32, longer ones in float64), which
gives for each row a *limit*: its score is certainly not better. Only rows whose limit reaches the
score that is the k-th best so far are filtered and scored, the best limits first. The limits hold
for any order of summation, so the result is that of scoring every row.

Every column whose vectors have the dimension of the query is searched, of whatever dtype.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, get_args

import msgspec
import numpy as np
from numpy.typing import NDArray

from penin.core import values
from penin.core.artifacts import NumericVectorArtifact, vector_array
from penin.core.blocks import Block
from penin.core.knowledge_view import KnowledgeView
from penin.core.segments import ROW_BITS
from penin.errors import RefusedTypeError, RefusedValueError

Metric = Literal["cosine", "dot", "euclidean"]
METRICS: Final[tuple[str, ...]] = get_args(Metric)

PIECE_BYTES: Final = 2**19
"""Numbers are converted and scored in pieces of about this size, which a cache holds."""
CANDIDATES_MIN: Final = 256
"""So many rows at least are filtered and scored together."""
DIMENSIONS_SHOWN_MAX: Final = 5
_ROW_MASK: Final = 2**ROW_BITS - 1
BLAS_DIMENSIONS_MIN: Final = 64
"""numpy calls the BLAS once a row: with fewer numbers in it that takes longer than einsum."""
_NORM_MIN: Final = 1e-100
_NORM_MAX: Final = 1e150
"""Between these no square and no product of two norms loses digits to underflow, or overflows."""

Numbers = NDArray[np.float64]
Rows = NDArray[np.int64]


class Neighbour(msgspec.Struct, frozen=True):
    """One of the nearest: its key, its score (see the metric), and its artifact."""

    key: str
    score: float
    artifact: NumericVectorArtifact


class Query(msgspec.Struct, frozen=True):
    """What is asked for, checked and copied; made by `query_of`.

    `vector` is float64 of shape (n,), `unit` the same at length 1, or zeros. `length` is as
    `norms_of` gives it. `where` is field -> the values of which it may have any.
    """

    vector: Numbers
    unit: Numbers
    length: float
    k: int
    metric: Metric
    where: dict[str, list[Any]]


def query_of(
    vector: Sequence[float] | NDArray[Any],
    k: int = 10,
    metric: Metric = "cosine",
    where: Mapping[str, Any] | None = None,
) -> Query:
    """Check and copy the arguments of `nearest`.

    Raises RefusedTypeError or RefusedValueError, naming `vector`, `k`, `metric` or `where.<field>`.
    """
    numbers = vector_array(vector, "vector").astype(np.float64)
    if isinstance(k, bool) or not isinstance(k, int):
        raise RefusedTypeError("k", f"{values.shown(k)} is not an integer")
    if k < 1:
        raise RefusedValueError("k", f"{values.shown(k)} is below 1")
    if metric not in METRICS:
        raise RefusedValueError("metric", f"{values.shown(metric)} is none of {', '.join(METRICS)}")
    if where is not None and not isinstance(where, Mapping):
        raise RefusedTypeError("where", f"{type(where).__name__} is not a mapping")
    wanted = {} if where is None else {name: _wanted(name, where[name]) for name in where}
    scaled = _scaled(numbers[np.newaxis])[0]
    unit = scaled[0] / (norms_of(scaled)[0] or 1.0)
    length = float(norms_of(numbers[np.newaxis])[0])
    return Query(numbers, unit, length, k, metric, wanted)


def _wanted(name: object, value: object) -> list[Any]:
    """The values that a field may have, converted as metadata is."""
    if not isinstance(name, str):
        raise RefusedTypeError("where", f"the field {values.shown(name)} is not a string")
    if isinstance(value, (set, frozenset)):
        value = list(value)
    taken = values.decode_value(values.take_value(value, f"where.{name}"))
    return taken if isinstance(taken, list) else [taken]


def nearest(view: KnowledgeView, query: Query) -> list[Neighbour]:
    """The `k` nearest artifacts that `where` lets through, best first; fewer if there are fewer.

    An empty knowledge base has none. Raises RefusedValueError, naming `vector`, where there are
    vectors and none has the dimension of the query; CorruptionError where a file is damaged.
    """
    found = Found(query, list(view.blocks()))
    found.search()
    return found.neighbours()


def _wrong_dimension(blocks: list[Block], dimension: int) -> RefusedValueError:
    there = sorted({block.dimension for block in blocks})
    shown = ", ".join(map(str, there[:DIMENSIONS_SHOWN_MAX]))
    more = ", …" if len(there) > DIMENSIONS_SHOWN_MAX else ""
    return RefusedValueError(
        "vector", f"{dimension} numbers; the knowledge base has vectors of {shown}{more}"
    )


# -- the search -------------------------------------------------------------------------------


class Found:
    """The best rows of some blocks so far.

    A *merit* is a score of which more is better: a distance negated. A *place* is the number of a
    block, in the order of `blocks`, and that of a row in it, as one integer.
    """

    def __init__(self, query: Query, blocks: list[Block]) -> None:
        self.query = query
        self.blocks = blocks
        self.searched_count = 0
        """How many rows `search` has looked at."""
        self.worst = -np.inf
        """The merit of the k-th best; no row below it is among the nearest."""
        self._merits: Numbers = np.empty(0)
        self._places: Rows = np.empty(0, np.int64)

    def search(self, after_seq: int | None = None) -> None:
        """Look at every live row of the query's dimension; or at those that changed after a seq.

        Raises as `nearest` does.
        """
        dimension = len(self.query.vector)
        fitting = [
            (number, block)
            for number, block in enumerate(self.blocks)
            if block.dimension == dimension
        ]
        if self.blocks and not fitting:
            raise _wrong_dimension(self.blocks, dimension)
        with np.errstate(all="ignore"):  # what overflows is scored exactly
            for number, block in fitting:
                if after_seq is None:
                    _search(self, number, block, block.live)
                elif block.newest_seq() > after_seq:
                    _search(self, number, block, block.live & (block.seqs > after_seq))

    def add(self, merits: Numbers, places: Rows) -> None:
        """Add rows, each once."""
        self._merits = np.concatenate((self._merits, merits))
        self._places = np.concatenate((self._places, places))
        if len(self._places) >= 2 * self.query.k:
            self._cut()

    def _cut(self) -> None:
        """Keep the k best, of equal ones those that come first."""
        order = np.lexsort((self._places, -self._merits))[: self.query.k]
        self._merits, self._places = self._merits[order], self._places[order]
        if len(order) == self.query.k:
            self.worst = float(self._merits[-1])

    def neighbours(self) -> list[Neighbour]:
        """The k best, best first."""
        self._cut()
        scores = -self._merits if self.query.metric == "euclidean" else self._merits
        found = []
        # No score is -0.0.
        for score, place in zip((scores + 0.0).tolist(), self._places.tolist(), strict=True):
            block, row = self.blocks[place >> ROW_BITS], place & _ROW_MASK
            found.append(Neighbour(block.key(row), score, block.artifact(row)))
        return found


def place_of(number: int, row: int) -> int:
    """The place of a row of the block with that number."""
    return (number << ROW_BITS) + row


def _search(found: Found, number: int, block: Block, wanted: NDArray[np.bool_]) -> None:
    """Add what may be among the nearest of the rows of one block that are wanted."""
    count = int(np.count_nonzero(wanted))
    if not count:
        return
    found.searched_count += count
    query = found.query
    matrix = block.matrix
    first = int(wanted.argmax())  # what changed last stands at the end
    limits = merit_limits(matrix[first:], block.norms(norms_of)[first:], query)
    rows: Rows = np.flatnonzero(wanted[first:] & (limits >= found.worst))
    limits = limits[rows]
    rows += first
    step = max(CANDIDATES_MIN, 2 * query.k)
    if len(rows) > step:
        order = np.argsort(-limits, kind="stable")
        rows, limits = rows[order], limits[order]
    for start in range(0, len(rows), step):
        if limits[start] < found.worst:
            return
        taken = rows[start : start + step]
        if query.where:
            mask = [fits(block.metadata(row), query.where) for row in taken.tolist()]
            taken = taken[np.array(mask)]
        if len(taken):
            found.add(merits_of(matrix, taken, query), (number << ROW_BITS) + taken)


def fits(metadata: bytes, where: dict[str, list[Any]]) -> bool:
    """Whether each field is there and has one of the values that are wanted."""
    decoded = values.decode_value(metadata)
    return all(
        name in decoded and any(_is_same(decoded[name], value) for value in wanted)
        for name, wanted in where.items()
    )


def _is_same(left: Any, right: Any) -> bool:
    """Equal as JSON values: 1 is 1.0, and true is not 1."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_is_same, left, right))
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_is_same(left[key], right[key]) for key in left)
    return bool(left == right)


# -- limits: one pass over a block ------------------------------------------------------------


def norms_of(matrix: NDArray[Any]) -> Numbers:
    """The Euclidean norm of each row, shape (rows,).

    NaN where the pass over the row might overflow or lose digits to underflow.
    """
    squares = np.empty(len(matrix))
    info = np.finfo(_computing_dtype(matrix.dtype))
    least = max(_NORM_MIN, matrix.shape[1] * float(info.tiny / info.eps))
    most = min(_NORM_MAX, float(info.max) / 4)
    with np.errstate(all="ignore"):
        for start, stop in _pieces(matrix):
            piece = matrix[start:stop].astype(np.float64)
            np.einsum("ij,ij->i", piece, piece, out=squares[start:stop])
    norms: Numbers = np.sqrt(squares)
    rows = np.flatnonzero(~((norms >= least) & (norms <= most)))
    norms[rows] = np.where(matrix[rows].any(axis=1), np.nan, 0.0)
    return norms


def merit_limits(matrix: NDArray[Any], norms: Numbers, query: Query) -> Numbers:
    """What the merit of each row certainly does not exceed, shape (rows,).

    A sum of n products in any order is off by at most n roundings of the sum of their absolute
    values, which the norms bound. Twice that is added; so it covers the scoring in float64 too.
    """
    dtype = _computing_dtype(matrix.dtype)
    sums = _products(matrix, query.unit.astype(dtype))
    roundings = 2 * len(query.unit) + 16
    share = roundings * float(np.finfo(dtype).eps)
    if query.metric == "cosine":
        limits = np.divide(sums, np.maximum(norms, _NORM_MIN))  # of zeros 0
        limits += share
    else:
        limits = share * norms
        limits += sums
    if query.metric == "dot":
        limits *= query.length
    elif query.metric == "euclidean":
        limits *= -2 * query.length
        squares = np.square(norms)
        squares += query.length**2
        squares *= 1 - roundings * float(np.finfo(np.float64).eps)
        limits += squares
        limits = -np.sqrt(np.maximum(limits, 0.0))
    # Of a row that could not be measured nothing is certain: its limit is NaN so far.
    certain: Numbers = np.fmin(limits, np.inf)
    return certain


def _computing_dtype(dtype: np.dtype[Any]) -> type[np.float32 | np.float64]:
    """float32 for what it holds exactly."""
    return np.float32 if np.can_cast(dtype, np.float32) else np.float64


def _products(matrix: NDArray[Any], vector: NDArray[Any]) -> NDArray[Any]:
    """The sum of products of each row with the vector, computed in the vector's dtype."""
    if matrix.dtype == vector.dtype:
        return _row_products(matrix, vector)
    sums = np.empty(len(matrix), vector.dtype)
    for start, stop in _pieces(matrix):
        sums[start:stop] = _row_products(matrix[start:stop].astype(vector.dtype), vector)
    return sums


def _row_products(matrix: NDArray[Any], vector: NDArray[Any]) -> NDArray[Any]:
    """The sum of products of each row with a vector of the same dtype.

    Row by row it runs in the one thread that calls it. The product with a whole matrix runs in the
    threads of the BLAS, which wait for each other after every block: on a busy machine that takes
    ten times as long.
    """
    products: NDArray[Any]
    if matrix.shape[1] >= BLAS_DIMENSIONS_MIN:
        products = np.vecdot(matrix, vector)
    else:
        products = np.einsum("ij,j->i", matrix, vector)
    return products


def _pieces(matrix: NDArray[Any]) -> list[tuple[int, int]]:
    """Bounds of pieces of so many rows that they have about PIECE_BYTES in float64."""
    rows = max(1, PIECE_BYTES // (8 * matrix.shape[1]))
    return [(start, min(start + rows, len(matrix))) for start in range(0, len(matrix), rows)]


# -- scores -----------------------------------------------------------------------------------


def merits_of(matrix: NDArray[Any], rows: Rows, query: Query) -> Numbers:
    """The merit of each of these rows, shape (len(rows),)."""
    merits = np.empty(len(rows))
    with np.errstate(all="ignore"):
        for start, stop in _pieces(matrix[: len(rows)]):
            piece = matrix[rows[start:stop]].astype(np.float64)
            merits[start:stop] = _merits(piece, query)
    return merits


def _merits(matrix: Numbers, query: Query) -> Numbers:
    """Nothing overflows or underflows on the way, only the score itself may."""
    if query.metric == "euclidean":
        differences, exponents = _scaled(matrix - query.vector)
        distances: Numbers = np.ldexp(np.sqrt(_row_sums(np.square(differences))), exponents)
        return -distances
    rows, exponents = _scaled(matrix)
    vectors, exponent = _scaled(query.vector[np.newaxis])
    sums = _row_sums(rows * vectors)
    if query.metric == "dot":
        products: Numbers = np.ldexp(sums, exponents + exponent)
        return products
    # The root of the product, not the product of the roots: of equal vectors it is exact.
    lengths = np.sqrt(_row_sums(np.square(rows)) * _row_sums(np.square(vectors)))
    cosines = np.divide(sums, lengths, out=np.zeros_like(sums), where=lengths > 0)
    clipped: Numbers = np.clip(cosines, -1.0, 1.0)
    return clipped


def _scaled(matrix: Numbers) -> tuple[Numbers, NDArray[np.int32]]:
    """Each row divided by a power of two so that its largest number is 0.5 to 1; the exponents."""
    largest = np.abs(matrix).max(axis=1)
    exponents = np.frexp(largest)[1]
    return np.ldexp(matrix, -exponents[:, np.newaxis]), exponents


def _row_sums(matrix: Numbers) -> Numbers:
    """The sum of each row. numpy sums a row by itself, whatever rows are beside it."""
    sums: Numbers = matrix.sum(axis=1)
    return sums
