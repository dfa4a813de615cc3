"""A disk that fills up under a worker, which reads on, and writes again once there is room."""

from __future__ import annotations

import asyncio
import resource
import signal

import pytest

import penin
from penin.cli.exits import ExitCode
from penin.errors import StorageFullError
from tests.cli.containers import Contained, volume
from tests.cli.processes import Penin
from tests.cli.processes import penin as run_penin
from tests.notify_sockets import Listener, short_path

pytestmark = pytest.mark.sliced  # each is a process or several

STORE = ".penin_omega"

SERVING = '''
"""Says "stored <seq>" and, where there is no room, "refused <tasks that can be read>"."""
import asyncio
from penin.errors import StorageFullError

async def serve(orchestrator, turns=100):
    was = None
    while turns and not orchestrator.stopping.is_set():
        try:
            ack = await orchestrator.add_task({"filling": "x" * 4000})
            now = "stored", ack.seq
        except StorageFullError:
            tasks = await orchestrator.history("task_history")
            assert len(tasks) == orchestrator.applied_seq - 1 and len(tasks[0]["filling"]) == 4000
            now = "refused", len(tasks)
            await asyncio.sleep(0.01)
        if was is None or now[0] != was[0]:
            print(*now, flush=True)
            turns -= was is not None and now[0] == "stored"
        was = now
    await orchestrator.stopping.wait()
    print("last", orchestrator.applied_seq, flush=True)
'''
MANY = ("--history-maxlen", "1000000", "--checkpoint-interval-s", "600")


@pytest.fixture
def serving(place):
    (place / "serving.py").write_text(SERVING)
    return place


def changes(process, count):
    """The first `count` changes between storing and refusing, as pairs of a word and a number."""
    lines = [line.split() for line in process.output(count)]
    assert [word for word, _ in lines] == [("stored", "refused")[n % 2] for n in range(count)]
    return [int(number) for _, number in lines]


def limit_files(process, size):
    _, hard = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (size, hard))


def test_where_files_may_not_grow_reads_go_on_and_later_writes_too(serving):
    with Penin(serving, "run", "serving:serve", *MANY) as process:
        changes(process, 1)
        for turn in range(2):
            limit_files(process, 0)
            changes(process, 2 * turn + 2)
            process.signal(signal.SIGUSR1)
            process.event("checkpoint.failed", reason="signal")
            limit_files(process, resource.RLIM_INFINITY)
            refused, stored = changes(process, 2 * turn + 3)[-2:]
            assert stored == refused + 2, "seq 1 is the bound of the histories; none is lost"
        process.signal(signal.SIGTERM)
        assert process.end() == ExitCode.SUCCESS
    assert process.event("storage.full")["cause"] == "File too large"
    assert process.event("storage.has_room")
    last = int(process.out[-1].split()[1])
    assert len(penin.load(serving / STORE).task_history) == last - 1


def test_where_there_is_no_room_others_are_served_and_the_watchdog_is_content(serving, tmp_path):
    async def asked():
        async with penin.connect(serving / STORE) as remote:
            tasks = await remote.history("task_history")
            assert len(tasks[0]["filling"]) == 4000
            with pytest.raises(StorageFullError):
                await remote.add_score(1.0)
            return len(tasks)

    with Listener(short_path(tmp_path)) as listener:
        manager = {"NOTIFY_SOCKET": listener.address, "WATCHDOG_USEC": "600000"}
        with Penin(serving, "run", "serving:serve", *MANY, **manager) as process:
            process.event("ingress.opened")
            changes(process, 1)
            limit_files(process, 0)
            refused = changes(process, 2)[-1]
            assert asyncio.run(asked()) == refused
            listener.forget()
            told = listener.until("WATCHDOG", "1")
            assert told["STATUS"].endswith("no room on the disk")
            limit_files(process, resource.RLIM_INFINITY)
            changes(process, 3)
            process.signal(signal.SIGTERM)
            assert process.end() == ExitCode.SUCCESS


def test_a_worker_that_is_stopped_while_there_is_no_room_has_stored_what_it_acknowledged(serving):
    with Penin(serving, "run", "serving:serve", *MANY) as process:
        changes(process, 1)
        limit_files(process, 0)
        changes(process, 2)
        process.signal(signal.SIGTERM)
        assert process.end() == ExitCode.CHECKPOINT_FAILED
    assert process.said("the last checkpoint failed")
    last = int(process.out[-1].split()[1])
    assert len(penin.load(serving / STORE).task_history) == last - 1
    again = run_penin(serving, "run", "workers:count", "--", "total=0")
    assert again.event("recovery.finished")["task_history_size"] == last - 1


def test_a_full_volume_that_is_freed_again_takes_writes_again(serving):
    store = serving / "state"
    store.mkdir()
    setup = f"{volume(store, '4m')}; head -c 3m /dev/zero > '{store}/filling'"
    with Contained(
        serving, "run", "serving:serve", *MANY, "--dir", store, "--", "turns=1", setup=setup
    ) as process:
        changes(process, 2)
        process.enter()
        process.signal(signal.SIGUSR1)
        process.event("checkpoint.failed", reason="signal")
        process.inside(store / "filling").unlink()
        _, refused, stored = changes(process, 3)
        assert stored == refused + 2
        process.signal(signal.SIGTERM)
        assert process.end() == ExitCode.SUCCESS
    assert process.event("checkpoint.finished", reason="shutdown")["seq"] == stored
    assert process.event("storage.full")["cause"] == "No space left on device"
    assert process.event("storage.has_room")


def test_a_store_cannot_be_opened_on_a_full_volume_and_says_so(place):
    store = place / "state"
    store.mkdir()
    setup = f"{volume(store, '1m')}; head -c 1m /dev/zero > '{store}/filling'"
    with Contained(place, "run", "workers:count", "--dir", store, setup=setup) as process:
        assert process.end() == ExitCode.STORAGE_FAILED
    assert process.said("No space left on device")
    assert process.out == []
