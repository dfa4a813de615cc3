"""Whatever the blocks are that bytes come in, the lines are the same, and memory is bounded."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from penin.ingress.socket import lines as lines_module
from penin.ingress.socket.lines import LONG_BYTES, Discarded, IncomingLines, LongLines
from penin.ingress.splitting import LINE_BYTES_MAX


def taken(incoming):
    found = []
    while incoming.whole:
        found.append(incoming.whole.popleft())
    return found


@given(st.lists(st.binary(max_size=20)))
def test_the_lines_are_those_of_the_whole(blocks):
    incoming = IncomingLines(LongLines())
    found = []
    for block in blocks:
        incoming.feed(block)
        found += taken(incoming)
    incoming.end()
    found += taken(incoming)
    whole = b"".join(blocks)
    expected = whole.split(b"\n")
    assert found == (expected[:-1] if not expected[-1] else expected)


def test_a_line_of_the_greatest_length_is_whole_and_a_longer_one_is_dropped_as_it_comes():
    long_lines = LongLines()
    incoming = IncomingLines(long_lines)
    block = b"x" * 2**18
    for _ in range(LINE_BYTES_MAX // len(block)):
        incoming.feed(block)
    assert long_lines.held_bytes == LINE_BYTES_MAX
    incoming.feed(b"\n")
    for _ in range(100):
        incoming.feed(block)
        assert long_lines.held_bytes <= LINE_BYTES_MAX
    incoming.feed(b"x\nnext\n")
    whole, dropped, following = taken(incoming)
    assert len(whole) == LINE_BYTES_MAX
    assert isinstance(dropped, Discarded)
    assert not dropped.is_busy
    assert following == b"next"
    assert long_lines.held_bytes == 0


def test_incomplete_long_lines_of_all_connections_are_bounded_together(monkeypatch):
    monkeypatch.setattr(lines_module, "LONG_LINES_BYTES_MAX", 3 * LONG_BYTES)
    long_lines = LongLines()
    first, second = IncomingLines(long_lines), IncomingLines(long_lines)
    first.feed(b"x" * 2 * LONG_BYTES)
    second.feed(b"y" * 2 * LONG_BYTES)
    second.feed(b"y\nnext\n")
    busy, following = taken(second)
    assert isinstance(busy, Discarded)
    assert busy.is_busy
    assert following == b"next"
    first.feed(b"\n")
    assert taken(first) == [b"x" * 2 * LONG_BYTES]
    assert long_lines.held_bytes == 0


def test_a_connection_that_goes_gives_back_what_it_held():
    long_lines = LongLines()
    incoming = IncomingLines(long_lines)
    incoming.feed(b"x" * 2 * LONG_BYTES)
    incoming.clear()
    assert long_lines.held_bytes == 0
    assert not incoming.whole
