"""Segments: rows come out as they went in, how many fit, and what a column takes for its next."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penin.core import segments
from penin.core.blocks import Block
from penin.core.segments import MemorySegment

rows = st.lists(
    st.tuples(
        st.text(st.characters(codec="utf-8"), max_size=5),
        st.binary(min_size=8, max_size=8),
        st.binary(max_size=9),
        st.integers(0, 2**63 - 1),
    ),
    max_size=12,
)


def segment_of(contents, capacity: int = 16) -> MemorySegment:
    segment = MemorySegment(("<i4", 8), capacity)
    for key, data, metadata, seq in contents:
        segment.append(key.encode(), data, metadata, seq)
    return segment


def contents_of(segment: MemorySegment, count: int):
    return [
        (
            segment.key(row).decode(),
            bytes(segment.numbers(row)),
            segment.metadata(row),
            segment.seq(row),
        )
        for row in range(count)
    ]


@given(rows)
def test_rows_come_out_as_they_went_in(contents):
    segment = segment_of(contents)
    count = len(contents)
    assert contents_of(segment, count) == contents
    assert segment.matrix(count).tobytes() == b"".join(data for _, data, _, _ in contents)
    assert segment.matrix(count).shape == (count, 2)
    assert segment.matrix(count).dtype == np.dtype("<i4")
    assert segment.seqs(count).tolist() == [seq for *_, seq in contents]
    assert segment.live == b"\1" * count
    assert segment.live_count == count
    assert segment.room == 16 - count


@given(rows, rows.filter(bool))
def test_rows_added_together_are_as_those_added_one_by_one(before, added):
    one_by_one = segment_of([*before, *((*parts, 7) for *parts, _ in added)], 24)
    together = segment_of(before, 24)
    first = together.extend(
        [key.encode() for key, *_ in added],
        memoryview(b"".join(data for _, data, _, _ in added)),
        [metadata for _, _, metadata, _ in added],
        [7] * len(added),
    )
    count = len(before) + len(added)
    assert first == len(before)
    assert contents_of(together, count) == contents_of(one_by_one, count)
    assert together.live == one_by_one.live
    assert together.live_count == one_by_one.live_count
    assert together.is_sealed is one_by_one.is_sealed is (count == 24)


@given(rows, rows)
def test_a_block_stays_what_it_was(contents, later):
    segment = segment_of(contents, 24)
    block = Block(segment)
    held = block.matrix, block.live, block.seqs
    for key, data, metadata, seq in later:
        segment.append(key.encode(), data, metadata, seq)
    for row in range(len(segment.live)):
        segment.live[row] = 0
    assert block.count == len(contents)
    assert block.rows() == list(range(len(contents)))
    assert block.keys() == [key for key, *_ in contents]
    assert [block.metadata(row) for row in block.rows()] == [each[2] for each in contents]
    assert [block.artifact(row).parts[1] for row in block.rows()] == [each[1] for each in contents]
    for array, again in zip(held, (block.matrix, block.live, block.seqs), strict=True):
        assert array.tolist() == again.tolist()
        assert not array.flags.writeable


def test_a_segment_is_sealed_when_its_rows_are_full():
    segment = segment_of([("a", bytes(8), b"{}", 1)], 2)
    assert not segment.is_sealed
    segment.append(b"b", bytes(8), b"{}", 2)
    assert segment.is_sealed
    with pytest.raises(ValueError, match="assignment"):
        segment.append(b"c", bytes(8), b"{}", 3)
    assert len(segment.live) == 2


@pytest.mark.parametrize("is_key", [True, False])
@pytest.mark.parametrize("is_bulk", [True, False])
def test_a_segment_is_sealed_when_its_texts_are_long(monkeypatch, is_key, is_bulk):
    monkeypatch.setattr(segments, "TEXT_BYTES_MAX", 100)
    segment = MemorySegment(("<i4", 8), 16)
    for number in range(3):
        assert not segment.is_sealed
        texts = (b"x" * 40, b"{}") if is_key else (b"x", b"{" + b" " * 38 + b"}")
        if is_bulk:
            segment.extend([texts[0]], memoryview(bytes(8)), [texts[1]], [number])
        else:
            segment.append(texts[0], bytes(8), texts[1], number)
    assert segment.is_sealed
