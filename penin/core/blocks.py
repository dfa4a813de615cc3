"""Blocks: segments of a knowledge base as they were at one moment."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from typing import Any

import numpy as np
from numpy.typing import NDArray

from penin.core.artifacts import NumericVectorArtifact
from penin.core.segments import Kind, Segment


class Block:
    """The rows of one segment as they were at one moment; see `penin.core.segments`.

    Rows are numbered from 0 to `count` - 1, dead ones among them: look at `live` first.
    """

    __slots__ = ("_live", "_segment", "live_count")

    def __init__(self, segment: Segment) -> None:
        self._segment = segment
        self._live = bytes(segment.live)
        self.live_count = segment.live_count

    @property
    def count(self) -> int:
        """How many rows there are, live and dead."""
        return len(self._live)

    @property
    def number(self) -> int:
        """The number of its segment in the knowledge base."""
        return self._segment.number

    @property
    def live(self) -> NDArray[np.bool_]:
        """Whether each row was live; read-only, shape (count,)."""
        return np.frombuffer(self._live, np.bool_)

    @property
    def matrix(self) -> NDArray[Any]:
        """The vectors, a read-only view of shape (count, n)."""
        return self._segment.matrix(self.count)

    @property
    def seqs(self) -> NDArray[np.int64]:
        """The seq of each row's transition; read-only, shape (count,)."""
        return self._segment.seqs(self.count)

    def seq(self, row: int) -> int:
        """The seq of a row's transition."""
        return self._segment.seq(row)

    def newest_seq(self) -> int:
        """The highest of all `seqs`, dead rows among them, or higher; looked at once a row."""
        count, newest = self._segment.newest
        if count < self.count:
            newest = max(newest, int(self.seqs[count:].max()))
            self._segment.newest = self.count, newest
        return newest

    def key(self, row: int) -> str:
        """The key of a row."""
        return self._segment.key(row).decode()

    def keys(self) -> list[str]:
        """The key of each row, of dead ones too."""
        return [self.key(row) for row in range(self.count)]

    def metadata(self, row: int) -> bytes:
        """The metadata of a row, as JSON."""
        return self._segment.metadata(row)

    def artifact(self, row: int) -> NumericVectorArtifact:
        """The artifact of a row, which keeps the numbers of the whole segment in memory."""
        return self._segment.artifact(row)

    def for_copying(self, files: dict[int, Any]) -> Block:
        """The same block, of which everything is checked that can be damaged; for one snapshot.

        `files` is what the blocks of one snapshot share, empty at first.
        """
        block = copy(self)
        block._segment = self._segment.for_copying(files)  # noqa: SLF001  # of the same class
        return block

    @property
    def kind(self) -> Kind:
        """The dtype and the bytes of one vector."""
        return self._segment.kind

    @property
    def dimension(self) -> int:
        """How many numbers a vector has."""
        dtype, row_bytes = self._segment.kind
        return row_bytes // np.dtype(dtype).itemsize

    def norms(self, measure: Callable[[NDArray[Any]], NDArray[np.float64]]) -> NDArray[np.float64]:
        """The norm of each vector, (count,), by `measure`; once a row, and 8 bytes of it stay."""
        known = self._segment.norms
        if len(known) < self.count:
            known = np.concatenate((known, measure(self.matrix[len(known) :])))
            self._segment.norms = known
        return known[: self.count]

    def vector(self, row: int) -> NDArray[Any]:
        """The numbers of a row, a read-only view of shape (n,)."""
        return np.frombuffer(self._segment.numbers(row), self._segment.kind[0])

    def key_ends(self) -> NDArray[np.int64]:
        """Where each key ends in the text of all keys, and before that, where the first begins.

        Shape (count + 1,).
        """
        return self._segment.key_ends(self.count)

    def key_text(self, start: int, stop: int) -> bytes:
        """A part of the text of all keys, in UTF-8."""
        return self._segment.key_text(start, stop)

    def metadata_ends(self) -> NDArray[np.int64]:
        """The same as `key_ends`, of the metadata."""
        return self._segment.metadata_ends(self.count)

    def metadata_text(self, start: int, stop: int) -> bytes:
        """A part of the text of all metadata."""
        return self._segment.metadata_text(start, stop)

    def release(self) -> None:
        """The vectors were copied and are not needed for now."""
        self._segment.release()

    def rows(self) -> list[int]:
        """The numbers of the live rows, in order."""
        rows: list[int] = np.flatnonzero(self.live).tolist()
        return rows
