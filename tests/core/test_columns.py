"""Columns: how much room the next segment has."""

from __future__ import annotations

import pytest

from penin.core.columns import SEGMENT_BYTES_MIN, Column
from penin.core.segments import ROWS_MAX, SEGMENT_BYTES_MAX, MemorySegment


@pytest.mark.parametrize(
    ("row_bytes", "live", "capacity"),
    [
        (1536, 0, SEGMENT_BYTES_MIN // 1536),
        (1536, 1000, 1000),
        (2**20, 0, 1),
        (2**20, 100, SEGMENT_BYTES_MAX // 2**20),
        (2 * SEGMENT_BYTES_MAX, 3, 1),
        (1, 0, ROWS_MAX),
        (1, 10**6, ROWS_MAX),
    ],
)
def test_the_next_segment_of_a_column_has_room_for_as_many_rows_as_are_live(
    row_bytes, live, capacity
):
    column = Column(("|u1", row_bytes))
    held = MemorySegment(("|u1", row_bytes), 1)
    held.live_count = live
    column.segments.append(held)
    assert column.new_segment().room == capacity
