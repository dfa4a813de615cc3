from __future__ import annotations

import asyncio
import errno

import pytest

from penin.errors import ClosedError, FinalCheckpointError, JournalFailedError, StorageError
from penin.runtime.past import state_at
from penin.storage.snapshots import FileSnapshotStore
from tests.runtime.stores import (
    JOURNAL,
    STORE,
    GatedFileSystem,
    in_journal,
    in_snapshot,
    open_on,
    pending,
    seen,
    state_on,
    supervised,
    until,
    within,
)

STATE = STORE / "state.json"


def kept_seqs(fs):
    return [checkpoint.seq for checkpoint in FileSnapshotStore(fs, STORE).checkpoints()]


def journal_files(fs):
    return [int(name.partition(".")[0]) for name in fs.names(JOURNAL)]


def finished(log):
    return [(event["reason"], event["seq"]) for event in log.of("checkpoint.finished")]


async def test_a_requested_checkpoint_answers_with_the_seq_that_it_holds():
    fs = GatedFileSystem()
    async with supervised(fs) as running:
        await running.orchestrator.add_score(1.0)
        await running.orchestrator.add_score(2.0)
        assert await within(running.orchestrator.checkpoint()) == 2
        assert finished(running.log) == [("request", 2)]
        assert kept_seqs(fs) == [2]
        assert running.log.of("checkpoint.finished")[0]["bytes"] == len(fs.inner.content(STATE))


async def test_a_checkpoint_where_nothing_changed_writes_nothing():
    fs = GatedFileSystem()
    async with supervised(fs) as running:
        assert await within(running.orchestrator.checkpoint()) == 0
        await running.orchestrator.add_score(1.0)
        assert await within(running.orchestrator.checkpoint()) == 1
        before = list(fs.inner.operations)
        assert await within(running.orchestrator.checkpoint()) == 1
        assert fs.inner.operations == before
        assert len(finished(running.log)) == 1


async def test_one_checkpoint_answers_everyone_who_asked_before_it():
    async with supervised() as running:
        await running.orchestrator.add_score(1.0)
        asking = [running.orchestrator.checkpoint() for _ in range(5)]
        assert await within(asyncio.gather(*asking)) == [1] * 5
        assert len(finished(running.log)) == 1


async def test_who_asks_during_a_checkpoint_gets_one_with_all_that_was_applied_then():
    fs = GatedFileSystem()
    async with supervised(fs) as running:
        orchestrator = running.orchestrator
        await orchestrator.add_score(1.0)
        gate = fs.hold("write", in_snapshot)
        first = await pending(orchestrator.checkpoint())
        await until(gate.reached)
        await within(orchestrator.add_score(2.0))
        second = await pending(orchestrator.checkpoint())
        gate.open()
        assert await within(first) == 1
        assert await within(second) == 2


async def test_messages_are_acknowledged_while_a_snapshot_is_written():
    fs = GatedFileSystem()
    async with supervised(fs) as running:
        orchestrator = running.orchestrator
        await orchestrator.put_document("d", "before")
        gate = fs.hold("sync_file", in_snapshot)
        checkpoint = await pending(orchestrator.checkpoint())
        await until(gate.reached)
        for number in range(20):
            await within(orchestrator.put_document("d", number))
        gate.open()
        assert await within(checkpoint) == 1
        assert b'"before"' in fs.inner.content(STATE), "what was written is the view at seq 1"
        assert seen(state_on(fs)) == seen(orchestrator.view)


async def test_a_checkpoint_comes_by_the_timer_and_only_where_something_changed():
    async with supervised(checkpoint_interval_s=0.01) as running:
        orchestrator = running.orchestrator
        for seq in (1, 2):
            await orchestrator.add_score(1.0)
            await running.log.comes("checkpoint.finished", seq)
        await running.log.comes("checkpoint.skipped", 2)
        assert finished(running.log) == [("timer", 1), ("timer", 2)]


async def test_a_checkpoint_comes_after_so_many_transitions():
    async with supervised(checkpoint_transitions_max=10) as running:
        for _ in range(25):
            await running.orchestrator.add_score(1.0)
        await running.log.comes("checkpoint.finished")
        reason, seq = finished(running.log)[0]
        assert reason == "transitions"
        assert 10 <= seq <= 25


async def test_the_last_checkpoint_is_written_when_closing():
    fs = GatedFileSystem()
    async with supervised(fs) as running:
        await running.orchestrator.add_score(1.0)
    assert finished(running.log) == [("shutdown", 1)]
    assert kept_seqs(fs) == [1]


async def test_two_checkpoints_are_kept_and_the_journal_back_to_the_older_one():
    fs = GatedFileSystem()
    async with open_on(fs) as orchestrator:
        for _ in range(4):
            await orchestrator.add_score(1.0)
            await orchestrator.add_score(2.0)
            await within(orchestrator.checkpoint())
        assert kept_seqs(fs) == [6, 8]
        assert journal_files(fs) == [7, 9]


async def test_the_whole_journal_stays_while_there_is_one_checkpoint_only():
    fs = GatedFileSystem()
    async with open_on(fs) as orchestrator:
        await orchestrator.add_score(1.0)
        await within(orchestrator.checkpoint())
        assert journal_files(fs) == [1, 2]


async def test_more_checkpoints_are_kept_where_the_settings_say_so():
    for settings in ({"keep_last": 3}, {"keep_within": "1h"}, {"keep_within": "2w"}):
        fs = GatedFileSystem()
        async with open_on(fs, **settings) as orchestrator:
            for _ in range(4):
                await orchestrator.add_score(1.0)
                await within(orchestrator.checkpoint())
            expected = [2, 3, 4] if "keep_last" in settings else [1, 2, 3, 4]
            assert kept_seqs(fs) == expected
            oldest = expected[0]
            assert journal_files(fs) == list(range(oldest + 1, 6))
            assert state_at(STORE, seq=oldest, fs=fs).state.seq == oldest


async def test_a_journal_that_is_kept_forever_loses_no_file():
    fs = GatedFileSystem()
    async with open_on(fs, keep_journal="forever") as orchestrator:
        for _ in range(4):
            await orchestrator.add_score(1.0)
            await within(orchestrator.checkpoint())
        assert kept_seqs(fs) == [3, 4]
        assert journal_files(fs) == [1, 2, 3, 4, 5]
    assert state_at(STORE, seq=1, fs=fs).state.seq == 1
    async with open_on(fs) as orchestrator:
        await orchestrator.add_score(1.0)
        await within(orchestrator.checkpoint())
        assert journal_files(fs) == [5, 6]


async def test_what_was_recovered_from_stays_until_two_newer_ones_are_written():
    fs = GatedFileSystem()
    async with open_on(fs) as orchestrator:
        for _ in range(2):
            await orchestrator.add_score(1.0)
            await within(orchestrator.checkpoint())
    unread = STORE / "checkpoints" / f"{99:020d}-20260131T120000Z.json"
    fs.close(fs.open_write(unread))
    for expected in ([2, 3, 99], [3, 4, 99], [4, 5, 99]):
        async with open_on(fs) as orchestrator:
            await orchestrator.add_score(1.0)
            await within(orchestrator.checkpoint())
        assert kept_seqs(fs) == expected


async def test_everything_in_a_snapshot_is_durable_before_it_is_written():
    fs = GatedFileSystem()
    async with open_on(fs, fsync="everysec") as orchestrator:
        gate = fs.hold("sync_file", in_journal)
        await orchestrator.add_score(1.0)
        checkpoint = await pending(orchestrator.checkpoint())
        await until(gate.reached)
        assert not any(in_snapshot(STORE / name) for name in fs.names(STORE))
        gate.open()
        await within(checkpoint)
        assert orchestrator.durable_seq == 1


async def test_a_failed_checkpoint_says_why_removes_its_file_and_loses_nothing():
    fs = GatedFileSystem()
    async with supervised(fs) as running:
        orchestrator = running.orchestrator
        await orchestrator.add_score(1.0)
        gate = fs.hold("write", in_snapshot)
        checkpoint = await pending(orchestrator.checkpoint())
        await until(gate.reached)
        fs.inner.fail("write", errno.ENOSPC)
        gate.open()
        with pytest.raises(StorageError, match="No space"):
            await within(checkpoint)
        assert "No space" in running.log.of("checkpoint.failed")[0]["cause"]
        assert not any(in_snapshot(STORE / name) for name in fs.names(STORE))
        assert not fs.exists(STATE)
        await within(orchestrator.add_score(2.0))
        assert list(state_on(fs).score_history) == [1.0, 2.0]
        assert await within(orchestrator.checkpoint()) == 2


async def test_a_failed_checkpoint_is_tried_again_at_the_next_tick():
    fs = GatedFileSystem()
    async with supervised(fs, checkpoint_interval_s=0.01) as running:
        fs.inner.fail("rename", errno.EIO)
        await running.orchestrator.add_score(1.0)
        await running.log.comes("checkpoint.finished")
        assert len(running.log.of("checkpoint.failed")) == 1
        assert finished(running.log) == [("timer", 1)]


async def test_a_rotation_that_fails_fails_the_checkpoint_and_the_journal_goes_on():
    fs = GatedFileSystem()
    async with open_on(fs) as orchestrator:
        await orchestrator.add_score(1.0)
        fs.inner.fail("create", errno.EMFILE)
        with pytest.raises(StorageError):
            await within(orchestrator.checkpoint())
        await within(orchestrator.add_score(2.0))
        assert journal_files(fs) == [1]
        assert await within(orchestrator.checkpoint()) == 2


async def test_a_last_checkpoint_that_fails_is_raised_by_closing_and_the_journal_stays():
    fs = GatedFileSystem()
    orchestrator = await open_on(fs)
    await orchestrator.add_score(1.0)
    fs.inner.fail("rename", errno.ENOSPC)
    with pytest.raises(FinalCheckpointError):
        await within(orchestrator.aclose())
    async with open_on(fs) as again:
        assert list(again.view.score_history) == [1.0]


async def test_what_cannot_be_deleted_now_is_deleted_after_the_next_checkpoint():
    fs = GatedFileSystem()
    async with supervised(fs) as running:
        orchestrator = running.orchestrator
        for _ in range(2):
            await orchestrator.add_score(1.0)
            await within(orchestrator.checkpoint())
        await orchestrator.add_score(1.0)
        fs.inner.fail("unlink", errno.EIO)
        assert await within(orchestrator.checkpoint()) == 3
        assert [event["seq"] for event in running.log.of("checkpoint.unretired")] == [3]
        await within(orchestrator.add_score(1.0))
        assert await within(orchestrator.checkpoint()) == 4
        assert kept_seqs(fs) == [3, 4]
        assert journal_files(fs) == [4, 5]
    assert state_on(fs).seq == 4


async def test_a_failed_sync_of_the_journal_in_a_checkpoint_is_a_fail_stop():
    fs = GatedFileSystem()
    async with supervised(fs, fsync="everysec") as running:
        orchestrator = running.orchestrator
        await orchestrator.add_score(1.0)
        fs.inner.fail("sync_file", errno.EIO)
        with pytest.raises(JournalFailedError):
            await within(orchestrator.checkpoint())
        await within(running.task)
        assert running.supervisor.phase == "failed"
        assert not fs.exists(STATE)


async def test_a_checkpoint_is_refused_when_closed():
    orchestrator = await open_on(GatedFileSystem())
    await orchestrator.aclose()
    with pytest.raises(ClosedError):
        await within(orchestrator.checkpoint())


async def test_a_request_during_the_last_checkpoint_is_answered():
    fs = GatedFileSystem()
    orchestrator = await open_on(fs)
    await orchestrator.add_score(1.0)
    gate = fs.hold("write", in_snapshot)
    closing = await pending(orchestrator.aclose())
    await until(gate.reached)
    asking = await pending(orchestrator.checkpoint())
    gate.open()
    await within(closing)
    try:
        assert await within(asking) == 1
    except ClosedError:
        assert state_on(fs).seq == 1


async def test_who_stops_waiting_for_a_checkpoint_does_not_stop_it():
    fs = GatedFileSystem()
    async with supervised(fs) as running:
        await running.orchestrator.add_score(1.0)
        gate = fs.hold("write", in_snapshot)
        asking = await pending(running.orchestrator.checkpoint())
        await until(gate.reached)
        asking.cancel()
        await asyncio.wait({asking})
        gate.open()
        assert await within(running.orchestrator.checkpoint()) == 1
        assert finished(running.log) == [("request", 1)]


async def test_a_large_snapshot_is_written_only_where_it_pays_for_itself(monkeypatch):
    monkeypatch.setattr("penin.runtime.checkpointer.SMALL_BYTES", 10_000)
    fs = GatedFileSystem()
    async with supervised(fs, checkpoint_transitions_max=1) as running:
        orchestrator = running.orchestrator
        await orchestrator.put_document("large", "x" * 50_000)
        await running.log.comes("checkpoint.finished", 1)
        while len(finished(running.log)) < 2:
            await orchestrator.put_document("small", "y" * 1000)
        first, second = (seq for _, seq in finished(running.log))
        assert first == 1
        assert 30 <= second <= 45  # lines of about 1,300 bytes
        await orchestrator.add_score(1.0)
        asked = await within(orchestrator.checkpoint())  # who asks for one gets it
        await orchestrator.add_score(1.0)
    assert [reason for reason, _ in finished(running.log)][-1] == "request"
    assert running.log.of("checkpoint.skipped")[-1]["reason"] == "shutdown"
    assert state_on(fs).seq == asked + 1
