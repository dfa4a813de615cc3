"""What a service manager (systemd) is told: ready, alive, stopping, and how far it is.

`READY=1` is sent when the state is recovered and the socket can be reached, and `STOPPING=1` when
the way down begins. While recovery and the way down get on, the time that they may take is
extended. `WATCHDOG=1` proves three things: the event loop turns (it is sent from there), the actor
answers, and the disk takes writes. A full disk is no reason to withhold it: starting again would
make no room, and reads would end.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

from anyio import TASK_STATUS_IGNORED, move_on_after
from anyio.abc import TaskStatus

from penin.runtime.health import NO_ROOM, Health
from penin.runtime.notify import NotifySocket

if TYPE_CHECKING:
    from penin.runtime.supervisor import Supervisor

STATUS_INTERVAL_S: Final = 5.0
STATUS_CHARACTERS_MAX: Final = 500
"""systemd ignores datagrams of more than 4,096 bytes."""
RETRY_INTERVAL_S: Final = 0.5
"""How soon what was not taken is sent again."""
EXTENSION_S: Final = 60.0
"""Recovery and the way down have so much longer from each time on that they have got on."""
BEATS_IN_WATCHDOG: Final = 3
"""So many signs of life come in the time that the watchdog waits: one may be late, or get lost."""


class ServiceManager:
    """Tells the service manager at an address about one supervisor, from its start to its end.

    `watchdog_s` is the time after which the service manager takes a silent process for dead; None
    where it does not watch.
    """

    def __init__(self, address: str, watchdog_s: float | None) -> None:
        self._address = address
        self._watchdog_s = watchdog_s
        watched_s = STATUS_INTERVAL_S if watchdog_s is None else watchdog_s / BEATS_IN_WATCHDOG
        self._patience_s = watched_s
        self._interval_s = min(STATUS_INTERVAL_S, watched_s)
        self._is_ready = False
        self._is_unheard = False
        self._cause: str | None = None
        self._progress: tuple[int, ...] = ()
        self._stopping_s: float | None = None

    async def run(
        self, supervisor: Supervisor, *, task_status: TaskStatus[None] = TASK_STATUS_IGNORED
    ) -> None:
        """Tell until cancelled. What cannot be sent is logged once, and tried again."""
        self._supervisor = supervisor
        self._health = Health(supervisor, self._patience_s)
        with contextlib.closing(NotifySocket(self._address)) as self._socket:
            task_status.started()
            try:
                await self._tell_until(supervisor.started)
                await self._tell_until(supervisor.servers.ready)
                await self._tell_until(supervisor.stopping)
                await self._tell_until(asyncio.Event())
            finally:
                # The last word. A failure comes as a cancellation, before anything was told of it.
                ready = ["READY=1"] if self._becomes_ready() else []
                self._send(*ready, "STOPPING=1", self._status())

    async def _tell_until(self, event: asyncio.Event) -> None:
        """Tell how it is at every interval until the event has come."""
        while not event.is_set():
            lines = await self._lines()
            taken = self._send(*lines)
            self._is_ready = self._is_ready or (taken and "READY=1" in lines)
            with move_on_after(self._interval_s if taken else RETRY_INTERVAL_S):
                await event.wait()

    async def _lines(self) -> list[str]:
        lines = [self._status()]
        phase, is_stopping = self._supervisor.phase, self._supervisor.stopping.is_set()
        if self._becomes_ready():
            return [*lines, "READY=1"]
        if is_stopping:
            lines.append("STOPPING=1")
        if (is_stopping or phase in {"starting", "recovering"}) and self._gets_on():
            lines.append(f"EXTEND_TIMEOUT_USEC={round(EXTENSION_S * 1e6)}")
        is_watched = self._watchdog_s is not None and self._is_ready
        if is_watched and phase in {"running", "draining"}:
            await self._look()
            if self._cause is None:
                lines.append("WATCHDOG=1")
        return lines

    def _becomes_ready(self) -> bool:
        """Whether it is ready, or was before it stopped, and that has not been told."""
        supervisor = self._supervisor
        can_be_reached = supervisor.servers.ready.is_set() or supervisor.stopping.is_set()
        return supervisor.orchestrator is not None and can_be_reached and not self._is_ready

    def _status(self) -> str:
        supervisor = self._supervisor
        actor = supervisor.actor
        status: str = supervisor.phase
        if supervisor.failure is not None:
            status = f"{status}: {supervisor.failure}"
        elif actor is not None:
            status += f": seq {actor.state.seq:,}, durable up to {actor.durable_seq:,}"
            status += ", no room on the disk" * actor.is_full
        if self._cause is not None:
            status += f"; {self._cause}"
        return f"STATUS={' '.join(status.split())[:STATUS_CHARACTERS_MAX]}"

    def _gets_on(self) -> bool:
        """Whether something has been done since it was asked last, or workers have their time."""
        loop, settings = asyncio.get_running_loop(), self._supervisor.settings
        before, self._progress = self._progress, self._supervisor.progress
        if not self._supervisor.stopping.is_set():
            return self._progress != before
        if self._stopping_s is None:
            self._stopping_s = loop.time()
        grace_s = settings.stop_grace_s + settings.cancel_grace_s
        return self._progress != before or loop.time() - self._stopping_s <= grace_s

    async def _look(self) -> None:
        """Find out whether the actor answers and the disk takes writes."""
        cause = await self._health.of_all()
        if cause == NO_ROOM:
            cause = None
        if cause is not None and self._cause is None:
            self._supervisor.log.error("watchdog.withheld", cause=cause)
        self._cause = cause

    def _send(self, *lines: str) -> bool:
        """Send; whether it was taken. That nobody is there is logged the first time."""
        try:
            return self._socket.send(*lines)
        except OSError as error:
            if not self._is_unheard:
                self._supervisor.log.warning(
                    "service_manager.unheard",
                    path=self._address,
                    cause=error.strerror or str(error),
                )
            self._is_unheard = True
            return False
