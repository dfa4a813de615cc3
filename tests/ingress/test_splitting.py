"""From blocks to lines, in bounded memory."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from penin.ingress.splitting import Line, split_lines


def lines_of(blocks, bytes_max):
    async def collect():
        async def source():
            for block in blocks:
                yield block

        return [line async for line in split_lines(source(), bytes_max)]

    return asyncio.run(collect())


bytes_of_lines = st.lists(st.sampled_from([b"a", b"\n", b"\r", b"\xff"]), max_size=40).map(b"".join)
sizes = st.integers(1, 7)


@given(data=bytes_of_lines, block_bytes=sizes, bytes_max=st.integers(1, 10))
def test_every_line_comes_whole_or_in_pieces_however_the_blocks_are_cut(
    data, block_bytes, bytes_max
):
    blocks = [data[i : i + block_bytes] for i in range(0, len(data), block_bytes)]
    lines = lines_of(blocks, bytes_max)
    expected = data.split(b"\n")
    if expected[-1] == b"":
        expected.pop()
    whole: dict[int, bytes] = {}
    for line in lines:
        whole[line.number] = whole.get(line.number, b"") + line.data
    assert [whole[number] for number in sorted(whole)] == expected
    assert sorted(whole) == list(range(1, len(expected) + 1))
    for line in lines:
        assert line.is_whole == (len(expected[line.number - 1]) <= bytes_max)
        assert len(line.data) <= bytes_max + block_bytes
    assert [line.number for line in lines if line.is_last] == sorted(whole)


def test_the_last_line_needs_no_line_feed():
    assert lines_of([b"a\nb"], 10) == [
        Line(1, b"a", is_whole=True, is_last=True),
        Line(2, b"b", is_whole=True, is_last=True),
    ]


def test_a_line_that_never_ends_is_not_kept_in_memory():
    pieces = lines_of([b"x" * 10] * 1000, 100)
    assert max(len(piece.data) for piece in pieces) <= 110
    assert sum(len(piece.data) for piece in pieces) == 10_000
    assert [piece.is_last for piece in pieces] == [False] * (len(pieces) - 1) + [True]
    assert not any(piece.is_whole for piece in pieces)
