"""`VectorIndex`: a graph (HNSW, of the library usearch) that finds most of the nearest vectors.

It is over the vectors of one dimension, for one metric, and covers a seq: every vector that was
live at that seq is in it. It is a cache and never the truth: what it gives are *candidates*, each a
key and the seq of its change, and `penin.core.approximate` makes results of them.

As a file it is, in this order: the graph as usearch writes it, the text of the keys, where each key
ends and the seq of each row (64-bit integers, little-endian), a `Card` as JSON, the length of the
card (64 bits, little-endian), and the SHA-256 of everything before.
"""

from __future__ import annotations

import hashlib
import struct
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from penin.core.blocks import Block
from penin.core.knowledge_view import KnowledgeView
from penin.core.nearest import Metric, Numbers, Query, norms_of
from penin.errors import CorruptionError, FormatError, UsageError

FORMAT: Final = "penin-index"
VERSION: Final = 1

NUMBERS: Final = "bf16"
"""What the graph keeps a number as: the range of float32 in 2 bytes. It only leads the search."""
CONNECTIVITY: Final = 20
EXPANSION_ADD: Final = 128
EXPANSION_SEARCH: Final = 320
"""How many neighbours a row has; how widely the graph is searched when it grows, and when asked."""
DEAD_SHARE_MAX: Final = 0.5
"""An index is not extended, but built anew, when more of its rows were removed or replaced."""
ADDED_ROWS: Final = 4096
"""So many rows are handed to the graph at once."""

_LARGEST: Final = 1e15
"""Numbers beyond this are cut to it, so that no square overflows float32."""
_METRICS: Final[dict[Metric, str]] = {"cosine": "cos", "dot": "ip", "euclidean": "l2sq"}
_BLOCK_BYTES: Final = 2**20
_INTEGER_BYTES: Final = 8
_LENGTH: Final = struct.Struct("<Q")
_DIGEST_BYTES: Final = 32
_CALLS_BETWEEN_PAUSES: Final = 64


class Candidate(NamedTuple):
    """A key, and the seq of the change that gave it the vector that is in the index."""

    key: str
    seq: int


class Card(msgspec.Struct, frozen=True):
    """What an index file says about itself: what it is of, what it covers, and how it is laid out.

    `store` is the id of the store, `rows` how many vectors are in it.
    """

    format: str
    version: int
    store: str
    seq: int
    metric: Metric
    dimension: int
    numbers: str
    connectivity: int
    rows: int
    graph_bytes: int
    keys_bytes: int


class Rows(NamedTuple):
    """Which vector each number of a graph stands for: its key and its seq. Columns, not objects.

    `ends` says where each key ends in `text`. They grow in an index that is built, and are parts of
    a mapped file in one that is asked.
    """

    text: bytearray | memoryview
    ends: array[int] | memoryview
    seqs: array[int] | memoryview

    def candidate(self, number: int) -> Candidate:
        """Key and seq of one."""
        start = self.ends[number - 1] if number else 0
        return Candidate(bytes(self.text[start : self.ends[number]]).decode(), self.seqs[number])


class VectorIndex:
    """See the head of this file. Made empty; raises UsageError where usearch is missing.

    One that `decode_index` gave cannot be extended. Not to be called by two threads at once.
    """

    def __init__(self, dimension: int, metric: Metric) -> None:
        self.dimension = dimension
        self.metric = metric
        self.seq = -1
        self.rows = Rows(bytearray(), array("q"), array("q"))
        self.graph = _new_graph(dimension, metric)

    def __len__(self) -> int:
        """How many rows are in it, also those that were removed or replaced since."""
        return len(self.rows.seqs)

    def extendable(self) -> VectorIndex:
        """A copy of one that `decode_index` gave, in memory, to be extended."""
        copy = VectorIndex(self.dimension, self.metric)
        copy.graph = self.graph.copy()
        text, ends, seqs = self.rows
        copy.rows = Rows(bytearray(text), array("q", ends), array("q", seqs))
        copy.seq = self.seq
        return copy

    def is_mostly_dead(self, view: KnowledgeView) -> bool:
        """Whether it had better be built anew, by DEAD_SHARE_MAX."""
        live = sum(
            int(np.count_nonzero(block.live & (block.seqs <= self.seq)))
            for block in self._blocks(view)
        )
        return live < DEAD_SHARE_MAX * len(self)

    def extend(self, view: KnowledgeView, seq: int, threads: int) -> None:
        """Add what changed up to `seq`, at which `view` was taken. Raises CorruptionError."""
        for block in self._blocks(view):
            rows = np.flatnonzero(block.live & (block.seqs > self.seq))
            for start in range(0, len(rows), ADDED_ROWS):
                self._add(block, rows[start : start + ADDED_ROWS], threads)
        self.seq = seq

    def _blocks(self, view: KnowledgeView) -> Iterator[Block]:
        return (block for block in view.blocks() if block.dimension == self.dimension)

    def _add(self, block: Block, rows: NDArray[np.int64], threads: int) -> None:
        text, ends, seqs = self.rows
        assert isinstance(text, bytearray)
        assert isinstance(ends, array)
        assert isinstance(seqs, array)
        numbers = np.arange(len(self), len(self) + len(rows), dtype=np.uint64)
        self.graph.add(numbers, _indexable(block.matrix[rows], self.metric), threads=threads)
        for row in rows.tolist():
            text += block.key(row).encode()
            ends.append(len(text))
        seqs.extend(block.seqs[rows].tolist())

    def candidates(self, query: Query, count: int) -> tuple[list[Candidate], bool]:
        """The best `count` candidates, best first, and whether they are all that there are."""
        if not len(self):
            return [], True
        vector = _indexable(query.vector[np.newaxis], self.metric)[0]
        matches = self.graph.search(vector, min(count, len(self)), threads=1)
        numbers = matches.keys.tolist()
        # Of many equal vectors, or zeros, the graph does not reach all.
        return [self.rows.candidate(number) for number in numbers], len(numbers) == len(self)


def require_usearch() -> None:
    """Raise UsageError where usearch is not installed. The first call imports it."""
    try:
        import usearch.index  # noqa: F401, PLC0415  # an extra
    except ImportError as error:
        raise UsageError(
            "approximate recall needs usearch, which is not installed: pip install 'penin[index]'"
        ) from error


def _new_graph(dimension: int, metric: Metric) -> Any:
    require_usearch()
    from usearch.index import Index  # noqa: PLC0415  # an extra

    return Index(
        ndim=dimension,
        metric=_METRICS[metric],
        dtype=NUMBERS,
        connectivity=CONNECTIVITY,
        expansion_add=EXPANSION_ADD,
        expansion_search=EXPANSION_SEARCH,
        enable_key_lookups=False,
    )


def _indexable(matrix: NDArray[Any], metric: Metric) -> NDArray[np.float32]:
    """The rows as float32 of which no square overflows; of length 1 for the cosine."""
    if metric == "cosine":
        # By the largest number first, so that no square overflows or vanishes.
        matrix = matrix.astype(np.float64)
        matrix = _divided(matrix, np.abs(matrix).max(axis=1))
        matrix = _divided(matrix, norms_of(matrix))
    cut: NDArray[np.float32] = np.clip(matrix, -_LARGEST, _LARGEST).astype(np.float32)
    return cut


def _divided(matrix: Numbers, lengths: Numbers) -> Numbers:
    """Each row divided by its length; one of length 0 as it is."""
    return matrix / np.where(lengths > 0, lengths, 1.0)[:, np.newaxis]


# -- as a file --------------------------------------------------------------------------------


def encode_index(index: VectorIndex, store: str) -> Iterator[bytes | memoryview]:
    """The file of an index, in pieces of at most 1 MiB. It holds the graph twice in memory."""
    graph = memoryview(index.graph.save())
    text, ends, seqs = index.rows
    card = Card(
        format=FORMAT,
        version=VERSION,
        store=store,
        seq=index.seq,
        metric=index.metric,
        dimension=index.dimension,
        numbers=NUMBERS,
        connectivity=CONNECTIVITY,
        rows=len(index),
        graph_bytes=len(graph),
        keys_bytes=len(text),
    )
    encoded = msgspec.json.encode(card)
    integers = [np.array(column, "<i8").data.cast("B") for column in (ends, seqs)]
    digest = hashlib.sha256()
    for part in (graph, text, *integers, encoded, _LENGTH.pack(len(encoded))):
        for start in range(0, len(part), _BLOCK_BYTES):
            piece = memoryview(part)[start : start + _BLOCK_BYTES]
            digest.update(piece)
            yield piece
    yield digest.digest()


def read_card(file: memoryview, path: Path) -> Card:
    """What a file says about itself, not checked against its digest; `path` is for messages.

    Raises CorruptionError where it says nothing, FormatError where another version wrote it.
    """
    end = len(file) - _DIGEST_BYTES - _LENGTH.size
    length = _LENGTH.unpack_from(file, end)[0] if end >= 0 else 0
    if not 0 < length <= end:
        raise CorruptionError(path, max(0, end), "damaged or cut")
    try:
        card = msgspec.json.decode(bytes(file[end - length : end]), type=Card)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise CorruptionError(path, end - length, "damaged or cut") from error
    if (card.format, card.version) != (FORMAT, VERSION):
        raise FormatError(path, f"{card.format} version {card.version}; this program has {VERSION}")
    return card


def decode_index(file: memoryview, path: Path, pause: Callable[[], None]) -> VectorIndex:
    """The index in a mapped file, which it keeps mapped; `path` is for messages only.

    All of the file is read. `pause` is called now and then while the interpreter is held.
    Raises CorruptionError where the digest is not right, FormatError where the graph is not one of
    ours, UsageError where usearch is missing.
    """
    card = read_card(file, path)
    _check_digest(file, path)
    if (card.numbers, card.connectivity) != (NUMBERS, CONNECTIVITY):
        raise FormatError(path, "built with other parameters")
    index = VectorIndex(card.dimension, card.metric)
    try:
        index.graph.view(file[: card.graph_bytes], progress=_pausing(pause))
    except RuntimeError as error:
        raise FormatError(path, f"usearch does not read it: {error}") from error
    if len(index.graph) != card.rows:
        raise FormatError(path, f"a graph of {len(index.graph)} rows, and not of {card.rows}")
    ends_at = card.graph_bytes + card.keys_bytes
    seqs_at = ends_at + card.rows * _INTEGER_BYTES
    index.rows = Rows(
        file[card.graph_bytes : ends_at],
        file[ends_at:seqs_at].cast("q"),
        file[seqs_at : seqs_at + card.rows * _INTEGER_BYTES].cast("q"),
    )
    index.seq = card.seq
    return index


def _check_digest(file: memoryview, path: Path) -> None:
    end = len(file) - _DIGEST_BYTES
    digest = hashlib.sha256()
    for start in range(0, end, _BLOCK_BYTES):
        digest.update(file[start : min(start + _BLOCK_BYTES, end)])
    if digest.digest() != file[end:]:
        raise CorruptionError(path, end, "the digest is not right: damaged or cut")


def _pausing(pause: Callable[[], None]) -> Callable[[int, int], bool]:
    """What usearch calls after each row: it holds the interpreter, and is made to let go."""
    calls = 0

    def go_on(done: int, total: int) -> bool:  # noqa: ARG001  # usearch looks at the signature
        nonlocal calls
        calls += 1
        if not calls % _CALLS_BETWEEN_PAUSES:
            pause()
        return True

    # usearch compares the annotations with types, which postponed they are not.
    go_on.__annotations__ = {"done": int, "total": int, "return": bool}
    return go_on
