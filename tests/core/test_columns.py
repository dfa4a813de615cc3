"""Columns: how much room the next segment has."""

from __future__ import annotations

import pytest

from penin.core.columns import SEGMENT_BYTES_MIN, Column
from penin.core.knowledge import KnowledgeBase
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


def test_a_large_column_wants_a_spare_segment_when_its_last_one_is_half_full() -> None:
    base = KnowledgeBase()
    half, row = ROWS_MAX // 2, bytes(8)

    def extend(first: int, count: int) -> None:
        keys = [f"k{number}" for number in range(first, first + count)]
        base.extend(keys, "<f8", row * count, None, [1] * count)

    extend(0, 2 * ROWS_MAX + half - 1)
    assert not base.is_spare_due
    extend(2 * ROWS_MAX + half, 1)
    assert base.is_spare_due
    spare = base.spare_due()
    assert spare is not None
    assert (spare.kind, spare.capacity) == (("<f8", 8), ROWS_MAX)
    assert not base.is_spare_due
    extend(3 * ROWS_MAX, half)  # the tail is full, and nothing has come after it yet
    base.take_spare(spare)
    base.take_spare(MemorySegment(("<f8", 8), ROWS_MAX))  # there is one
    extend(4 * ROWS_MAX, 1)
    (column,) = base.columns()
    assert column.tail is spare
    assert column.spare is None


def test_a_column_that_is_gone_wants_no_spare_segment_and_takes_none() -> None:
    base = KnowledgeBase()
    keys = [f"k{number}" for number in range(ROWS_MAX // 2)]
    base.extend(keys, "<f8", bytes(8 * len(keys)), None, [1] * len(keys))
    assert base.is_spare_due
    for key in keys:
        base.remove(key)
    assert not base.is_spare_due
    base.take_spare(MemorySegment(("<f8", 8), ROWS_MAX))
    assert base.columns() == []
