from __future__ import annotations

import asyncio
import threading

import pytest

from penin.runtime.storage_thread import StorageThread
from tests.runtime.stores import PATIENCE_S, until, within


async def ended(thread):
    """Wait for the end of a thread, which may still be about to end when its last call is done."""
    await within(asyncio.to_thread(thread.join))


@pytest.fixture
async def thread():
    made = StorageThread("test")
    yield made
    await within(made.close(lambda: None))
    await ended(made)


async def test_calls_run_in_order_on_one_other_thread(thread):
    calls = []

    def note(number):
        calls.append((number, threading.get_ident()))
        return number

    answers = [thread.call(note, number) for number in range(10)]
    assert await within(asyncio.gather(*answers)) == list(range(10))
    assert [number for number, _ in calls] == list(range(10))
    assert len({ident for _, ident in calls}) == 1
    assert calls[0][1] != threading.get_ident()


async def test_what_a_call_raises_comes_out_of_its_future_and_the_next_one_runs(thread):
    def fail():
        raise OSError(5, "Input/output error")

    with pytest.raises(OSError, match="Input/output error"):
        await within(thread.call(fail))
    assert await within(thread.call(lambda: 7)) == 7


async def test_what_comes_then_is_done_on_the_loop_before_who_waits_for_the_call_goes_on(thread):
    noted = []
    call = thread.call(lambda: noted.append("called"), then=lambda: noted.append(then()))

    def then():
        return threading.get_ident(), call.done()

    await within(call)
    assert noted == ["called", (threading.get_ident(), False)]


async def test_what_comes_then_raises_out_of_the_future(thread):
    def fail():
        raise AssertionError("a bug")

    with pytest.raises(AssertionError, match="a bug"):
        await within(thread.call(lambda: None, then=fail))


async def test_nothing_comes_then_of_a_call_that_failed_or_was_cancelled(thread):
    gate, noted = threading.Event(), []
    failed = thread.call(int, "no number", then=lambda: noted.append("failed"))
    with pytest.raises(ValueError, match="no number"):
        await within(failed)
    cancelled = thread.call(gate.wait, PATIENCE_S, then=lambda: noted.append("cancelled"))
    cancelled.cancel()
    gate.set()
    await within(thread.call(lambda: None))
    assert noted == []


async def test_a_cancelled_call_that_has_begun_is_finished(thread):
    begun, gate, done = threading.Event(), threading.Event(), []

    def work():
        begun.set()
        assert gate.wait(PATIENCE_S)
        done.append("finished")

    call = thread.call(work)
    await until(begun)
    call.cancel()
    gate.set()
    await within(thread.call(lambda: None))
    assert done == ["finished"]


async def test_closing_runs_the_last_call_after_all_others_and_ends_the_thread():
    thread = StorageThread("test")
    done: list[object] = []

    def last():
        done.append("last")
        return "outcome"

    for number in range(3):
        thread.call(done.append, number)
    assert await within(thread.close(last)) == "outcome"
    await ended(thread)
    assert done == [0, 1, 2, "last"]


async def test_closing_again_gives_the_same_future():
    thread = StorageThread("test")
    done = []
    first = thread.close(lambda: done.append(1))
    assert thread.close(lambda: done.append(2)) is first
    await within(first)
    await ended(thread)
    assert done == [1]


async def test_the_tick_comes_after_each_call():
    ticks = []
    thread = StorageThread("test", lambda: ticks.append(len(ticks)))
    await within(asyncio.gather(*(thread.call(int) for _ in range(3))))
    await within(thread.close(lambda: None))
    await ended(thread)
    assert len(ticks) == 4


async def test_the_tick_comes_by_itself_when_its_time_is_over():
    enough = threading.Event()
    ticks = []

    def tick():
        ticks.append(0)
        if len(ticks) == 3:
            enough.set()
            return None
        return 0.001

    thread = StorageThread("test", tick)
    await within(thread.call(int))
    await until(enough)
    await within(thread.close(lambda: None))
    await ended(thread)


def test_a_loop_that_is_gone_does_not_keep_the_thread_from_its_work():
    gate, done = threading.Event(), threading.Event()

    async def leave():
        thread = StorageThread("test")
        thread.call(gate.wait, PATIENCE_S)
        thread.close(done.set)

    asyncio.run(leave())
    gate.set()
    assert done.wait(PATIENCE_S)
