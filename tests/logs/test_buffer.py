"""The buffer never blocks, drops what does not fit, counts it and says so."""

from __future__ import annotations

import errno
import threading
from typing import Any

import pytest

from penin.logs import (
    LogBuffer,
)
from tests.logs.fakes import (
    PATIENCE_S,
    FailingSink,
    GatedSink,
)


def buffer_on(sink, **options) -> LogBuffer[Any]:
    return LogBuffer(sink, lambda count: ("dropped", count), linger_s=0.0, **options)


def test_items_reach_the_sink_in_order_and_several_at_once():
    sink = GatedSink()
    buffer = buffer_on(sink)
    buffer.put(0)
    assert sink.entered.wait(PATIENCE_S)
    for item in range(1, 100):
        buffer.put(item)
    sink.gate.set()
    assert buffer.close(PATIENCE_S)
    assert sink.items == list(range(100))
    assert sink.closed.is_set()
    assert buffer.dropped == 0


def test_what_does_not_fit_is_dropped_and_reported_once_there_is_room():
    sink = GatedSink()
    buffer = buffer_on(sink, events_max=2)
    buffer.put("a")
    assert sink.entered.wait(PATIENCE_S)
    for item in "bcdef":
        buffer.put(item)
    assert buffer.dropped == 3
    sink.gate.set()
    assert buffer.close(PATIENCE_S)
    assert sink.items == ["a", "b", "c", ("dropped", 3)]


def test_many_threads_lose_nothing_that_is_not_counted_and_each_keeps_its_order():
    sink = GatedSink()
    sink.gate.set()
    buffer = buffer_on(sink, events_max=500)

    def put(name: int) -> None:
        for number in range(2_000):
            buffer.put((name, number))

    threads = [threading.Thread(target=put, args=(name,)) for name in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert buffer.close(PATIENCE_S)
    reported = sum(item[1] for item in sink.items if item[0] == "dropped")
    taken = [item for item in sink.items if item[0] != "dropped"]
    assert len(taken) + reported == 16_000
    assert reported == buffer.dropped
    for name in range(8):
        numbers = [number for who, number in taken if who == name]
        assert numbers == sorted(numbers)


@pytest.mark.parametrize(
    "error",
    [BrokenPipeError(errno.EPIPE, ""), OSError(errno.EIO, ""), ValueError("closed"), TypeError()],
)
def test_whatever_the_sink_raises_ends_the_output_and_reaches_nobody(error):
    sink = FailingSink(error)
    buffer = buffer_on(sink)
    buffer.put("first")
    assert sink.called.acquire(timeout=PATIENCE_S)
    buffer._thread.join(PATIENCE_S)
    buffer.put("later")
    assert not buffer.close(PATIENCE_S)
    assert buffer.failure is error
    assert buffer.dropped == 2
    assert sink.items == []


def test_output_goes_on_once_a_full_disk_has_room_and_tells_what_is_missing():
    sink = FailingSink(OSError(errno.ENOSPC, "No space left on device"))
    buffer = buffer_on(sink)
    buffer.put("lost")
    assert sink.called.acquire(timeout=PATIENCE_S)
    buffer.put("there")
    assert buffer.close(PATIENCE_S)
    assert [item for item in sink.items if item != "there"] == [("dropped", 1)]
    assert "there" in sink.items
    assert buffer.failure is None


def test_closing_on_a_stalled_sink_is_bounded_and_counts_what_is_left_behind():
    sink = GatedSink()
    buffer = buffer_on(sink)
    buffer.put("under way")
    assert sink.entered.wait(PATIENCE_S)
    buffer.put("waiting")
    assert not buffer.close(0.01)
    assert sink.stopped
    assert buffer.dropped == 1
    assert not buffer.close(0.01)
    sink.gate.set()
    assert sink.closed.wait(PATIENCE_S)
    assert sink.items == ["under way"]


def test_closing_twice_is_harmless_and_what_comes_later_is_counted():
    sink = GatedSink()
    sink.gate.set()
    buffer = buffer_on(sink)
    buffer.put("in time")
    assert buffer.close(PATIENCE_S)
    buffer.put("late")
    assert buffer.close(PATIENCE_S)
    assert sink.items == ["in time"]
    assert buffer.dropped == 1
