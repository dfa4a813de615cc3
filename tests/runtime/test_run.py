from __future__ import annotations

import asyncio
import signal

import pytest

import penin
from penin.errors import LockedError, UsageError, WorkerGaveUpError
from penin.settings import Settings


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


def test_the_handlers_of_signals_are_given_back(store):
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)

    async def worker(orchestrator):
        await asyncio.sleep(0)

    penin.run(worker, dir=store)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
