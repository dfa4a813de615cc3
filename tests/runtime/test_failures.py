"""Storage that fails: no room is not the end, anything else in the journal is."""

from __future__ import annotations

import asyncio
import errno

import pytest

from penin.core import door
from penin.core.transitions import Ack
from penin.errors import JournalFailedError, StorageFullError
from tests.runtime.stores import (
    STORE,
    GatedFileSystem,
    in_snapshot,
    open_on,
    pending,
    seen,
    state_on,
    supervised,
    until,
    within,
)

NO_ROOM = [errno.ENOSPC, errno.EDQUOT, errno.EFBIG]


# -- no room -------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", NO_ROOM)
@pytest.mark.parametrize("partial", [None, 1, 60])
@pytest.mark.parametrize("fsync", ["always", "everysec"])
async def test_without_room_nothing_is_stored_and_writes_are_taken_again(fsync, partial, number):
    fs = GatedFileSystem()
    async with open_on(fs, fsync=fsync) as orchestrator:
        await orchestrator.put_document("d", "before")
        fs.inner.fail("write", number, partial=partial)
        with pytest.raises(StorageFullError):
            await within(orchestrator.put_document("d", "lost"))
        assert await orchestrator.get_document("d") == "before"
        assert orchestrator.applied_seq == 1
        assert await within(orchestrator.put_document("d", "after")) == Ack(2)
        assert seen(state_on(fs)) == seen(orchestrator.view)
    async with open_on(fs) as orchestrator:
        assert await orchestrator.get_document("d") == "after"


async def test_without_room_every_sender_of_the_batch_is_told_and_the_next_batch_is_tried():
    fs = GatedFileSystem()
    async with open_on(fs, batch_messages_max=3) as orchestrator:
        gate = fs.hold("sync_file")
        first = await pending(orchestrator.add_score(0.0))
        await until(gate.reached)
        later = [await pending(orchestrator.add_score(float(number))) for number in range(1, 7)]
        fs.inner.fail("write", errno.ENOSPC)
        gate.open()
        outcomes = await within(asyncio.gather(first, *later, return_exceptions=True))
        assert outcomes[0] == Ack(1)
        assert all(isinstance(outcome, StorageFullError) for outcome in outcomes[1:4])
        assert outcomes[4:] == [Ack(2), Ack(3), Ack(4)]
        assert list(state_on(fs).score_history) == [0.0, 4.0, 5.0, 6.0]


async def test_each_sender_gets_an_error_of_its_own():
    fs = GatedFileSystem()
    async with open_on(fs) as orchestrator:
        gate = fs.hold("sync_file")
        first = await pending(orchestrator.add_score(0.0))
        await until(gate.reached)
        later = [await pending(orchestrator.add_score(1.0)) for _ in range(3)]
        fs.inner.fail("write", errno.ENOSPC)
        gate.open()
        _, *errors = await within(asyncio.gather(first, *later, return_exceptions=True))
        assert len({id(error) for error in errors}) == 3


async def test_a_transaction_without_room_is_not_there_at_all():
    fs = GatedFileSystem()
    async with open_on(fs) as orchestrator:
        fs.inner.fail("write", errno.ENOSPC, partial=40)
        with pytest.raises(StorageFullError):  # noqa: PT012  # the body is the point
            async with orchestrator.transaction() as t:
                t.add_score(1.0)
                t.put_document("d", 1)
        assert t.ack is None
        assert orchestrator.applied_seq == 0
        assert state_on(fs).seq == 0


async def test_with_everysec_what_was_written_before_stays_when_there_is_no_room():
    fs = GatedFileSystem()
    async with open_on(fs, fsync="everysec") as orchestrator:
        for number in range(5):
            await orchestrator.add_score(float(number))
        fs.inner.fail("write", errno.ENOSPC, partial=20)
        with pytest.raises(StorageFullError):
            await orchestrator.add_score(5.0)
        assert state_on(fs.inner.after_crash(seed=1)).seq == 5
        await within(orchestrator.durable(5))


# -- fail stop -----------------------------------------------------------------------------------


async def a_failed_write(fs):
    fs.inner.fail("write", errno.EIO, partial=20)


async def a_failed_sync(fs):
    fs.inner.fail("sync_file", errno.EIO)


async def a_failed_cut(fs):
    fs.inner.fail("write", errno.ENOSPC, partial=20)
    fs.inner.fail("truncate", errno.EIO)


async def a_failed_sync_of_the_cut(fs):
    fs.inner.fail("write", errno.ENOSPC, partial=20)
    fs.inner.fail("sync_file", errno.EIO)


FAILURES = [a_failed_write, a_failed_sync, a_failed_cut, a_failed_sync_of_the_cut]
failures = pytest.mark.parametrize("failure", FAILURES)


@failures
async def test_the_senders_of_the_batch_get_journal_failed_and_so_does_everyone_after(failure):
    fs = GatedFileSystem()
    async with supervised(fs) as running:
        orchestrator = running.orchestrator
        gate = fs.hold("sync_file")
        first = await pending(orchestrator.add_score(0.0))
        await until(gate.reached)
        in_mailbox = [orchestrator.send_nowait(door.add_score(1.0)) for _ in range(5)]
        gate.open()
        assert await within(first) == Ack(1)
        outcomes = await within(asyncio.gather(*in_mailbox))
        assert len(outcomes) == 5
        await failure(fs)
        batch = [orchestrator.send_nowait(door.add_score(2.0)) for _ in range(3)]
        for outcome in await within(asyncio.gather(*batch, return_exceptions=True)):
            assert isinstance(outcome, JournalFailedError)
        for call in (
            orchestrator.add_score(3.0),
            orchestrator.send({"type": "add_score", "score": 3.0}),
            orchestrator.get("k"),
            orchestrator.get_document("d"),
            orchestrator.history("score_history"),
            orchestrator.statistics(),
            orchestrator.checkpoint(),
            orchestrator.durable(100),
        ):
            with pytest.raises(JournalFailedError):
                await within(call)
        with pytest.raises(JournalFailedError):
            orchestrator.send_nowait(door.add_score(3.0))
        await within(running.task)
        assert isinstance(running.supervisor.failure, JournalFailedError)
        assert running.supervisor.phase == "failed"
        assert running.log.of("journal.failed")
        assert orchestrator.applied_seq == 6


@failures
async def test_who_waits_in_the_mailbox_is_refused(failure):
    fs = GatedFileSystem()
    async with supervised(fs, batch_messages_max=1) as running:
        orchestrator = running.orchestrator
        gate = fs.hold("write")
        await failure(fs)
        sends = [orchestrator.send_nowait(door.add_score(1.0)) for _ in range(4)]
        await until(gate.reached)
        gate.open()
        for outcome in await within(asyncio.gather(*sends, return_exceptions=True)):
            assert isinstance(outcome, JournalFailedError)
        await within(running.task)


@failures
async def test_who_waits_for_room_is_refused(failure):
    fs = GatedFileSystem()
    async with supervised(fs, mailbox_messages_max=1) as running:
        orchestrator = running.orchestrator
        gate = fs.hold("write")
        await failure(fs)
        sends = [await pending(orchestrator.add_score(1.0)) for _ in range(4)]
        await until(gate.reached)
        gate.open()
        for outcome in await within(asyncio.gather(*sends, return_exceptions=True)):
            assert isinstance(outcome, JournalFailedError)


@failures
async def test_afterwards_nothing_is_written_checkpointed_or_deleted(failure):
    fs = GatedFileSystem()
    async with supervised(fs, checkpoint_interval_s=0.001) as running:
        orchestrator = running.orchestrator
        for _ in range(3):
            await orchestrator.add_score(1.0)
            await within(orchestrator.checkpoint())
        await failure(fs)
        with pytest.raises(JournalFailedError):
            await within(orchestrator.add_score(2.0))
        done = len(fs.inner.operations)
        await within(running.task)
        left = [
            operation
            for operation in fs.inner.operations[done:]
            if operation.split()[0] in {"rename", "unlink", "link", "create", "sync_file"}
        ]
        assert left == []


@failures
async def test_a_snapshot_under_way_deletes_nothing_when_the_journal_fails(failure):
    fs = GatedFileSystem()
    async with supervised(fs) as running:
        orchestrator = running.orchestrator
        for _ in range(3):
            await orchestrator.add_score(1.0)
            await within(orchestrator.checkpoint())
        await orchestrator.add_score(1.0)
        gate = fs.hold("write", in_snapshot)
        checkpoint = await pending(orchestrator.checkpoint())
        await until(gate.reached)
        journal = fs.names(STORE / "journal")
        kept = fs.names(STORE / "checkpoints")
        await failure(fs)
        with pytest.raises(JournalFailedError):
            await within(orchestrator.add_score(2.0))
        gate.open()
        await within(running.task)
        with pytest.raises(JournalFailedError):
            await within(checkpoint)
        assert fs.names(STORE / "journal") == journal
        assert set(fs.names(STORE / "checkpoints")) >= set(kept)
        assert not any(in_snapshot(STORE / name) for name in fs.names(STORE))
    assert state_on(fs.inner.after_kill()).seq >= 4


async def test_a_journal_that_fails_while_a_checkpoint_ends_has_nothing_deleted():
    fs = GatedFileSystem()
    async with supervised(fs) as running:
        orchestrator, log = running.orchestrator, running.log
        for _ in range(3):
            await orchestrator.add_score(1.0)
            await within(orchestrator.checkpoint())
        await orchestrator.add_score(1.0)
        snapshot = fs.hold("write", in_snapshot)
        checkpoint = await pending(orchestrator.checkpoint())
        await until(snapshot.reached)
        append = fs.hold("sync_file")
        sender = await pending(orchestrator.add_score(2.0))
        await until(append.reached)
        kept = set(fs.names(STORE / "checkpoints"))
        snapshot.open()
        await log.comes("checkpoint.finished", 4)  # what it retires waits behind the append
        fs.inner.fail("sync_file", errno.EIO)
        append.open()
        with pytest.raises(JournalFailedError):
            await within(sender)
        with pytest.raises(JournalFailedError):
            await within(checkpoint)
        await within(running.task)
        assert set(fs.names(STORE / "checkpoints")) >= kept


async def test_a_checkpoint_that_waited_for_the_commit_that_failed_takes_no_view():
    fs = GatedFileSystem()
    async with supervised(fs) as running:
        orchestrator = running.orchestrator
        await orchestrator.add_score(1.0)
        append = fs.hold("sync_file")
        sender = await pending(orchestrator.add_score(2.0))
        await until(append.reached)
        checkpoint = await pending(orchestrator.checkpoint())
        journal = fs.names(STORE / "journal")
        fs.inner.fail("sync_file", errno.EIO)
        append.open()
        with pytest.raises(JournalFailedError):
            await within(sender)
        with pytest.raises(JournalFailedError):
            await within(checkpoint)
        await within(running.task)
        assert fs.names(STORE / "journal") == journal
        assert not fs.exists(STORE / "state.json")


async def test_a_sync_that_fails_between_messages_is_logged_as_the_failure_of_the_journal():
    fs = GatedFileSystem()
    async with supervised(fs, fsync="everysec") as running:
        fs.inner.fail("sync_file", errno.EIO)
        await running.orchestrator.add_score(1.0)
        await running.log.comes("journal.failed")
        await within(running.task)
    assert len(running.log.of("journal.failed")) == 1


@failures
async def test_what_was_acknowledged_before_is_there_when_it_is_opened_again(failure):
    for seed in range(10):
        fs = GatedFileSystem()
        fs.inner._rng.seed(seed)
        with pytest.raises(JournalFailedError):  # noqa: PT012  # the body is the point
            async with open_on(fs) as orchestrator:
                for number in range(3):
                    await orchestrator.add_score(float(number))
                await failure(fs)
                await orchestrator.add_score(3.0)
        for disk in (fs.inner.after_kill(), fs.inner.after_crash(seed)):
            async with open_on(disk) as orchestrator:
                found = list(orchestrator.view.score_history)
                assert found in ([0.0, 1.0, 2.0], [0.0, 1.0, 2.0, 3.0])
                await orchestrator.add_score(4.0)
            assert list(state_on(disk).score_history) == [*found, 4.0]


@failures
async def test_everyone_who_waits_for_durability_is_told(failure):
    fs = GatedFileSystem()
    async with supervised(fs) as running:
        waiting = await pending(running.orchestrator.durable(50))
        await failure(fs)
        with pytest.raises(JournalFailedError):
            await within(running.orchestrator.add_score(1.0))
        with pytest.raises(JournalFailedError):
            await within(waiting)


async def test_the_journal_is_never_synced_again_after_a_failed_sync():
    fs = GatedFileSystem()
    async with supervised(fs) as running:
        await running.orchestrator.add_score(1.0)
        fs.inner.fail("sync_file", errno.EIO)
        with pytest.raises(JournalFailedError):
            await within(running.orchestrator.add_score(2.0))
        done = len(fs.inner.operations)
        await within(running.task)
        assert "sync_file" not in fs.inner.operations[done:]


async def test_a_failed_snapshot_is_not_a_failed_journal():
    for operation in ("create", "write", "sync_file", "link", "rename", "sync_directory"):
        fs = GatedFileSystem()
        async with open_on(fs) as orchestrator:
            await orchestrator.add_score(1.0)
            gate = fs.hold("open_write", in_snapshot)
            checkpoint = await pending(orchestrator.checkpoint())
            await until(gate.reached)
            fs.inner.fail(operation, errno.EIO)
            gate.open()
            with pytest.raises(Exception, match="Input/output error"):
                await within(checkpoint)
            assert await within(orchestrator.add_score(2.0)) == Ack(2)
            assert await within(orchestrator.checkpoint()) == 2
        assert state_on(fs.inner.after_crash(seed=3)).seq == 2, operation
