"""`penin.run`: workers in a process of their own, with signals."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from penin.core.migration import Migration, Schema, schema_of
from penin.logs import EventLog, embedded_logger
from penin.runtime.interpreter import interpreter_of_a_service
from penin.runtime.leftovers import Leftover, Threads, end_tasks
from penin.runtime.metrics import watch_process
from penin.runtime.open import check_platform
from penin.runtime.signals import watch_signals
from penin.runtime.store import resolved, store_at
from penin.runtime.supervisor import Supervisor
from penin.runtime.ways_in import Companion, Server, Source
from penin.runtime.workers import Worker, WorkerFunction, make_workers
from penin.settings import Settings

LOG_CLOSE_S: Final = 1.0
ENDED: Final = frozenset({"stopped", "failed"})


def run(
    *workers: WorkerFunction,
    dir: str | os.PathLike[str] = ".penin_omega",  # the word of the command line
    settings: Settings | None = None,
    arguments: Mapping[str, Any] | None = None,
    sources: Sequence[Source] = (),
    servers: Sequence[Server] = (),
    log: EventLog | None = None,
    schema_version: int | None = None,
    migrations: Mapping[int, Migration] | None = None,
) -> None:
    """Open the store, run the workers, and return when all is saved and the lock given up.

    Each worker is an `async def worker(orchestrator)`, and gets those of `arguments` that it has
    parameters for. It ends when SIGINT, SIGTERM or SIGHUP comes, or when all workers and `sources`
    have returned, if there are any. `servers` serve others meanwhile (`penin.SocketServer`). For
    the main thread of a process, whose interpreter it sets for the time of the call
    (`penin.runtime.interpreter`).

    A worker that goes on after its cancellation, and a call on a thread that does not end, are
    waited for as long as `cancel_grace_s` says and then left behind, as `worker.abandoned` in the
    log: this returns. Python itself waits for such a thread when the process ends, and only
    `os._exit` does not, which the command line uses.

    Raises UsageError (before anything is opened), WorkerGaveUpError, FinalCheckpointError, and
    whatever opening or the journal raises; `schema_version` and `migrations` are those of
    `penin.open`. `log` is the log to write to; without one it is as in
    `penin.open`, and is closed at the end.
    """
    made = make_workers(workers, arguments or {})
    schema = schema_of(schema_version, migrations)
    chosen = settings or Settings()
    directory = resolved(dir)
    events = log if log is not None else embedded_logger()
    try:
        Service(made, directory, chosen, sources, events, servers=servers, schema=schema).run()
    finally:
        if log is None:
            events.close(LOG_CLOSE_S)


class Service:
    """One run of workers on a store, in a loop of its own.

    `has_leftovers` tells, after `run`, whether a thread or a task has not ended.
    """

    def __init__(
        self,
        workers: Sequence[Worker],
        directory: Path | str,
        settings: Settings,
        sources: Sequence[Source],
        log: EventLog,
        *,
        companions: Sequence[Companion] = (),
        servers: Sequence[Server] = (),
        schema: Schema | None = None,
    ) -> None:
        self.has_leftovers = False
        self._workers = workers
        self._directory = directory
        self._settings = settings
        self._sources = sources
        self._servers = servers
        self._log = log
        self._companions = companions
        self._schema = schema
        self._task: asyncio.Task[Any] | None = None
        self._supervisor: Supervisor | None = None
        self._is_interrupted = False

    def run(self) -> None:
        """Run to the end. Raises what ended it; takes bounded time once all is saved."""
        with interpreter_of_a_service():
            runner, threads = asyncio.Runner(), Threads()
            loop = runner.get_loop()
            loop.set_default_executor(threads)
            try:
                runner.run(self._main())
            except KeyboardInterrupt:
                self._is_interrupted = True
                raise
            finally:
                self.has_leftovers = True  # until it is known better, whatever interrupts this
                try:
                    left = self._end(loop, threads)
                    self.has_leftovers = bool(left)
                    for leftover in left:
                        self._log.warning("worker.abandoned", **leftover._asdict())
                finally:
                    # Not the runner's own end, which waits for what is left.
                    loop.close()
                    asyncio.set_event_loop(None)

    async def _main(self) -> None:
        self._task = asyncio.current_task()
        check_platform(self._directory)
        supervisor = self._supervisor = Supervisor(
            store_at(self._directory, self._settings),
            self._settings,
            self._log,
            schema=self._schema,
            workers=self._workers,
            sources=self._sources,
            companions=[watch_signals, watch_process, *self._companions],
            servers=self._servers,
        )
        await supervisor.run()
        if supervisor.failure is not None:
            raise supervisor.failure

    def _end(self, loop: asyncio.AbstractEventLoop, threads: Threads) -> list[Leftover]:
        if self._task is not None and not self._task.done():
            # An interrupt has left the loop in the middle: the supervisor is to give up the lock.
            self._task.cancel()
            loop.run_until_complete(asyncio.wait({self._task}))
        deadline_s = self._deadline_s()
        left = loop.run_until_complete(end_tasks(self._workers, deadline_s))
        return left + threads.end(deadline_s)

    def _deadline_s(self) -> float:
        """Until when what workers have left behind is waited for."""
        supervisor = self._supervisor
        if self._is_interrupted and supervisor is not None and supervisor.phase in ENDED:
            return time.monotonic()  # a signal after all was saved: nobody wants to wait
        cancelled_s = [worker.cancelled_s for worker in self._workers if worker.cancelled_s]
        return max(cancelled_s, default=time.monotonic()) + self._settings.cancel_grace_s
