"""The metrics of a worker: each count is that of what happened."""

from __future__ import annotations

import asyncio

import pytest

from penin.errors import StorageFullError
from penin.runtime.metrics import FULL, memory_bytes, watch_process
from penin.storage.timings import Timings
from tests.fakes.crashable_filesystem import CrashableFileSystem
from tests.runtime.stores import supervised, within


async def test_messages_transitions_and_commits_are_counted_from_the_opening_on():
    fs = CrashableFileSystem()
    async with supervised(fs) as running:
        await running.orchestrator.add_score(1.0)
    async with supervised(fs) as running:
        metrics = running.supervisor.metrics
        assert (metrics.view().transitions, metrics.view().applied_seq) == (0, 1)
        await asyncio.gather(*(running.orchestrator.add_score(float(n)) for n in range(5)))
        async with running.orchestrator.transaction() as t:
            t.add_score(1.0)
            t.add_score(2.0)
        view = metrics.view()
        assert (view.messages, view.transitions, view.applied_seq) == (6, 7, 8)
        assert 2 <= view.batches <= 6
        assert view.fsync.count >= view.batches
        assert view.durable_seq == 8
        assert (view.mailbox_messages, view.mailbox_bytes) == (0, 0)


async def test_what_waits_in_the_mailbox_is_told():
    async with supervised() as running:
        metrics = running.supervisor.metrics
        answers = [running.orchestrator.send_nowait({"type": "add_score", "score": 1.0})]
        view = metrics.view()
        assert view.mailbox_messages == 1
        assert view.mailbox_bytes == len(b'{"type":"add_score","score":1.0}')
        await asyncio.gather(*answers)
        assert metrics.view().mailbox_messages == 0


async def test_checkpoints_and_their_failures_are_told():
    fs = CrashableFileSystem()
    async with supervised(fs) as running:
        metrics, orchestrator = running.supervisor.metrics, running.orchestrator
        assert metrics.view().checkpoints.count == 0
        before_s = metrics.view().checkpoint_age_s
        await orchestrator.add_score(1.0)
        await within(orchestrator.checkpoint())
        view = metrics.view()
        assert (view.checkpoints.count, view.checkpoint_seq) == (1, 1)
        assert view.checkpoint_bytes == len(fs.content(running.supervisor.store.snapshots.path))
        assert view.checkpoint_age_s < view.uptime_s
        assert before_s >= 0
        await orchestrator.add_score(1.0)
        fs.fail("rename", 28, at=1)
        with pytest.raises(StorageFullError):
            await within(orchestrator.checkpoint())
        assert metrics.view().checkpoint_failures == 1
        assert metrics.view().checkpoints.count == 1


async def test_messages_without_room_are_counted_and_the_state_of_the_disk_is_told():
    fs = CrashableFileSystem()
    async with supervised(fs) as running:
        metrics, orchestrator = running.supervisor.metrics, running.orchestrator
        fs.fail("write", 28, at=1)
        with pytest.raises(StorageFullError):
            await orchestrator.add_score(1.0)
        assert metrics.view().is_full
        assert metrics.view().refused == {FULL: 1}
        await orchestrator.add_score(1.0)
        assert not metrics.view().is_full
        assert metrics.view().messages == 1


async def test_with_everysec_a_sync_is_counted_when_it_is_made():
    async with supervised(fsync="everysec") as running:
        await running.orchestrator.add_score(1.0)
        view = running.supervisor.metrics.view()
        assert view.durable_seq <= view.applied_seq
        await within(running.orchestrator.checkpoint())
        assert running.supervisor.metrics.view().fsync.count >= 1


async def test_the_delay_of_the_loop_and_the_memory_are_measured(monkeypatch):
    monkeypatch.setattr("penin.runtime.metrics.LOOK_INTERVAL_S", 0.001)
    async with supervised() as running:
        metrics, measured = running.supervisor.metrics, asyncio.Event()

        class Noted(Timings):
            def observe(self, seconds):
                super().observe(seconds)
                if self.view().count == 20:
                    measured.set()

        class Started:
            def started(self):
                pass

        metrics.loop_delay = Noted()
        task = asyncio.create_task(watch_process(running.supervisor, task_status=Started()))
        await within(measured.wait())
        task.cancel()
        view = metrics.view()
        assert view.memory_bytes is not None
        assert view.memory_bytes > 2**20
        assert view.loop_delay.count == 20


def test_the_memory_is_that_of_the_process():
    before = memory_bytes()
    assert before is not None
    ballast = bytearray(b"x") * 2**26
    after = memory_bytes()
    assert after is not None
    assert after - before > len(ballast) // 2
