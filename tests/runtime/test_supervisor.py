from __future__ import annotations

import asyncio
import errno
import signal

import anyio
import pytest

from penin.errors import (
    ClosedError,
    CorruptionError,
    FinalCheckpointError,
    JournalFailedError,
    LockedError,
    StorageError,
)
from penin.runtime.signals import watch_signals
from penin.runtime.store import store_at
from penin.runtime.supervisor import Supervisor
from penin.settings import Settings
from tests.runtime.stores import (
    JOURNAL,
    STORE,
    GatedFileSystem,
    RecordedLog,
    open_on,
    pending,
    state_on,
    supervised,
    until,
    within,
)

FIRST = JOURNAL / f"{1:020d}.jsonl"


def phases(log):
    return [event["phase"] for event in log.of("supervisor.phase")]


def supervisor_on(fs, log=None, **settings):
    chosen = Settings(**settings)
    return Supervisor(store_at(STORE, chosen, fs), chosen, log or RecordedLog())


# -- phases --------------------------------------------------------------------------------------


async def test_the_phases_come_in_their_order():
    fs = GatedFileSystem()
    supervisor = supervisor_on(fs)
    assert supervisor.phase == "starting"
    gate = fs.hold("write")
    task = await pending(supervisor.run())
    await until(gate.reached)
    assert supervisor.phase == "recovering"
    gate.open()
    await within(supervisor.started.wait())
    assert supervisor.phase == "running"
    supervisor.stop("enough")
    await within(task)
    assert supervisor.phase == "stopped"
    assert phases(supervisor.log) == ["recovering", "running", "draining", "stopped"]
    assert supervisor.log.of("supervisor.phase")[2]["reason"] == "enough"


async def test_stopping_twice_is_stopping_once():
    async with supervised() as running:
        running.supervisor.stop("first")
        running.supervisor.stop("second")
        await within(running.task)
    assert phases(running.log).count("draining") == 1


async def test_the_store_is_free_once_it_has_ended():
    fs = GatedFileSystem()
    async with supervised(fs) as running:
        await running.orchestrator.add_score(1.0)
    assert fs.inner.open_descriptors == 0
    async with supervised(fs) as running:
        assert running.orchestrator.applied_seq == 1


async def test_the_opening_and_the_closing_are_logged():
    async with supervised() as running:
        await running.orchestrator.add_score(1.0)
    [opened] = running.log.of("store.opened")
    assert (opened["epoch"], opened["seq"], opened["dir"]) == (1, 0, str(STORE))
    [closed] = running.log.of("store.closed")
    assert (closed["seq"], closed["durable_seq"]) == (1, 1)
    assert running.log.names.index("store.closed") > running.log.names.index("checkpoint.finished")


# -- opening that fails --------------------------------------------------------------------------


async def test_a_store_that_cannot_be_opened_says_why_and_leaves_nothing_behind():
    fs = GatedFileSystem()
    await (await open_on(fs)).aclose()
    fs.inner.replace_content(FIRST, b"not a journal\n" * 100)
    supervisor = supervisor_on(fs)
    await within(supervisor.run())
    assert isinstance(supervisor.failure, CorruptionError)
    assert supervisor.phase == "failed"
    assert supervisor.orchestrator is None
    assert supervisor.started.is_set()
    assert supervisor.ended.is_set()
    assert supervisor.log.of("recovery.failed")[0]["path"] == str(FIRST)
    assert fs.inner.open_descriptors == 0


@pytest.mark.parametrize("operation", ["mkdir", "create", "write", "sync_file", "sync_directory"])
async def test_any_operation_that_fails_while_opening_is_a_storage_error(operation):
    fs = GatedFileSystem()
    fs.inner.fail(operation, errno.EIO, at=2)
    supervisor = supervisor_on(fs)
    await within(supervisor.run())
    assert isinstance(supervisor.failure, StorageError)
    assert fs.inner.open_descriptors == 0
    async with open_on(fs) as orchestrator:
        await orchestrator.add_score(1.0)


async def test_a_locked_store_is_waited_for():
    fs = GatedFileSystem()
    first = await open_on(fs)
    await first.add_score(1.0)
    second = supervisor_on(fs, lock_wait_s=60.0)
    task = await pending(second.run())
    await first.aclose()
    await within(second.started.wait())
    assert second.phase == "running"
    assert second.orchestrator.applied_seq == 1
    second.stop("enough")
    await within(task)


async def test_a_locked_store_is_refused_when_it_stays_locked():
    fs = GatedFileSystem()
    async with open_on(fs):
        supervisor = supervisor_on(fs, lock_wait_s=0.0)
        await within(supervisor.run())
        assert isinstance(supervisor.failure, LockedError)


async def test_a_stop_while_waiting_for_the_lock_ends_the_waiting():
    fs = GatedFileSystem()
    async with open_on(fs):
        supervisor = supervisor_on(fs, lock_wait_s=3600.0)
        task = await pending(supervisor.run())
        supervisor.stop("SIGTERM")
        await within(task)
        assert supervisor.failure is None
        assert supervisor.phase == "stopped"
        assert supervisor.log.of("recovery.abandoned")


async def test_a_stop_while_recovering_abandons_it_and_writes_nothing():
    fs = GatedFileSystem()
    orchestrator = await open_on(fs)
    for _ in range(5):
        await orchestrator.add_score(1.0)
    killed = GatedFileSystem(fs.inner.after_kill())
    await orchestrator.aclose()
    before = killed.inner.content(FIRST)
    gate = killed.hold("read")
    supervisor = supervisor_on(killed)
    task = await pending(supervisor.run())
    await until(gate.reached)
    supervisor.stop("SIGINT")
    gate.open()
    await within(task)
    assert supervisor.failure is None
    assert supervisor.orchestrator is None
    assert phases(supervisor.log) == ["recovering", "stopped"]
    assert supervisor.log.of("recovery.abandoned")[0]["signal"] == "SIGINT"
    assert killed.inner.content(FIRST) == before


# -- the way down --------------------------------------------------------------------------------


async def test_sources_end_before_anything_else():
    seen_by_worker = []

    async def source(orchestrator):
        try:
            await asyncio.Event().wait()
        finally:
            seen_by_worker.append(orchestrator.phase)

    async with supervised(sources=[source]) as running:
        await running.orchestrator.add_score(1.0)
    assert seen_by_worker == ["draining"]


async def test_it_stops_by_itself_when_all_sources_have_returned():
    async def source(orchestrator):
        await orchestrator.add_score(1.0)

    async with supervised(sources=[source, source]) as running:
        await within(running.task)
        assert running.supervisor.failure is None
        assert running.orchestrator.applied_seq == 2


async def test_a_source_that_raises_ends_everything_with_what_it_raised():
    async def source(orchestrator):
        raise RuntimeError("the pipe is mine")

    async with supervised(sources=[source]) as running:
        await within(running.task)
        assert isinstance(running.supervisor.failure, RuntimeError)
        assert running.supervisor.phase == "failed"
        with pytest.raises(ClosedError):
            await running.orchestrator.add_score(1.0)


async def test_after_the_end_every_call_says_that_it_is_closed():
    async with supervised() as running:
        pass
    orchestrator = running.orchestrator
    for call in (
        orchestrator.add_score(1.0),
        orchestrator.get("k"),
        orchestrator.get_document("d"),
        orchestrator.history("h"),
        orchestrator.statistics(),
        orchestrator.checkpoint(),
        orchestrator.durable(5),
    ):
        with pytest.raises(ClosedError):
            await within(call)
    with pytest.raises(ClosedError):
        orchestrator.send_nowait({"type": "add_score", "score": 1.0})
    await orchestrator.aclose()


async def test_a_failed_last_checkpoint_is_the_failure():
    fs = GatedFileSystem()
    async with supervised(fs) as running:
        await running.orchestrator.add_score(1.0)
        fs.inner.fail("rename", errno.EIO)
    assert isinstance(running.supervisor.failure, FinalCheckpointError)
    assert running.supervisor.phase == "failed"
    assert state_on(fs).seq == 1


async def test_a_failed_last_sync_is_the_failure_and_the_store_is_given_up():
    fs = GatedFileSystem()
    async with supervised(fs, fsync="everysec") as running:
        await running.orchestrator.add_score(1.0)
        fs.inner.fail("sync_file", errno.EIO)
    assert isinstance(running.supervisor.failure, JournalFailedError)
    assert fs.inner.open_descriptors == 0


async def test_a_sync_by_the_second_that_fails_stops_everything():
    fs = GatedFileSystem()
    async with supervised(fs, fsync="everysec") as running:
        gate = fs.hold("sync_file")
        await running.orchestrator.add_score(1.0)
        await until(gate.reached)
        fs.inner.fail("sync_file", errno.EIO)
        gate.open()
        await within(running.task)
        assert isinstance(running.supervisor.failure, JournalFailedError)
        with pytest.raises(JournalFailedError):
            await running.orchestrator.add_score(2.0)


async def test_a_sync_after_the_loop_was_closed_ends_quietly(monkeypatch):
    """A host that closes its loop and not its store: the thread goes on and prints nothing."""
    async with supervised(fsync="everysec") as running:
        await running.orchestrator.add_score(1.0)
        supervisor = running.supervisor
        closed = asyncio.new_event_loop()
        closed.close()
        with monkeypatch.context() as patched:
            patched.setattr(supervisor, "_loop", closed)
            patched.setattr(supervisor.store.journal, "_clock", lambda: float("inf"))
            await asyncio.to_thread(supervisor._tick)
        assert supervisor.store.journal.durable_seq == 1


# -- signals -------------------------------------------------------------------------------------


async def receiving(supervisor, exits):
    group = anyio.create_task_group()
    await group.__aenter__()
    await group.start(watch_signals, supervisor, exits.append)
    return group


async def ended(group):
    group.cancel_scope.cancel()
    await group.__aexit__(None, None, None)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_a_signal_stops_and_saves(number):
    fs = GatedFileSystem()
    async with supervised(fs) as running:
        exits: list[int] = []
        group = await receiving(running.supervisor, exits)
        await running.orchestrator.add_score(1.0)
        signal.raise_signal(number)
        await within(running.task)
        await ended(group)
    assert exits == []
    assert running.log.of("signal.received")[0]["signal"] == signal.Signals(number).name
    assert running.log.of("signal.received")[0]["action"] == "stop"
    assert running.log.of("checkpoint.finished")[0]["seq"] == 1


async def test_a_hang_up_that_the_process_was_started_to_ignore_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        async with supervised() as running:
            group = await receiving(running.supervisor, [])
            signal.raise_signal(signal.SIGHUP)
            signal.raise_signal(signal.SIGUSR1)  # what comes after it is served
            await running.log.comes("signal.received")
            await ended(group)
            assert [event["signal"] for event in running.log.of("signal.received")] == ["SIGUSR1"]
            assert not running.supervisor.stopping.is_set()
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


async def test_a_second_signal_at_once_changes_nothing():
    async with supervised() as running:
        exits: list[int] = []
        group = await receiving(running.supervisor, exits)
        signal.raise_signal(signal.SIGINT)
        await running.log.comes("signal.received", 1)
        signal.raise_signal(signal.SIGINT)
        await running.log.comes("signal.received", 2)
        await ended(group)
    assert exits == []
    assert [event["action"] for event in running.log.of("signal.received")] == ["stop", "none"]


async def test_a_second_signal_later_exits_at_once_with_its_number(monkeypatch):
    monkeypatch.setattr("penin.runtime.signals.SECOND_SIGNAL_AFTER_S", 0.0)
    async with supervised() as running:
        exits = []
        left = asyncio.Event()
        group = anyio.create_task_group()
        await group.__aenter__()

        def exit_now(code):
            exits.append(code)
            left.set()

        await group.start(watch_signals, running.supervisor, exit_now)
        signal.raise_signal(signal.SIGINT)
        await running.log.comes("signal.received", 1)
        signal.raise_signal(signal.SIGTERM)
        await within(left.wait())
        await ended(group)
    assert exits == [128 + signal.SIGTERM]


async def test_sigusr1_asks_for_a_checkpoint():
    async with supervised() as running:
        group = await receiving(running.supervisor, [])
        await running.orchestrator.add_score(1.0)
        signal.raise_signal(signal.SIGUSR1)
        await running.log.comes("checkpoint.finished")
        await ended(group)
        assert running.log.of("checkpoint.finished")[0]["reason"] == "signal"
        assert running.supervisor.phase == "running"
