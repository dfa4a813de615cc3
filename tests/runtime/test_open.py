from __future__ import annotations

import asyncio
import contextlib
import errno

import anyio
import pytest
import structlog
import uvloop

import penin
from penin.core import door
from penin.core.transitions import Ack
from penin.errors import (
    ClosedError,
    CorruptionError,
    JournalFailedError,
    LockedError,
    RefusedError,
    WrongContextError,
)
from penin.settings import Settings
from tests.logs.fakes import HostLogger
from tests.runtime.stores import (
    STORE,
    GatedFileSystem,
    in_journal,
    in_snapshot,
    open_on,
    pending,
    state_on,
    until,
    within,
)


@pytest.fixture
def store(tmp_path):
    return tmp_path / "store"


def scores(directory):
    return list(penin.load(directory).score_history)


async def scores_of(directory):
    return await asyncio.to_thread(scores, directory)


# -- the ways to enter and to leave ---------------------------------------------------------------


async def test_what_was_acknowledged_is_there_the_next_time(store):
    async with penin.open(store) as orchestrator:
        await orchestrator.add_score(0.85)
    async with penin.open(store) as orchestrator:
        assert list(orchestrator.view.score_history) == [0.85]


async def test_awaited_it_is_open_until_aclose(store):
    orchestrator = await penin.open(store)
    await orchestrator.add_score(1.0)
    assert orchestrator.phase == "running"
    await orchestrator.aclose()
    assert orchestrator.phase == "stopped"
    await orchestrator.aclose()
    assert await scores_of(store) == [1.0]


async def test_one_task_may_enter_and_another_one_leave(store):
    opening = penin.open(store)
    orchestrator = await asyncio.create_task(opening.__aenter__())
    assert await asyncio.create_task(orchestrator.add_score(1.0)) == Ack(1)
    await asyncio.create_task(opening.__aexit__(None, None, None))
    assert await scores_of(store) == [1.0]


@pytest.fixture
async def orchestrator(store):
    """As users write it: pytest-asyncio enters and leaves in tasks of its own."""
    async with penin.open(store) as opened:
        yield opened


async def test_it_works_as_a_fixture(orchestrator):
    assert await orchestrator.add_score(1.0) == Ack(1)


def test_it_runs_on_uvloop(store):
    async def main():
        async with penin.open(store) as orchestrator:
            await asyncio.gather(*(orchestrator.add_score(1.0) for _ in range(50)))
            assert await orchestrator.checkpoint() == 50

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
    assert len(scores(store)) == 50


async def test_several_stores_are_open_in_one_process(tmp_path):
    async with contextlib.AsyncExitStack() as stack:
        opened = [
            await stack.enter_async_context(penin.open(tmp_path / str(number)))
            for number in range(4)
        ]
        await asyncio.gather(*(each.add_score(1.0) for each in opened for _ in range(10)))
        assert [each.applied_seq for each in opened] == [10] * 4
    assert [len(await scores_of(tmp_path / str(number))) for number in range(4)] == [10] * 4


def test_a_store_is_opened_on_one_loop_after_the_other(store):
    async def once():
        async with penin.open(store) as orchestrator:
            await orchestrator.add_score(1.0)

    for _ in range(3):
        asyncio.run(once())
    assert scores(store) == [1.0] * 3


async def test_a_relative_path_is_that_of_the_time_of_opening(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    async with penin.open("store") as orchestrator:
        monkeypatch.chdir("/")
        await orchestrator.add_score(1.0)
        await orchestrator.checkpoint()
    assert await scores_of(tmp_path / "store") == [1.0]


async def test_in_memory_it_is_gone_with_the_process(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    async with penin.open(":memory:") as orchestrator, penin.open(":memory:") as other:
        await orchestrator.add_score(1.0)
        assert await orchestrator.checkpoint() == 1
        assert other.applied_seq == 0
    assert list(tmp_path.iterdir()) == []


# -- what is refused -----------------------------------------------------------------------------


async def test_a_second_opening_in_the_same_process_is_refused(store):
    settings = Settings(lock_wait_s=0.0)
    async with penin.open(store) as orchestrator:
        with pytest.raises(LockedError, match="this process"):
            async with penin.open(store, settings=settings):
                pytest.fail("it was opened")
        with pytest.raises(LockedError):
            await penin.open(store, settings=settings)
        await orchestrator.add_score(1.0)
    async with penin.open(store, settings=settings) as orchestrator:
        assert orchestrator.applied_seq == 1


def first_journal_file(store):
    return min((store / "journal").iterdir())


async def test_a_damaged_store_is_refused_without_an_exception_group(store):
    async with penin.open(store) as orchestrator:
        await orchestrator.add_score(1.0)
    files = [store / "state.json", *(store / "checkpoints").iterdir(), first_journal_file(store)]
    damaged = [path.read_bytes().replace(b"1.0", b"2.0", 1) for path in files]
    for path, content in zip(files, damaged, strict=True):
        path.write_bytes(content)
    with pytest.raises(CorruptionError) as caught:
        await penin.open(store)
    assert "penin repair" in str(caught.value)
    assert [path.read_bytes() for path in files] == damaged


async def test_a_directory_that_cannot_be_made_is_a_penin_error(tmp_path):
    (tmp_path / "file").write_text("here")
    with pytest.raises(penin.PeninError):
        await penin.open(tmp_path / "file" / "store")


def test_where_no_asyncio_loop_runs_it_says_so(store):
    # Under trio there is no asyncio loop, and a coroutine is driven by somebody else, as here.
    entering = penin.open(store).__aenter__()
    with pytest.raises(WrongContextError, match="asyncio"):
        entering.send(None)
    assert not store.exists()


async def test_a_logger_that_takes_no_fields_is_refused_before_anything_is_made(store):
    import logging

    with pytest.raises(RefusedError):
        await penin.open(store, logger=logging.getLogger("host"))
    assert not store.exists()


# -- the host ------------------------------------------------------------------------------------


async def test_the_exception_of_the_body_is_the_one_that_comes_out(store):
    with pytest.raises(KeyError, match="mine"):  # noqa: PT012  # the body is the point
        async with penin.open(store) as orchestrator:
            await orchestrator.add_score(1.0)
            raise KeyError("mine")
    assert await scores_of(store) == [1.0]


async def test_the_exception_of_the_body_wins_over_a_failed_journal_and_bears_a_note():
    fs = GatedFileSystem()
    with pytest.raises(KeyError, match="mine") as caught:  # noqa: PT012  # the body is the point
        async with open_on(fs) as orchestrator:
            fs.inner.fail("sync_file", errno.EIO)
            with pytest.raises(JournalFailedError):
                await orchestrator.add_score(1.0)
            raise KeyError("mine")
    assert any("closing the store" in note for note in caught.value.__notes__)


async def test_a_failed_journal_comes_out_of_the_context_as_itself():
    fs = GatedFileSystem()
    with pytest.raises(JournalFailedError):  # noqa: PT012  # the body is the point
        async with open_on(fs) as orchestrator:
            fs.inner.fail("sync_file", errno.EIO)
            with contextlib.suppress(JournalFailedError):
                await orchestrator.add_score(1.0)


async def test_a_failed_journal_does_not_cancel_the_host():
    fs = GatedFileSystem()
    with pytest.raises(JournalFailedError):  # noqa: PT012  # the body is the point
        async with open_on(fs) as orchestrator:
            fs.inner.fail("sync_file", errno.EIO)
            with pytest.raises(JournalFailedError):
                await orchestrator.add_score(1.0)
            await within(orchestrator._supervisor.ended.wait())
            for _ in range(10):
                await asyncio.sleep(0)
            task = asyncio.current_task()
            assert task is not None
            assert task.cancelling() == 0
            with pytest.raises(JournalFailedError):
                await orchestrator.get("k")


async def test_a_cancelled_host_still_has_its_state_saved():
    fs = GatedFileSystem()
    entered = asyncio.Event()

    async def host():
        async with open_on(fs) as orchestrator:
            await orchestrator.add_score(1.0)
            orchestrator.send_nowait(door.add_score(2.0))
            entered.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(host())
    await within(entered.wait())
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await within(task)
    assert list(state_on(fs).score_history) == [1.0, 2.0]
    assert fs.exists(STORE / "state.json"), "the last checkpoint was written"
    assert fs.inner.open_descriptors == 0


def test_asyncio_timeouts_around_the_context_are_those_of_the_host(store):
    async def main():
        with pytest.raises(TimeoutError):  # noqa: PT012  # the body is the point
            async with asyncio.timeout(None) as timeout, penin.open(store) as orchestrator:
                await orchestrator.add_score(1.0)
                timeout.reschedule(0)  # it is over
                await asyncio.Event().wait()

    asyncio.run(main())
    assert scores(store) == [1.0]


@pytest.mark.parametrize("gated", ["opening", "closing"])
async def test_a_cancelled_anyio_scope_around_it_waits_until_the_store_is_free(gated):
    fs = GatedFileSystem()
    gate = fs.hold("write", in_journal if gated == "opening" else in_snapshot)

    async def host(scope):
        with scope:
            async with open_on(fs) as orchestrator:
                await orchestrator.add_score(1.0)

    scope = anyio.CancelScope()
    task = await pending(host(scope))
    await until(gate.reached)
    scope.cancel()
    await pending(asyncio.sleep(0))
    assert not task.done()
    gate.open()
    await within(task)
    assert fs.inner.open_descriptors == 0
    assert state_on(fs).seq == (0 if gated == "opening" else 1)


def test_a_host_that_ends_without_closing_loses_nothing_acknowledged(store):
    async def main():
        orchestrator = await penin.open(store)
        await orchestrator.add_score(1.0)

    asyncio.run(main())
    assert scores(store) == [1.0]


async def test_no_task_is_left_behind(store):
    before = asyncio.all_tasks()
    async with penin.open(store) as orchestrator:
        await orchestrator.add_score(1.0)
    left = {task for task in asyncio.all_tasks() - before if not task.done()}
    for task in left:
        await within(task)  # what only closes its log may be about to end
    assert all(task.exception() is None for task in left)


# -- logs ----------------------------------------------------------------------------------------


async def test_it_prints_nothing_where_structlog_is_not_configured(store, capfd):
    structlog.reset_defaults()
    async with penin.open(store) as orchestrator:
        await orchestrator.add_score(1.0)
        await orchestrator.checkpoint()
    assert capfd.readouterr() == ("", "")
    assert not structlog.is_configured()


async def test_a_failure_prints_nothing_either(capfd):
    structlog.reset_defaults()
    fs = GatedFileSystem()
    with pytest.raises(JournalFailedError):  # noqa: PT012  # the body is the point
        async with open_on(fs) as orchestrator:
            fs.inner.fail("sync_file", errno.EIO)
            with contextlib.suppress(JournalFailedError):
                await orchestrator.add_score(1.0)
    assert capfd.readouterr() == ("", "")


async def test_a_given_logger_gets_the_events_with_the_context_of_the_sender():
    logger = HostLogger()
    fs = GatedFileSystem()
    async with open_on(fs, logger=logger) as orchestrator:

        async def request(number):
            structlog.contextvars.bind_contextvars(request=number)
            await orchestrator.add_score(float(number))

        await asyncio.gather(*(asyncio.create_task(request(number)) for number in range(3)))
        supervisor = orchestrator._supervisor
    await asyncio.to_thread(supervisor.log.close, 10.0)
    transitions = [fields for _, event, fields in logger.calls if event == "state.transition"]
    assert [(each["seq"], each["request"]) for each in transitions] == [(1, 0), (2, 1), (3, 2)]


async def test_what_the_logger_raises_reaches_nobody():
    logger = HostLogger(fails=True)
    fs = GatedFileSystem()
    async with open_on(fs, logger=logger) as orchestrator:
        assert await orchestrator.add_score(1.0) == Ack(1)
    assert state_on(fs).seq == 1


# -- closing -------------------------------------------------------------------------------------


async def test_closing_from_two_tasks_at_once_is_closing_once():
    fs = GatedFileSystem()
    orchestrator = await open_on(fs)
    await orchestrator.add_score(1.0)
    await within(asyncio.gather(*(orchestrator.aclose() for _ in range(3))))
    assert orchestrator.phase == "stopped"


async def test_calls_beside_the_closing_are_stored_or_refused_and_nothing_else():
    fs = GatedFileSystem()
    orchestrator = await open_on(fs)
    gate = fs.hold("sync_file")
    first = await pending(orchestrator.add_score(0.0))
    await until(gate.reached)
    closing = asyncio.create_task(orchestrator.aclose())
    later = []
    for number in range(1, 8):
        later.append(asyncio.create_task(orchestrator.add_score(float(number))))
        await asyncio.sleep(0)
    gate.open()
    await within(closing)
    outcomes = await within(asyncio.gather(first, *later, return_exceptions=True))
    stored = [outcome.seq for outcome in outcomes if isinstance(outcome, Ack)]
    refused = [outcome for outcome in outcomes if isinstance(outcome, ClosedError)]
    assert len(stored) + len(refused) == 8
    assert state_on(fs).seq == len(stored) == max(stored)
