from __future__ import annotations

import asyncio
import contextlib
import importlib
import signal
import threading
import time

import anyio
import anyio.to_thread
import pytest

import penin
from penin.errors import LockedError, UsageError, WorkerGaveUpError
from penin.settings import Settings
from tests.runtime.stores import PATIENCE_S, RecordedLog

run_module = importlib.import_module("penin.runtime.run")


@pytest.fixture
def store(tmp_path):
    return tmp_path / "store"


def test_it_returns_when_all_workers_have_returned_and_all_is_saved(store):
    async def worker(orchestrator, count):
        for _ in range(count):
            await orchestrator.add_score(1.0)

    penin.run(worker, worker, dir=store, arguments={"count": 3})
    assert penin.load(store).seq == 6
    assert (store / "state.json").exists()


def test_a_mistake_in_its_arguments_is_told_before_anything_is_made(store):
    async def worker(orchestrator):
        pass

    with pytest.raises(UsageError):
        penin.run(worker, dir=store, arguments={"speed": 1})
    assert not store.exists()


def test_a_worker_that_gives_up_comes_out_as_such(store):
    async def worker(orchestrator):
        await orchestrator.add_score(1.0)
        raise RuntimeError("again")

    settings = Settings(worker_failures_max=2, worker_backoff_min_s=0.001)
    with pytest.raises(WorkerGaveUpError):
        penin.run(worker, dir=store, settings=settings)
    assert penin.load(store).seq == 2


def test_what_opening_raises_comes_out_as_itself(store):
    async def worker(orchestrator):
        pytest.fail("it was started")

    with penin.open_sync(store), pytest.raises(LockedError):
        penin.run(worker, dir=store, settings=Settings(lock_wait_s=0.0))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_lets_the_workers_finish_and_it_returns(store, number):
    async def worker(orchestrator):
        signal.raise_signal(number)
        await orchestrator.stopping.wait()
        await orchestrator.put_document("farewell", value=True)

    penin.run(worker, dir=store)
    assert penin.load(store).documents == {"farewell": True}


def test_the_handlers_of_signals_are_given_back(store, request):
    ours = signal.signal(signal.SIGUSR1, lambda *_: None)
    request.addfinalizer(lambda: signal.signal(signal.SIGUSR1, ours))
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
    before = [signal.getsignal(number) for number in numbers]

    async def worker(orchestrator):
        await asyncio.sleep(0)

    penin.run(worker, dir=store)
    assert [signal.getsignal(number) for number in numbers] == before


def test_an_interrupt_out_of_a_worker_comes_out_and_the_lock_is_given_up(store):
    async def worker(orchestrator):
        await orchestrator.add_score(1.0)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        penin.run(worker, dir=store)
    with penin.open_sync(store, settings=Settings(lock_wait_s=0.0)) as orchestrator:
        assert orchestrator.applied_seq == 1


# -- what does not end ---------------------------------------------------------------------------


def begin_to_end(orchestrator):
    """Let it stop a moment later, as by a signal."""
    signal.raise_signal(signal.SIGTERM)


QUICK_END = Settings(stop_grace_s=0.05, cancel_grace_s=0.05)


def abandoned(log):
    return [(event["worker"].rpartition(".")[2], event["cause"]) for event in log]


def test_a_worker_that_never_ends_is_left_behind_when_all_is_saved(store):
    log = RecordedLog()

    async def deaf(orchestrator):
        await orchestrator.add_score(1.0)
        begin_to_end(orchestrator)
        while True:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()

    begun_s = time.monotonic()
    penin.run(deaf, dir=store, settings=QUICK_END, log=log)
    assert time.monotonic() - begun_s < PATIENCE_S
    assert penin.load(store).seq == 1
    assert (store / "state.json").exists()
    assert abandoned(log.of("worker.abandoned")) == [("deaf", "it goes on after its cancellation")]


@pytest.mark.parametrize("in_thread", [asyncio.to_thread, anyio.to_thread.run_sync])
def test_a_call_on_a_thread_that_does_not_end_is_left_behind(store, in_thread):
    log, gate = RecordedLog(), threading.Event()

    async def waiting(orchestrator):
        await orchestrator.add_score(1.0)
        begin_to_end(orchestrator)
        await in_thread(gate.wait, PATIENCE_S)

    begun_s = time.monotonic()
    try:
        penin.run(waiting, dir=store, settings=QUICK_END, log=log)
    finally:
        gate.set()
    assert time.monotonic() - begun_s < PATIENCE_S / 2
    assert (store / "state.json").exists()
    assert [cause for _, cause in abandoned(log.of("worker.abandoned"))] == [
        "a call on a thread does not end"
    ]


def test_a_task_that_a_worker_began_and_that_never_ends_is_left_behind(store):
    log, tasks = RecordedLog(), []

    async def deaf():
        while True:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()

    async def worker(orchestrator):
        tasks.append(asyncio.create_task(deaf()))
        await asyncio.sleep(0)

    penin.run(worker, dir=store, settings=QUICK_END, log=log)
    assert len(log.of("worker.abandoned")) == 1


def test_what_ends_within_its_grace_is_waited_for(store):
    log, done = RecordedLog(), threading.Event()

    def work():
        time.sleep(0.1)
        done.set()

    async def worker(orchestrator):
        asyncio.get_running_loop().run_in_executor(None, work)

    penin.run(worker, dir=store, log=log)
    assert done.is_set()
    assert log.of("worker.abandoned") == []


def test_its_own_log_is_closed_at_the_end(store, monkeypatch):
    logs = []

    class Log(RecordedLog):
        def close(self, timeout_s):
            self.patience_s = timeout_s
            return True

    def make():
        logs.append(Log())
        return logs[-1]

    monkeypatch.setattr(run_module, "embedded_logger", make)
    penin.run(dir=store, sources=[lambda _: asyncio.sleep(0)])
    assert 0 < logs[0].patience_s <= 5
    assert logs[0].of("store.closed")


def test_a_log_that_it_was_given_stays_open(store):
    class Log(RecordedLog):
        def close(self, timeout_s):
            raise AssertionError("it is not ours")

    penin.run(dir=store, sources=[lambda _: asyncio.sleep(0)], log=Log())
