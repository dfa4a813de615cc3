"""The event loop is never blocked, whatever the disk and the log are doing.

The detector in `conftest.py` sees blocking calls; what it cannot see is shown here: that the loop
goes on while a thread is held up at a gate, and that nothing hands the loop a long piece of work.
"""

from __future__ import annotations

import asyncio
import contextlib
import os

import numpy as np
import pytest
import structlog
from blockbuster import BlockingError

import penin
from penin.core import door
from penin.core.snapshots import Envelope, encode_snapshot
from penin.core.state import State
from penin.core.transitions import Ack
from penin.logs.owned import configure
from penin.runtime.store import store_at
from penin.runtime.supervisor import Supervisor
from penin.settings import Settings
from tests.fakes.crashable_filesystem import CrashableFileSystem
from tests.logs.fakes import HostLogger, stalled_pipe
from tests.runtime.stores import (
    PATIENCE_S,
    STORE,
    GatedFileSystem,
    in_journal,
    in_snapshot,
    open_on,
    pending,
    state_on,
    supervised,
    until,
    within,
)

ROWS = 20_000
DIMENSION = 64
CHUNK_BYTES_MAX = 4 * 2**20


async def fill(orchestrator):
    rng = np.random.default_rng(1)
    matrix = rng.random((ROWS, DIMENSION), dtype=np.float32)
    await orchestrator.extend_knowledge([f"k{number}" for number in range(ROWS)], matrix)


async def test_the_detector_is_on(tmp_path):
    with pytest.raises(BlockingError):
        penin.load(tmp_path)


async def test_messages_are_acknowledged_while_a_large_snapshot_is_written():
    fs = GatedFileSystem()
    async with open_on(fs) as orchestrator:
        await fill(orchestrator)
        at_seq = orchestrator.applied_seq
        gates = [fs.hold("open_write", in_snapshot), fs.hold("sync_file", in_snapshot)]
        checkpoint = await pending(orchestrator.checkpoint())
        for gate in gates:
            await until(gate.reached)
            for number in range(50):
                await within(orchestrator.add_score(float(number)))
            gate.open()
        assert await within(checkpoint) == at_seq
        assert orchestrator.applied_seq == at_seq + 100
        assert state_on(fs).seq == at_seq + 100


async def test_the_loop_turns_while_a_large_snapshot_is_encoded():
    fs = GatedFileSystem()
    async with open_on(fs) as orchestrator:
        await fill(orchestrator)
        turns = 0
        checkpoint = await pending(orchestrator.checkpoint())
        while not checkpoint.done():
            turns += 1
            await asyncio.sleep(0)
        assert checkpoint.result() == orchestrator.applied_seq
        assert turns > 100


async def test_a_snapshot_is_encoded_piece_by_piece():
    async with open_on(CrashableFileSystem()) as orchestrator:
        await fill(orchestrator)
        view = orchestrator._actor.state.view()
    sizes = [len(chunk) for chunk in encode_snapshot(view, Envelope())]
    assert sum(sizes) > ROWS * DIMENSION
    assert len(sizes) > 5
    assert max(sizes) < CHUNK_BYTES_MAX


def test_a_view_does_not_show_what_changes_after_it():
    state = State()
    messages = [*door.extend_knowledge(["a", "b"], np.eye(2)), door.put_document("d", [1])]
    messages += [door.add_score(1.0), door.append_history("h", 1)]
    for message in messages:
        state.apply(message.body, state.seq + 1)
    view = state.view()
    before = b"".join(encode_snapshot(view, Envelope()))
    later = [door.remove_knowledge("a"), door.put_document("d", [2]), door.add_score(2.0)]
    later += [*door.extend_knowledge(["b", "c"], np.ones((2, 2))), door.set_history_maxlen(1)]
    for message in later:
        state.apply(message.body, state.seq + 1)
    assert b"".join(encode_snapshot(view, Envelope())) == before


async def test_reads_go_on_while_an_append_is_in_flight():
    fs = GatedFileSystem()
    async with open_on(fs) as orchestrator:
        await orchestrator.put_document("d", 1)
        gate = fs.hold("sync_file")
        sending = await pending(orchestrator.put_document("d", 2))
        await until(gate.reached)
        for _ in range(100):
            assert await within(orchestrator.get_document("d")) == 1
        gate.open()
        await within(sending)


async def test_the_loop_turns_while_the_disk_takes_its_time_with_anything():
    """Opening, appending, a checkpoint, closing: at each the loop is free while the disk is not."""
    fs = GatedFileSystem()
    for operation, matches in (
        ("open_write", lambda path: path.name == "lock"),
        ("open_write", in_journal),
        ("sync_file", in_journal),
        ("write", in_snapshot),
        ("sync_file", in_snapshot),
    ):
        gate = fs.hold(operation, matches)

        async def life():
            async with open_on(fs) as orchestrator:
                await orchestrator.add_score(1.0)
                await orchestrator.checkpoint()
                await orchestrator.add_score(1.0)

        task = await pending(life())
        await until(gate.reached)
        for _ in range(100):
            await asyncio.sleep(0)
        assert not task.done()
        gate.open()
        await within(task)


async def test_a_stalled_logger_of_the_host_does_not_stop_acknowledgements():
    logger = HostLogger()
    logger.gate.clear()
    fs = GatedFileSystem()
    try:
        async with open_on(fs, logger=logger) as orchestrator:
            for seq in range(1, 200):
                assert await within(orchestrator.add_score(1.0)) == Ack(seq)
            assert await within(orchestrator.checkpoint()) == 199
            assert logger.calls == []
            logger.gate.set()
    finally:
        logger.gate.set()


@pytest.fixture
def stalled_log():
    """The log of the command line, on a pipe that nobody reads."""
    reading, writing = stalled_pipe()
    stream = os.fdopen(writing, "w")
    logs = configure(format="json", stream=stream, linger_s=0.0)
    yield logs
    os.close(reading)  # the thread that waits for room gets a broken pipe
    logs.close(PATIENCE_S)
    structlog.reset_defaults()
    with contextlib.suppress(OSError):
        stream.close()


@pytest.mark.parametrize("fsync", ["always", "everysec"])
async def test_a_stalled_stderr_does_not_stop_acknowledgements(stalled_log, fsync):
    fs, settings = GatedFileSystem(), Settings(fsync=fsync)
    supervisor = Supervisor(store_at(STORE, settings, fs), settings, stalled_log)
    task = asyncio.create_task(supervisor.run())
    await within(supervisor.started.wait())
    orchestrator = supervisor.orchestrator
    assert orchestrator is not None
    for seq in range(1, 200):
        assert await within(orchestrator.add_score(1.0)) == Ack(seq)
    assert await within(orchestrator.checkpoint()) == 199
    supervisor.stop("enough")
    await within(task)
    assert supervisor.phase == "stopped"
    assert stalled_log.dropped == 0, "what nobody reads yet waits in the buffer"


async def test_a_full_mailbox_costs_the_loop_nothing():
    async with supervised(GatedFileSystem(), mailbox_messages_max=5) as running:
        sends = [running.orchestrator.add_score(1.0) for _ in range(2000)]
        acks = await within(asyncio.gather(*sends))
        assert [ack.seq for ack in acks] == list(range(1, 2001))
