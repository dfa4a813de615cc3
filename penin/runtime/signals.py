"""Signals: SIGINT, SIGTERM and SIGHUP stop, a second one exits at once, SIGUSR1 checkpoints.

Where the log goes to a file, SIGHUP opens that anew instead, as logrotate expects.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Protocol

from anyio import TASK_STATUS_IGNORED, open_signal_receiver
from anyio.abc import TaskStatus

from penin.logs import EventLog

if TYPE_CHECKING:
    from penin.logs import EventLog

SECOND_SIGNAL_AFTER_S: Final = 1.0
"""A second signal counts from then on: a terminal and a supervisor often send the first twice."""
_CHECKPOINT: Final = getattr(signal, "SIGUSR1", None)
_HANG_UP: Final = getattr(signal, "SIGHUP", None)


class Stoppable(Protocol):
    """What signals are for: the supervisor, or what stands in its place in a command."""

    log: EventLog

    @property
    def phase(self) -> str:
        """How far it is, for the log."""

    def stop(self, reason: str) -> None:
        """Begin the way down."""

    def request_checkpoint(self, reason: str) -> asyncio.Future[int] | None:
        """Ask for a checkpoint; None where there is nothing to write."""


async def watch_signals(
    supervisor: Stoppable,
    exit_now: Callable[[int], object] = os._exit,
    *,
    task_status: TaskStatus[None] = TASK_STATUS_IGNORED,
) -> None:
    """Serve signals until cancelled; ready when `task_status` says so. Main thread only.

    The second of SIGINT, SIGTERM and SIGHUP, at least one second after the first, calls `exit_now`
    with 128 + its number: no snapshot is written, and the journal has everything. A SIGHUP that
    the process was started to ignore (`nohup`) stays ignored. Where `log` has a file to reopen,
    SIGHUP does that, and neither stops nor counts as a second one.
    """
    loop, log = asyncio.get_running_loop(), supervisor.log
    first_s: float | None = None
    with _handlers_kept(watched := _watched(log)), open_signal_receiver(*watched) as received:
        task_status.started()
        async for number in received:
            name = signal.Signals(number).name
            phase = supervisor.phase
            if number == _CHECKPOINT:
                taken = supervisor.request_checkpoint("signal")
                action = "checkpoint" if taken else "none"
                log.info("signal.received", signal=name, phase=phase, action=action)
            elif number == _HANG_UP and log.reopen is not None:
                await _reopen(log, log.reopen, phase)
            elif first_s is None:
                first_s = loop.time()
                log.info("signal.received", signal=name, phase=phase, action="stop")
                supervisor.stop(name)
            elif loop.time() - first_s >= SECOND_SIGNAL_AFTER_S:
                log.info("signal.received", signal=name, phase=phase, action="exit")
                await asyncio.to_thread(log.close, 0.2)
                exit_now(128 + number)
            else:
                log.info("signal.received", signal=name, phase=phase, action="none")


@contextmanager
def _handlers_kept(numbers: list[signal.Signals]) -> Iterator[None]:
    """What was there before comes back at the end: asyncio would leave the default action.

    Not for SIGINT, where asyncio leaves the exception; the handler of its runner, which is there
    before, would only cancel a task that may have ended.
    """
    others = [number for number in numbers if number != signal.SIGINT]
    before = {number: signal.getsignal(number) for number in others}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


async def _reopen(log: EventLog, reopen: Callable[[], None], phase: str) -> None:
    try:
        await asyncio.to_thread(reopen)
    except OSError as error:
        log.warning("log.unopened", path=str(error.filename), cause=error.strerror or str(error))
        return
    # After it, so that this line is in the new file and tells why it was begun.
    log.info("signal.received", signal="SIGHUP", phase=phase, action="reopen")


def _watched(log: EventLog) -> list[signal.Signals]:
    watched = [signal.SIGINT, signal.SIGTERM]
    if _CHECKPOINT is not None:
        watched.append(_CHECKPOINT)
    if _HANG_UP is not None:
        is_ignored = signal.getsignal(_HANG_UP) == signal.SIG_IGN
        if log.reopen is not None or not is_ignored:
            watched.append(_HANG_UP)
    return watched
