"""What a service manager is told, by a supervisor on storage that is held up on purpose."""

from __future__ import annotations

import asyncio
import errno
import time
from contextlib import asynccontextmanager

import pytest

from penin.errors import StorageFullError
from penin.runtime import service_manager
from penin.runtime.service_manager import ServiceManager
from penin.runtime.store import store_at
from penin.runtime.supervisor import Supervisor
from penin.runtime.workers import make_workers
from penin.settings import Settings
from tests.notify_sockets import Listener, short_path
from tests.runtime.stores import (
    JOURNAL,
    STORE,
    GatedFileSystem,
    RecordedLog,
    Running,
    open_on,
    pending,
    until,
    within,
)

QUICK_S = 0.02


@asynccontextmanager
async def managed(fs, tmp_path, *, watchdog_s=None, servers=(), **settings):
    """A supervisor that tells a listener how it is."""
    chosen = Settings(**settings)
    with Listener(short_path(tmp_path)) as listener:
        manager = ServiceManager(listener.address, watchdog_s)
        store = store_at(STORE, chosen, fs)
        log = RecordedLog()
        companions = [manager.run]
        supervisor = Supervisor(store, chosen, log, servers=servers, companions=companions)
        running = Running(supervisor, log)
        try:
            yield running, listener
        finally:
            await running.end()


async def told(listener, name, text=""):
    """Wait for a datagram, while the loop turns."""
    return await asyncio.to_thread(listener.until, name, text)


async def until_without(listener, name):
    """Wait for a datagram without that name in it: what came about before is told by then."""
    await asyncio.to_thread(listener.until_without, name)


async def nothing_new(listener, name, datagrams=5):
    """So many datagrams come, and none of them has that name in it."""
    listener.drain()
    begun = len(listener.received)
    while len(listener.received) < begun + datagrams:
        await asyncio.sleep(QUICK_S)
        listener.drain()
    return all(name not in found for found in listener.received[begun:])


@pytest.fixture(autouse=True)
def quickly(monkeypatch):
    monkeypatch.setattr(service_manager, "STATUS_INTERVAL_S", QUICK_S)
    monkeypatch.setattr(service_manager, "RETRY_INTERVAL_S", QUICK_S)


async def test_ready_is_said_after_recovery_and_once(tmp_path):
    fs = GatedFileSystem()
    gate = fs.hold("write")
    async with managed(fs, tmp_path) as (running, listener):
        await until(gate.reached)
        assert (await told(listener, "STATUS", "recovering"))["STATUS"] == "recovering"
        assert all("READY" not in found for found in listener.drain())
        gate.open()
        assert (await told(listener, "READY"))["STATUS"] == "running: seq 0, durable up to 0"
        await running.orchestrator.add_score(1.0)
        await told(listener, "STATUS", "seq 1, durable up to 1")
    assert sum("READY" in found for found in listener.received) == 1


async def test_while_the_opening_gets_on_its_time_is_extended(tmp_path):
    fs = GatedFileSystem()
    async with open_on(fs):
        second = managed(fs, tmp_path, lock_wait_s=60.0)
        _, listener = await second.__aenter__()  # it waits for the lock, and looks at it
        for _ in range(2):
            listener.forget()
            found = await told(listener, "EXTEND_TIMEOUT_USEC")
            assert found == {"STATUS": "starting", "EXTEND_TIMEOUT_USEC": "60000000"}
    await told(listener, "READY")
    await second.__aexit__(None, None, None)


async def test_while_recovery_hangs_its_time_is_not_extended(tmp_path):
    fs = GatedFileSystem()
    gate = fs.hold("sync_file")
    async with managed(fs, tmp_path) as (_, listener):
        await until(gate.reached)
        await until_without(listener, "EXTEND_TIMEOUT_USEC")
        assert await nothing_new(listener, "EXTEND_TIMEOUT_USEC")
        gate.open()


async def test_stopping_is_said_when_the_way_down_begins(tmp_path):
    fs = GatedFileSystem()
    async with managed(fs, tmp_path, stop_grace_s=0.0, cancel_grace_s=0.0) as (running, listener):
        await told(listener, "READY")
        gate = fs.hold("sync_file")
        sending = await pending(running.orchestrator.add_score(1.0))
        await until(gate.reached)
        running.supervisor.stop("enough")
        found = await told(listener, "STOPPING")
        assert found["STATUS"].startswith("draining")
        await until_without(listener, "EXTEND_TIMEOUT_USEC")
        assert await nothing_new(listener, "EXTEND_TIMEOUT_USEC"), "the disk hangs"
        gate.open()
        await within(sending)
        await within(running.task)
        listener.drain()
    assert listener.received[-1]["STOPPING"] == "1"
    assert "1" not in [found.get("WATCHDOG") for found in listener.received]


async def test_workers_have_their_time_to_end_however_long_it_is(tmp_path):
    async def patient(orchestrator):
        await ended.wait()

    ended, log = asyncio.Event(), RecordedLog()
    with Listener(short_path(tmp_path)) as listener:
        manager = ServiceManager(listener.address, None)
        settings = Settings(stop_grace_s=60.0)
        store = store_at(STORE, settings, GatedFileSystem())
        workers = make_workers([patient], {})
        supervisor = Supervisor(store, settings, log, workers=workers, companions=[manager.run])
        running = Running(supervisor, log)
        await told(listener, "READY")
        supervisor.stop("enough")
        await told(listener, "STOPPING")
        for _ in range(3):
            listener.forget()
            assert (await told(listener, "EXTEND_TIMEOUT_USEC"))["STOPPING"] == "1"
        ended.set()
        await running.end()


async def test_a_failure_is_the_last_word(tmp_path):
    fs = GatedFileSystem()
    await (await open_on(fs)).aclose()
    fs.inner.replace_content(JOURNAL / f"{1:020d}.jsonl", b"not a journal\n" * 100)
    async with managed(fs, tmp_path) as (running, listener):
        await within(running.task)
        last = listener.drain()[-1]
    assert last["STOPPING"] == "1"
    assert last["STATUS"].startswith("failed: ")
    assert "damaged" in last["STATUS"]
    assert all("READY" not in found for found in listener.received)


async def test_a_manager_that_is_not_there_is_logged_once_and_stops_nothing(tmp_path):
    fs, log = GatedFileSystem(), RecordedLog()
    manager = ServiceManager(str(tmp_path / "nobody"), 10 * QUICK_S)
    settings = Settings()
    supervisor = Supervisor(store_at(STORE, settings, fs), settings, log, companions=[manager.run])
    running = Running(supervisor, log)
    await within(supervisor.started.wait())
    await log.comes("service_manager.unheard")
    assert (await running.orchestrator.add_score(1.0)).seq == 1
    await asyncio.sleep(5 * QUICK_S)
    await running.end()
    assert len(log.of("service_manager.unheard")) == 1
    assert supervisor.failure is None


# -- the watchdog --------------------------------------------------------------------------------


async def test_signs_of_life_come_while_all_is_well(tmp_path):
    fs = GatedFileSystem()
    async with managed(fs, tmp_path, watchdog_s=10 * QUICK_S) as (_, listener):
        for _ in range(3):
            listener.forget()
            await told(listener, "WATCHDOG", "1")


async def test_no_sign_of_life_comes_before_it_can_be_reached(tmp_path):
    can_be_reached = asyncio.Event()

    async def server(supervisor):
        await can_be_reached.wait()
        supervisor.servers.note_ready()

    managing = managed(GatedFileSystem(), tmp_path, watchdog_s=60 * QUICK_S, servers=[server])
    async with managing as (_, listener):
        await told(listener, "STATUS", "running")
        assert await nothing_new(listener, "WATCHDOG")
        can_be_reached.set()
        await told(listener, "READY")
        await told(listener, "WATCHDOG")


@pytest.mark.parametrize("place", ["journal", "lock"])
async def test_no_sign_of_life_comes_while_the_disk_hangs(place, tmp_path):
    fs = GatedFileSystem()
    async with managed(fs, tmp_path, watchdog_s=10 * QUICK_S) as (running, listener):
        await told(listener, "WATCHDOG")
        if place == "journal":
            gate = fs.hold("sync_file")
            sending = await pending(running.orchestrator.add_score(1.0))
        else:
            gate = fs.hold("sync_file", lambda path: path.name == "lock")
            sending = None
        await until(gate.reached)
        await running.log.comes("watchdog.withheld")
        assert await nothing_new(listener, "WATCHDOG")
        assert listener.received[-1]["STATUS"].endswith("; the disk does not answer")
        gate.open()
        if sending is not None:
            await within(sending)
        listener.forget()
        await told(listener, "WATCHDOG")
    assert len(running.log.of("watchdog.withheld")) == 1


async def test_no_sign_of_life_comes_while_the_actor_does_not_answer(tmp_path):
    fs = GatedFileSystem()
    async with managed(fs, tmp_path, watchdog_s=10 * QUICK_S) as (running, listener):
        await told(listener, "WATCHDOG")
        async with running.supervisor.actor.between_commits():
            await running.log.comes("watchdog.withheld")
            assert await nothing_new(listener, "WATCHDOG")
        listener.forget()
        await told(listener, "WATCHDOG")
    assert running.log.of("watchdog.withheld")[0]["cause"] == "the actor does not answer"


async def test_a_loop_that_did_not_turn_is_not_laid_to_the_disk(tmp_path):
    fs = GatedFileSystem()
    async with managed(fs, tmp_path, watchdog_s=10 * QUICK_S) as (running, listener):
        gate = fs.hold("sync_file", lambda path: path.name == "lock")
        await until(gate.reached)
        time.sleep(10 * QUICK_S)  # noqa: ASYNC251  # as a worker that keeps the loop
        gate.open()
        await running.log.comes("watchdog.withheld")
        listener.forget()
        await told(listener, "WATCHDOG")
    [withheld] = running.log.of("watchdog.withheld")
    assert withheld["cause"].startswith("the event loop did not turn for 0.")


async def test_a_disk_that_fails_is_no_sign_of_life(tmp_path):
    fs = GatedFileSystem()
    async with managed(fs, tmp_path, watchdog_s=10 * QUICK_S) as (running, listener):
        await told(listener, "WATCHDOG")
        fs.inner.fail("write", errno.EROFS, at=1)
        await running.log.comes("watchdog.withheld")
        listener.forget()
        await told(listener, "WATCHDOG")
    assert running.log.of("watchdog.withheld")[0]["cause"].endswith("Read-only file system")


async def test_a_full_disk_is_told_and_is_a_sign_of_life_all_the_same(tmp_path):
    fs = GatedFileSystem()
    async with managed(fs, tmp_path, watchdog_s=10 * QUICK_S) as (running, listener):
        await told(listener, "READY")
        for write in range(1, 20):  # some of them are those of the watchdog
            fs.inner.fail("write", errno.ENOSPC, at=write)
        with pytest.raises(StorageFullError):
            await running.orchestrator.add_score(1.0)
        listener.forget()
        found = await told(listener, "WATCHDOG")
        assert found["STATUS"].endswith("no room on the disk")
    assert running.log.of("watchdog.withheld") == []
