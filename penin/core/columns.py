"""Columns: all vectors of one kind, in the order of their last change."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from penin.core.segments import ROWS_MAX, SEGMENT_BYTES_MAX, Kind, MemorySegment, Segment

SEGMENT_BYTES_MIN: Final = 2**16
"""The room of the first segment of a column: many columns with few vectors each cost little."""


class Column:
    """The vectors of one kind: sealed segments in order, and last the tail, if there is one.

    The tail is the segment that takes further rows, and `spare`, if there is one, takes those that
    come when it is full. There is always a live row: a column whose last one dies is dropped, and
    so is a sealed segment.
    """

    __slots__ = ("kind", "segments", "spare", "tail")

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.segments: list[Segment] = []
        self.tail: MemorySegment | None = None
        self.spare: MemorySegment | None = None

    def by_change(self) -> Iterator[tuple[int, str]]:
        """Seq and key of each vector, in their order; to be read before anything is changed."""
        for segment in self.segments:
            row = segment.live.find(1)
            while row >= 0:
                yield segment.seq(row), segment.key(row).decode()
                row = segment.live.find(1, row + 1)

    def new_segment(self) -> MemorySegment:
        """The spare segment, or an empty one, for further rows; it is not in `segments` yet.

        It has room for as many rows as are live, within the limits of a segment: so a column takes
        at most about twice the memory of what is live in it, and a spare segment, and nothing is
        copied for growing.
        """
        if self.spare is not None:
            spare, self.spare = self.spare, None
            return spare
        smallest = max(1, SEGMENT_BYTES_MIN // self.kind[1])
        live_count = sum(segment.live_count for segment in self.segments)
        return MemorySegment(self.kind, min(max(live_count, smallest), self.capacity_max))

    @property
    def wants_spare(self) -> bool:
        """Whether the tail is half full, and as large as segments become, and there is no spare."""
        tail = self.tail
        return (
            tail is not None
            and self.spare is None
            and 2 * len(tail.live) >= tail.capacity
            and tail.capacity == self.capacity_max
        )

    @property
    def capacity_max(self) -> int:
        """How many rows a segment of this kind has at most."""
        return min(max(1, SEGMENT_BYTES_MAX // self.kind[1]), ROWS_MAX)
