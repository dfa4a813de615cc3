from __future__ import annotations

import asyncio
import errno
import sys

import pytest

from penin.errors import JournalFailedError, StorageFullError, UsageError, WorkerGaveUpError
from penin.runtime.workers import backoff_s, make_workers
from penin.settings import Settings
from tests.runtime.stores import GatedFileSystem, pending, state_on, supervised, within

QUICK = {"worker_backoff_min_s": 0.001, "worker_backoff_max_s": 0.001}


def workers(*functions, **arguments):
    return make_workers(functions, arguments)


# -- arguments -----------------------------------------------------------------------------------


async def plain(orchestrator):
    """A worker without arguments."""


async def with_path(orchestrator, path, rate=0.5):
    """A worker that needs a path."""


async def with_anything(orchestrator, **arguments):
    """A worker that takes what comes."""


def arguments_of(made):
    return [worker._arguments for worker in made]


def test_each_worker_gets_those_arguments_that_it_has_parameters_for():
    made = workers(plain, with_path, with_anything, path="p", rate=1)
    assert arguments_of(made) == [{}, {"path": "p", "rate": 1}, {"path": "p", "rate": 1}]


def test_an_argument_that_no_worker_has_is_a_mistake_of_usage():
    with pytest.raises(UsageError, match="speed"):
        workers(plain, with_path, path="p", speed=1)


def test_an_argument_that_a_worker_needs_is_a_mistake_of_usage():
    with pytest.raises(UsageError, match="path"):
        workers(with_path)


def test_a_worker_takes_the_orchestrator():
    async def lonely():
        pass

    async def only_by_name(*, orchestrator):
        pass

    for function in (lonely, only_by_name):
        with pytest.raises(UsageError, match="orchestrator"):
            workers(function)


def test_a_worker_is_an_async_function():
    def synchronous(orchestrator):
        pass

    for thing in (synchronous, 5, "module:worker"):
        with pytest.raises(UsageError, match="async"):
            workers(thing)


def test_an_object_with_an_async_call_is_a_worker():
    class Crawler:
        async def __call__(self, orchestrator, depth=1):
            pass

    assert arguments_of(workers(Crawler(), depth=3)) == [{"depth": 3}]


# -- running -------------------------------------------------------------------------------------


async def test_workers_get_the_orchestrator_and_all_stops_when_they_have_returned():
    async def worker(orchestrator, count=1):
        for _ in range(count):
            await orchestrator.add_score(1.0)

    fs = GatedFileSystem()
    async with supervised(fs, workers=workers(worker, worker, count=3)) as running:
        await within(running.task)
    assert running.supervisor.failure is None
    assert running.supervisor.phase == "stopped"
    assert state_on(fs).seq == 6
    assert len(running.log.of("worker.returned")) == 2


async def test_a_worker_that_fails_is_started_again():
    tries = []

    async def worker(orchestrator):
        tries.append(orchestrator.applied_seq)
        await orchestrator.add_score(1.0)
        if len(tries) < 3:
            raise RuntimeError("once more")

    async with supervised(workers=workers(worker), **QUICK) as running:
        await within(running.task)
    assert tries == [0, 1, 2]
    assert running.supervisor.failure is None
    assert len(running.log.of("worker.failed")) == 2
    assert len(running.log.of("worker.restarting")) == 2


async def test_a_worker_that_fails_too_often_gives_up_and_everything_is_saved():
    async def worker(orchestrator):
        await orchestrator.add_score(1.0)
        raise RuntimeError("again")

    fs = GatedFileSystem()
    settings = {**QUICK, "worker_failures_max": 3}
    async with supervised(fs, workers=workers(worker), **settings) as running:
        await within(running.task)
    failure = running.supervisor.failure
    assert isinstance(failure, WorkerGaveUpError)
    assert failure.failures == 3
    assert running.log.of("checkpoint.finished")[-1]["seq"] == 3
    assert fs.inner.open_descriptors == 0


async def test_one_failed_worker_leaves_the_others_alone():
    steady = asyncio.Event()
    tries = []

    async def failing(orchestrator):
        tries.append(0)
        if len(tries) < 3:
            raise RuntimeError("again")
        steady.set()

    async def waiting(orchestrator):
        await steady.wait()
        await orchestrator.add_score(1.0)

    async with supervised(workers=workers(failing, waiting), **QUICK) as running:
        await within(running.task)
    assert running.orchestrator.applied_seq == 1
    assert len(running.log.of("worker.started")) == 4


def test_the_pause_doubles_up_to_its_bound_and_varies():
    settings = Settings(worker_backoff_min_s=1.0, worker_backoff_max_s=10.0)
    for failures, longest_s in ((1, 1.0), (2, 2.0), (3, 4.0), (4, 8.0), (5, 10.0), (1000, 10.0)):
        pauses_s = {backoff_s(failures, settings) for _ in range(20)}
        assert all(longest_s / 2 <= pause_s <= longest_s for pause_s in pauses_s)
        assert len(pauses_s) > 1


# -- stopping ------------------------------------------------------------------------------------


async def test_a_worker_is_told_and_may_finish():
    async def worker(orchestrator):
        await orchestrator.stopping.wait()
        await orchestrator.put_document("farewell", orchestrator.stopping.is_set())

    async with supervised(workers=workers(worker)) as running:
        running.supervisor.stop("enough")
        await within(running.task)
    assert running.orchestrator.view.documents["farewell"] is True
    assert not running.log.of("worker.cancelled")


async def test_a_worker_that_does_not_finish_is_cancelled_and_its_clean_up_is_stored():
    async def worker(orchestrator):
        try:
            await asyncio.Event().wait()
        finally:
            await orchestrator.put_document("cleaned", value=True)
            await asyncio.sleep(0)
            await orchestrator.put_document("twice", value=True)

    fs = GatedFileSystem()
    async with supervised(fs, workers=workers(worker), stop_grace_s=0.0) as running:
        await running.log.comes("worker.started")
    assert running.supervisor.failure is None
    assert len(running.log.of("worker.cancelled")) == 1
    assert set(state_on(fs).documents) == {"cleaned", "twice"}


async def test_a_worker_that_ignores_its_cancellation_does_not_hold_up_the_end():
    let_go = asyncio.Event()

    async def worker(orchestrator):
        while not let_go.is_set():
            try:
                await let_go.wait()
            except asyncio.CancelledError:
                continue

    settings = {"stop_grace_s": 0.0, "cancel_grace_s": 0.0}
    async with supervised(workers=workers(worker), **settings) as running:
        await running.log.comes("worker.started")
        running.supervisor.stop("enough")
        await within(running.task)
        assert running.supervisor.phase == "stopped"
        let_go.set()


async def test_a_worker_that_fails_while_stopping_is_not_started_again():
    async def worker(orchestrator):
        await orchestrator.stopping.wait()
        raise RuntimeError("on the way out")

    async with supervised(workers=workers(worker), **QUICK) as running:
        await running.log.comes("worker.started")
    assert len(running.log.of("worker.started")) == 1
    assert len(running.log.of("worker.failed")) == 1


async def test_a_stop_ends_the_pause_before_a_restart():
    async def worker(orchestrator):
        raise RuntimeError("again")

    settings = {"worker_backoff_min_s": 3600.0, "worker_backoff_max_s": 3600.0}
    async with supervised(workers=workers(worker), **settings) as running:
        await running.log.comes("worker.restarting")
        running.supervisor.stop("enough")
        await within(running.task)
    assert len(running.log.of("worker.started")) == 1


async def test_a_worker_is_not_started_again_for_a_failed_journal():
    async def worker(orchestrator):
        await orchestrator.add_score(1.0)

    fs = GatedFileSystem()
    gate = asyncio.Event()

    async def failing(orchestrator):
        fs.inner.fail("sync_file", errno.EIO)
        gate.set()
        await orchestrator.add_score(1.0)

    async with supervised(fs, workers=workers(failing), **QUICK) as running:
        await within(running.task)
    assert isinstance(running.supervisor.failure, JournalFailedError)
    assert len(running.log.of("worker.started")) == 1


async def test_a_full_disk_is_a_failure_like_any_other_to_a_worker():
    fs = GatedFileSystem()
    outcomes = []

    async def worker(orchestrator):
        fs.inner.fail("write", errno.ENOSPC)
        with pytest.raises(StorageFullError):
            await orchestrator.add_score(1.0)
        outcomes.append(await orchestrator.add_score(2.0))

    async with supervised(fs, workers=workers(worker)) as running:
        await within(running.task)
    assert running.supervisor.failure is None
    assert list(running.orchestrator.view.score_history) == [2.0]


async def test_no_task_of_a_worker_is_left_behind_when_the_journal_fails():
    fs = GatedFileSystem()
    ended = []

    async def worker(orchestrator):
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append("cleaned up")

    async with supervised(fs, workers=workers(worker)) as running:
        await running.log.comes("worker.started")
        fs.inner.fail("sync_file", errno.EIO)
        with pytest.raises(JournalFailedError):
            await running.orchestrator.add_score(1.0)
        await within(running.task)
        assert ended == ["cleaned up"]


async def test_stopping_before_the_workers_have_begun_ends_them_too():
    async def worker(orchestrator):
        await orchestrator.stopping.wait()

    async with supervised(workers=workers(worker)) as running:
        closing = await pending(running.orchestrator.aclose())
        await within(closing)
    assert running.supervisor.phase == "stopped"


# -- failures that are no Exception --------------------------------------------------------------


async def test_a_cancellation_that_is_not_ours_is_a_failure():
    tries = []

    async def worker(orchestrator):
        tries.append(0)
        if len(tries) < 3:
            inner = asyncio.ensure_future(asyncio.Event().wait())
            inner.cancel()
            await inner

    async with supervised(workers=workers(worker), **QUICK) as running:
        await within(running.task)
    assert len(tries) == 3
    assert running.supervisor.failure is None
    failed = running.log.of("worker.failed")
    assert [event["cause"] for event in failed] == ["CancelledError()"] * 2
    assert len(running.log.of("worker.returned")) == 1


async def test_a_worker_that_exits_has_failed_and_is_started_again():
    tries = []

    async def worker(orchestrator):
        tries.append(0)
        await orchestrator.add_score(1.0)
        if len(tries) == 1:
            sys.exit(5)

    fs = GatedFileSystem()
    async with supervised(fs, workers=workers(worker), **QUICK) as running:
        await within(running.task)
    assert running.log.of("worker.failed")[0]["cause"] == "SystemExit(5)"
    assert state_on(fs).seq == 2
    assert running.supervisor.failure is None
