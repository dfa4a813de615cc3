"""The way to a store for one command: through the worker that serves it, or opened here."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

import anyio
from anyio import CancelScope, create_task_group, to_thread

from penin.cli.locks import lock_state
from penin.errors import (
    BusyError,
    ClosedError,
    ForbiddenError,
    LockedError,
    NotRunningError,
    UnsupportedPlatformError,
)
from penin.ingress.socket.remote import RemoteOrchestrator, connect
from penin.logs import EventLog
from penin.runtime.open import check_platform
from penin.runtime.protocol import AsyncOrchestrator
from penin.runtime.signals import watch_signals
from penin.runtime.store import store_at
from penin.runtime.supervisor import Supervisor
from penin.settings import Settings

if TYPE_CHECKING:
    from penin.logs.owned import Logs

T = TypeVar("T")

LOOK_S: Final = 0.05
"""How often it is looked for a worker that is about to serve."""
STOPPED: Final = "stopped"


_NO_ANSWER: Final = (ClosedError, BusyError, ForbiddenError, UnsupportedPlatformError)


class Ended(NamedTuple):
    """What stopped it, if anything but its end did."""

    failure: BaseException | None = None
    signal: signal.Signals | None = None


class StoreAccess:
    """Lets one call use a store: through the worker that serves it, or opened here where none does.

    A worker that stops meanwhile is followed by the next one, or by opening the store (`reopen`).
    """

    def __init__(self, directory: Path, settings: Settings, logs: Logs) -> None:
        self.log: EventLog = logs
        self._directory = directory
        self._settings = settings
        self._reason = ""
        self._scope: CancelScope | None = None
        self._remote: RemoteOrchestrator | None = None
        self._supervisor: Supervisor | None = None
        self._task: asyncio.Task[None] | None = None

    async def run(self, call: Callable[[AsyncOrchestrator], Awaitable[object]]) -> Ended:
        """Call it with the orchestrator; how it ended is returned, not raised.

        SIGINT, SIGTERM and SIGHUP cancel the call, and what is on its way is answered.
        """
        failure: BaseException | None = None
        self.log.bind(dir=str(self._directory))
        async with create_task_group() as group:
            await group.start(watch_signals, self)
            try:
                with CancelScope() as self._scope:
                    await call(await self._open())
            except Exception as error:  # noqa: BLE001  # it is returned
                failure = error
            with CancelScope(shield=True):
                failure = await self._close() or failure
            group.cancel_scope.cancel()
        return Ended(failure, signal.Signals.__members__.get(self._reason))

    async def reopen(self) -> AsyncOrchestrator:
        """The way to the store after its worker has stopped.

        Raises ClosedError where the store is open here, and what opening it raises.
        """
        if self._supervisor is not None:
            raise ClosedError("the store is closed")
        if self._remote is not None:
            await self._remote.aclose()
            self._remote = None
        return await self._open()

    # -- what signals ask of it ---------------------------------------------------------------

    @property
    def phase(self) -> str:
        """The supervisor's phase, or what is known of the worker's."""
        if self._supervisor is not None:
            return self._supervisor.phase
        return "starting" if self._remote is None else self._remote.phase

    def stop(self, reason: str) -> None:
        """End the call."""
        self._reason = self._reason or reason
        if self._scope is not None:
            self._scope.cancel()

    def request_checkpoint(self, reason: str) -> asyncio.Future[int] | None:
        """A checkpoint, where the store is open here."""
        return None if self._supervisor is None else self._supervisor.request_checkpoint(reason)

    # -- opening and closing ------------------------------------------------------------------

    async def _open(self) -> AsyncOrchestrator:
        check_platform(self._directory)
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + self._settings.lock_wait_s
        while True:
            try:
                return await self._connected()
            except (NotRunningError, UnsupportedPlatformError):
                held = (await to_thread.run_sync(lock_state, self._directory)).held
            if not held or loop.time() >= deadline_s:
                break
            await asyncio.sleep(LOOK_S)  # who holds it may be about to serve it, or to end
        try:
            return await self._open_here()
        except LockedError as error:
            self._supervisor = None
            try:
                return await self._connected()
            except NotRunningError:
                raise error from None

    async def _connected(self) -> AsyncOrchestrator:
        self._remote = await connect(self._directory, wait_s=0.0)
        self.log.bind(store=self._remote.store)
        return self._remote

    async def _open_here(self) -> AsyncOrchestrator:
        store = store_at(self._directory, self._settings)
        self._supervisor = supervisor = Supervisor(store, self._settings, self.log)
        self._task = asyncio.create_task(supervisor.run())
        await supervisor.started.wait()
        if supervisor.orchestrator is None:
            await asyncio.wait({self._task})
            raise supervisor.failure or ClosedError("the opening was interrupted")
        return supervisor.orchestrator

    async def _close(self) -> BaseException | None:
        """End what was opened; what failed with it."""
        if self._remote is not None:
            await self._remote.aclose()
        if self._supervisor is None or self._task is None:
            return None
        self._supervisor.stop(self._reason or STOPPED)
        await asyncio.wait({self._task})
        return self._supervisor.failure


def ask_worker(directory: Path, ask: Callable[[RemoteOrchestrator], Awaitable[T]]) -> T | None:
    """What the worker of a store answers; None where its files have to be read instead.

    So it is where none serves it, or it has gone meanwhile, does not answer, or lets this process
    not in. Raises what the worker answers otherwise.
    """

    async def asked() -> T | None:
        try:
            async with connect(directory, wait_s=0.0) as orchestrator:
                return await ask(orchestrator)
        except _NO_ANSWER:
            return None

    return anyio.run(asked)
