"""What there is to measure of a worker: counted where it happens, looked at when somebody asks.

Nothing here is done for a message: the actor counts by the batch, a sync is timed on the journal's
thread, and everything else is asked of whoever knows it.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
from anyio import TASK_STATUS_IGNORED, to_thread
from anyio.abc import TaskStatus

from penin.storage.timings import Timings, TimingsView

if TYPE_CHECKING:
    from penin.runtime.actor import Actor
    from penin.runtime.checkpointer import Checkpointer
    from penin.runtime.supervisor import Supervisor

LOOK_INTERVAL_S: Final = 0.25
"""How often the delay of the event loop is measured."""
MEMORY_EVERY: Final = 8
"""The memory is looked at once in so many times."""
FULL: Final = "full"
_STATM: Final = Path("/proc/self/statm")


class MetricsView(msgspec.Struct, frozen=True):
    """The metrics of a worker at one moment. Counts begin when the process opens the store.

    `refused` has how many messages were refused by each source, and for want of room (`full`).
    `checkpoint_age_s` counts from the last checkpoint of this process, or from the opening.
    """

    uptime_s: float
    messages: int
    transitions: int
    batches: int
    refused: dict[str, int]
    mailbox_messages: int
    mailbox_bytes: int
    applied_seq: int
    durable_seq: int
    is_full: bool
    fsync: TimingsView
    checkpoints: TimingsView
    checkpoint_failures: int
    checkpoint_age_s: float
    checkpoint_seq: int
    checkpoint_bytes: int
    loop_delay: TimingsView
    memory_bytes: int | None
    log_events_dropped: int


class Metrics:
    """The metrics of one supervisor; `refusals` tells for each source how many it has refused.

    `memory_bytes` and `loop_delay` are those of `watch_process`, where that runs.
    """

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self.refusals: dict[str, Callable[[], int]] = {}
        self.loop_delay = Timings()
        self.memory_bytes: int | None = None

    def begin(self, actor: Actor, checkpointer: Checkpointer) -> None:
        """The state is recovered: from here on is counted."""
        self._actor, self._checkpointer = actor, checkpointer
        self._begun_s = time.monotonic()
        self._first_seq = actor.state.seq

    def view(self) -> MetricsView:
        """How it is now; from any thread, after `begin`."""
        supervisor, actor, checkpointer = self._supervisor, self._actor, self._checkpointer
        now_s = time.monotonic()
        refused = {source: count() for source, count in list(self.refusals.items())}
        return MetricsView(
            uptime_s=now_s - self._begun_s,
            messages=actor.messages,
            transitions=actor.state.seq - self._first_seq,
            batches=actor.batches,
            refused={**refused, FULL: actor.refused},
            mailbox_messages=len(supervisor.mailbox),
            mailbox_bytes=supervisor.mailbox.size_bytes,
            applied_seq=actor.state.seq,
            durable_seq=actor.durable_seq,
            is_full=actor.is_full,
            fsync=supervisor.store.journal.syncs.view(),
            checkpoints=checkpointer.durations.view(),
            checkpoint_failures=checkpointer.failures,
            checkpoint_age_s=now_s - (checkpointer.finished_s or self._begun_s),
            checkpoint_seq=checkpointer.snapshot_seq,
            checkpoint_bytes=checkpointer.snapshot_bytes,
            loop_delay=self.loop_delay.view(),
            memory_bytes=self.memory_bytes,
            log_events_dropped=supervisor.log.dropped,
        )


async def watch_process(
    supervisor: Supervisor, *, task_status: TaskStatus[None] = TASK_STATUS_IGNORED
) -> None:
    """Measure until cancelled how late the event loop is, and how much memory the process has."""
    metrics, loop = supervisor.metrics, asyncio.get_running_loop()
    task_status.started()
    while True:
        metrics.memory_bytes = await to_thread.run_sync(memory_bytes)
        for _ in range(MEMORY_EVERY):
            due_s = loop.time() + LOOK_INTERVAL_S
            await asyncio.sleep(LOOK_INTERVAL_S)
            metrics.loop_delay.observe(max(0.0, loop.time() - due_s))


def memory_bytes() -> int | None:
    """How much memory the process has; where only the most is told that it had, that."""
    try:
        pages = int(_STATM.read_text(encoding="ascii").split()[1])
    except OSError:
        return _memory_bytes_max()
    import resource  # noqa: PLC0415  # not on Windows

    return pages * resource.getpagesize()


def _memory_bytes_max() -> int | None:
    try:
        import resource  # noqa: PLC0415  # not on Windows
    except ImportError:
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
