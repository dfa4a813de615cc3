"""`Task.cancel()` at every await, both when the task begins to wait and when its wait is over.

Whatever is cancelled: every sender is answered, nothing acknowledged is lost, and the store can be
opened again.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest

from penin.core import door
from penin.core.transitions import Ack
from penin.errors import PeninError
from penin.runtime.store import store_at
from penin.runtime.supervisor import Supervisor
from penin.settings import Settings
from tests.fakes.crashable_filesystem import CrashableFileSystem
from tests.runtime.stores import (
    STORE,
    GatedFileSystem,
    RecordedLog,
    in_snapshot,
    open_on,
    pending,
    state_on,
    until,
    within,
)

AWAITS_MAX = 60
moments = pytest.mark.parametrize("moment", ["begun", "done"])


class CancelledAt:
    """Awaits a coroutine in a task that is cancelled at its n-th await.

    `begun`: as it begins to wait. `done`: when what it waits for has come, before it runs again.
    `came` tells whether it came to so many awaits.
    """

    def __init__(self, awaitable: Any, at: int, moment: str) -> None:
        self.came = False
        self._steps = awaitable.__await__()
        self._at = at
        self._moment = moment

    def __await__(self):
        task = asyncio.current_task()
        assert task is not None
        error: BaseException | None = None
        count = 0
        while True:
            try:
                waits_for = self._steps.throw(error) if error else self._steps.send(None)
            except StopIteration as stop:
                return stop.value
            count += 1
            if count == self._at:
                self.came = True
                if self._moment == "done" and waits_for is not None:
                    waits_for.add_done_callback(lambda _: task.cancel())
                else:
                    task.cancel()
            error = None
            try:
                yield waits_for
            except BaseException as thrown:  # noqa: BLE001  # handed on to the coroutine
                error = thrown


async def cancelled_at(awaitable: Any, at: int, moment: str) -> tuple[asyncio.Task[Any], bool]:
    """Run it in a task of its own to its end; the task, and whether it came to that await."""
    cancelling = CancelledAt(awaitable, at, moment)

    async def main():
        return await cancelling

    task = asyncio.create_task(main())
    await within(asyncio.wait({task}))
    if not task.cancelled() and task.exception() is not None:
        raise AssertionError("it raised") from task.exception()
    return task, cancelling.came


async def supervisors_ended() -> None:
    """Wait for what winds down on its own behind a cancelled opening or closing."""
    names = ("penin supervisor",)
    tasks = {task for task in asyncio.all_tasks() if task.get_name().startswith(names)}
    if tasks:
        await within(asyncio.wait(tasks))
        for task in tasks:
            assert task.cancelled() or task.exception() is None


async def opens_again(fs: Any) -> list[float]:
    async with open_on(fs, lock_wait_s=20.0) as orchestrator:
        await orchestrator.put_document("opened", value=True)
        return list(orchestrator.view.score_history)


# -- a sender ------------------------------------------------------------------------------------


async def test_a_sender_cancelled_before_its_message_was_taken_has_withdrawn_it():
    fs = GatedFileSystem()
    async with open_on(fs) as orchestrator:
        gate = fs.hold("sync_file")
        first = await pending(orchestrator.add_score(1.0))
        await until(gate.reached)
        withdrawn = await pending(orchestrator.add_score(2.0))
        kept = await pending(orchestrator.add_score(3.0))
        withdrawn.cancel()
        gate.open()
        await within(asyncio.wait({first, withdrawn, kept}))
        assert withdrawn.cancelled()
        assert (first.result(), kept.result()) == (Ack(1), Ack(2))
    assert await opens_again(fs) == [1.0, 3.0]


async def test_a_sender_cancelled_after_its_message_was_taken_has_sent_it():
    fs = GatedFileSystem()
    async with open_on(fs) as orchestrator:
        gate = fs.hold("sync_file")
        sending = await pending(orchestrator.add_score(1.0))
        await until(gate.reached)
        sending.cancel()
        await asyncio.wait({sending})
        assert sending.cancelled()
        gate.open()
        assert await within(orchestrator.add_score(2.0)) == Ack(2)
    assert await opens_again(fs) == [1.0, 2.0]


async def test_cancelling_the_answer_of_send_nowait_withdraws_it():
    async with open_on(GatedFileSystem()) as orchestrator:
        asyncio.ensure_future(orchestrator.send_nowait(door.add_score(1.0))).cancel()
        assert await within(orchestrator.add_score(2.0)) == Ack(1)


async def test_a_sender_cancelled_while_it_waits_for_room_has_sent_nothing():
    fs = GatedFileSystem()
    async with open_on(fs, mailbox_messages_max=1) as orchestrator:
        gate = fs.hold("sync_file")
        sends = [await pending(orchestrator.add_score(1.0))]
        await until(gate.reached)
        sends += [await pending(orchestrator.add_score(float(number))) for number in (2, 3, 4)]
        sends[2].cancel()
        gate.open()
        await within(asyncio.wait(sends))
        assert list(orchestrator.view.score_history) == [1.0, 2.0, 4.0]


@moments
@pytest.mark.parametrize("messages_max", [1, 100])
async def test_a_sender_cancelled_at_any_await_takes_nobody_with_it(messages_max, moment):
    for at in range(1, AWAITS_MAX):
        fs = GatedFileSystem()
        async with open_on(fs, mailbox_messages_max=messages_max) as orchestrator:
            others = [asyncio.create_task(orchestrator.add_score(1.0)) for _ in range(3)]
            await asyncio.sleep(0)
            task, came = await cancelled_at(orchestrator.add_score(7.0), at, moment)
            others += [asyncio.create_task(orchestrator.add_score(2.0)) for _ in range(3)]
            acks = await within(asyncio.gather(*others))
            found = list(orchestrator.view.score_history)
            assert sorted(number for number in found if number != 7.0) == [1.0] * 3 + [2.0] * 3
            assert len({ack.seq for ack in acks}) == 6
            assert found.count(7.0) == 1 or task.cancelled()
        assert list(state_on(fs).score_history) == found
        if not came:
            return
    pytest.fail("no end of awaits")


@moments
async def test_a_transaction_cancelled_at_any_await_is_there_whole_or_not_at_all(moment):
    for at in range(1, AWAITS_MAX):
        fs = GatedFileSystem()
        async with open_on(fs) as orchestrator:

            async def work(to=orchestrator):
                async with to.transaction() as t:
                    t.add_score(1.0)
                    await asyncio.sleep(0)
                    t.add_score(2.0)

            _, came = await cancelled_at(work(), at, moment)
            await within(orchestrator.add_score(3.0))
        assert list(state_on(fs).score_history) in ([3.0], [1.0, 2.0, 3.0])
        if not came:
            return
    pytest.fail("no end of awaits")


@moments
async def test_waiting_for_a_checkpoint_can_be_cancelled_at_any_await(moment):
    fs = GatedFileSystem()
    async with open_on(fs) as orchestrator:
        for at in range(1, AWAITS_MAX):
            await orchestrator.add_score(1.0)
            _, came = await cancelled_at(orchestrator.checkpoint(), at, moment)
            if not came:
                break
        assert await within(orchestrator.checkpoint()) == orchestrator.applied_seq
    assert set(await opens_again(fs)) == {1.0}


async def test_waiting_for_durability_can_be_cancelled():
    async with open_on(GatedFileSystem(), fsync="everysec") as orchestrator:
        await orchestrator.add_score(1.0)
        waiting = [await pending(orchestrator.durable(1)) for _ in range(3)]
        waiting[1].cancel()
        await within(orchestrator.checkpoint())
        await within(asyncio.wait(waiting))
        assert [task.cancelled() for task in waiting] == [False, True, False]


# -- the host's enter and exit -------------------------------------------------------------------


@moments
@pytest.mark.parametrize("past", ["new", "killed"])
async def test_entering_can_be_cancelled_at_any_await(past, moment):
    disk, acknowledged = CrashableFileSystem(), []
    if past == "killed":
        acknowledged = [0.0, 1.0, 2.0]
        async with open_on(disk) as orchestrator:
            for number in acknowledged:
                await orchestrator.add_score(number)
            killed = disk.after_kill()
        disk = killed
    for at in range(1, AWAITS_MAX):
        fs = disk.after_kill()
        task, came = await cancelled_at(open_on(fs), at, moment)
        if not task.cancelled():
            await within(task.result().aclose())
        await supervisors_ended()
        assert fs.open_descriptors == 0
        assert await opens_again(fs) == acknowledged
        if not came:
            return
    pytest.fail("no end of awaits")


@moments
async def test_leaving_can_be_cancelled_at_any_await(moment):
    for at in range(1, AWAITS_MAX):
        fs = CrashableFileSystem()
        opening = open_on(fs)
        orchestrator = await opening.__aenter__()
        await orchestrator.add_score(1.0)
        in_mailbox = [orchestrator.send_nowait(door.add_score(2.0)) for _ in range(3)]
        _, came = await cancelled_at(opening.__aexit__(None, None, None), at, moment)
        acks = await within(asyncio.gather(*in_mailbox))
        assert [ack.seq for ack in acks] == [2, 3, 4]
        await supervisors_ended()
        assert orchestrator.phase == "stopped"
        assert fs.open_descriptors == 0
        assert fs.exists(STORE / "state.json")
        assert await opens_again(fs) == [1.0, 2.0, 2.0, 2.0]
        if not came:
            return
    pytest.fail("no end of awaits")


async def test_leaving_cancelled_twice_still_saves():
    fs = GatedFileSystem()
    opening = open_on(fs)
    orchestrator = await opening.__aenter__()
    await orchestrator.add_score(1.0)
    gate = fs.hold("write", in_snapshot)
    leaving = await pending(opening.__aexit__(None, None, None))
    await until(gate.reached)
    for _ in range(3):
        leaving.cancel()
        await asyncio.sleep(0)
    gate.open()
    await within(asyncio.wait({leaving}))
    await supervisors_ended()
    assert fs.exists(STORE / "state.json")
    assert await opens_again(fs) == [1.0]


# -- what is inside ------------------------------------------------------------------------------


@moments
@pytest.mark.parametrize("fsync", ["always", "everysec"])
async def test_the_supervisor_can_be_cancelled_at_any_await(fsync, moment):
    for at in range(1, AWAITS_MAX):
        fs = CrashableFileSystem()
        settings = Settings(fsync=fsync)
        supervisor = Supervisor(store_at(STORE, settings, fs), settings, RecordedLog())
        cancelling = CancelledAt(supervisor.run(), at, moment)

        async def run(awaitable=cancelling):
            await awaitable

        task = asyncio.create_task(run())
        acknowledged = await send_until_closed(supervisor)
        await within(asyncio.wait({task}))
        assert task.cancelled() or task.exception() is None
        assert supervisor.ended.is_set()
        assert supervisor.phase in {"stopped", "failed"}
        found = await opens_again(fs)
        assert found[: len(acknowledged)] == acknowledged
        assert fs.open_descriptors == 0
        if not cancelling.came:
            return
    pytest.fail("no end of awaits")


async def send_until_closed(supervisor, count=5):
    """Send so many scores and stop, or send until it ends; the scores that were acknowledged."""
    acknowledged = []
    await within(supervisor.started.wait())
    orchestrator = supervisor.orchestrator
    if orchestrator is not None:
        with contextlib.suppress(PeninError):
            for number in range(count):
                await within(orchestrator.add_score(float(number)))
                acknowledged.append(float(number))
    supervisor.stop("enough")
    return acknowledged


@pytest.mark.parametrize("victim", range(8))
@pytest.mark.parametrize("in_flight", [False, True])
async def test_any_task_inside_can_be_cancelled(victim, in_flight):
    fs = GatedFileSystem()
    host = asyncio.all_tasks()
    orchestrator = await open_on(fs)
    await orchestrator.add_score(1.0)
    inside = sorted(asyncio.all_tasks() - host, key=lambda task: task.get_name())
    if victim >= len(inside):
        await orchestrator.aclose()
        return
    gate = fs.hold("sync_file")
    if not in_flight:
        gate.open()
    sending = await pending(orchestrator.add_score(2.0))
    if in_flight:
        await until(gate.reached)
    inside[victim].cancel()
    await asyncio.sleep(0)
    gate.open()
    await within(asyncio.wait({sending}))
    with contextlib.suppress(PeninError):
        await within(orchestrator.aclose())
    stored = sending.exception() is None
    await within(asyncio.wait(inside))
    assert fs.inner.open_descriptors == 0
    found = await opens_again(fs)
    assert found == [1.0, 2.0] if stored else found in ([1.0], [1.0, 2.0])


@pytest.mark.parametrize("operation", ["open_write", "read", "write", "sync_file"])
async def test_who_opens_is_told_when_the_supervisor_is_cancelled_meanwhile(operation):
    fs = GatedFileSystem()
    gate = fs.hold(operation, lambda path: True)
    host = asyncio.all_tasks()
    opening = open_on(fs)
    entering = await pending(opening.__aenter__())
    await until(gate.reached)
    for task in asyncio.all_tasks() - host - {entering}:
        task.cancel()
    await asyncio.sleep(0)
    gate.open()
    with pytest.raises(PeninError):
        await within(entering)
    assert await opens_again(fs) == []


# anyio makes the coroutine of a child before its task; a loop that ends in between warns of it.
@pytest.mark.filterwarnings("ignore:coroutine 'Supervisor._guarded' was never awaited")
@pytest.mark.parametrize("fsync", ["always", "everysec"])
def test_a_loop_that_ends_at_any_step_loses_nothing_acknowledged(fsync):
    for steps in range(0, 120, 3):
        fs = CrashableFileSystem()
        acknowledged: list[float] = []

        async def main(fs=fs, steps=steps, acknowledged=acknowledged):
            async def work():
                async with open_on(fs, fsync=fsync) as orchestrator:
                    for number in range(1000):
                        await orchestrator.add_score(float(number))
                        acknowledged.append(float(number))

            task = asyncio.create_task(work())
            for _ in range(steps):
                await asyncio.sleep(0)
            del task  # asyncio.run cancels whatever is left, all at once

        asyncio.run(main())
        found = asyncio.run(opens_again(fs))
        assert found[: len(acknowledged)] == acknowledged
        assert found == [float(number) for number in range(len(found))]
