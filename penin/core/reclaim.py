"""Reclaiming the space of dead rows: what is left of some segments is copied into one.

In two halves, so that the long one can run in another thread: `ReclaimPlan.copy` copies, and
`KnowledgeBase.adopt` lets the keys point to the copy.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from penin.core.blocks import Block
from penin.core.segments import ROWS_MAX, SEGMENT_BYTES_MAX, MemorySegment, Segment


class ReclaimPlan:
    """The live rows of neighbouring sealed segments, to be copied into one.

    `copy` may run in any thread: rows of a sealed segment change no more, and which of them are
    live was noted when the plan was made.
    """

    __slots__ = ("copied", "keys", "sources")

    def __init__(self, segments: list[Segment]) -> None:
        self.sources = [(segment, Block(segment).rows()) for segment in segments]
        self.keys: list[str] = []
        self.copied: MemorySegment

    def copy(self) -> None:
        """Copy the rows: at most SEGMENT_BYTES_MAX of numbers, a segment at a time.

        Raises CorruptionError where a mapped one is damaged.
        """
        kind = self.sources[0][0].kind
        copied = MemorySegment(kind, sum(len(rows) for _, rows in self.sources))
        copied.touch()
        for segment, rows in self.sources:
            count = len(segment.live)
            numbers = np.ascontiguousarray(segment.matrix(count)[rows])
            keys = _texts(segment.key_ends(count), segment.key_text, rows)
            metadata = _texts(segment.metadata_ends(count), segment.metadata_text, rows)
            seqs = array("q", segment.seqs(count)[rows].tobytes())
            copied.extend(keys, numbers.data.cast("B"), metadata, seqs)
            self.keys += [key.decode() for key in keys]
        self.copied = copied


def _texts(
    ends: NDArray[np.int64], text_of: Callable[[int, int], bytes], rows: list[int]
) -> list[bytes]:
    """The keys, or the metadata, of some rows."""
    first = int(ends[0])
    text = text_of(first, int(ends[-1]))
    places = (ends - first).tolist()
    return [text[places[row] : places[row + 1]] for row in rows]


def neighbours(segments: list[Segment], due: Segment) -> list[Segment]:
    """The neighbours of `due` that are reclaimed with it, itself among them."""
    rows = due.live_count
    rows_max = min(ROWS_MAX // 2, SEGMENT_BYTES_MAX // due.kind[1])
    start = segments.index(due)
    stop = start + 1
    while True:
        if start and _fits(segments[start - 1], rows, rows_max):
            start -= 1
            rows += segments[start].live_count
        elif stop < len(segments) and _fits(segments[stop], rows, rows_max):
            rows += segments[stop].live_count
            stop += 1
        else:
            return segments[start:stop]


def _fits(segment: Segment, rows: int, rows_max: int) -> bool:
    return segment.is_sealed and segment.live_count <= min(rows, rows_max - rows)
