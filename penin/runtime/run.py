"""`penin.run`: workers in a process of their own, with signals."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import anyio

from penin.logs import EventLog, embedded_logger
from penin.runtime.collector import collector_of_a_service
from penin.runtime.open import check_platform
from penin.runtime.store import resolved, store_at
from penin.runtime.supervisor import Source, Supervisor
from penin.runtime.workers import WorkerFunction, make_workers
from penin.settings import Settings


def run(
    *workers: WorkerFunction,
    dir: str | os.PathLike[str] = ".penin_omega",  # the word of the command line
    settings: Settings | None = None,
    arguments: Mapping[str, Any] | None = None,
    sources: Sequence[Source] = (),
    log: EventLog | None = None,
) -> None:
    """Open the store, run the workers, and return when all is saved and the lock given up.

    Each worker is an `async def worker(orchestrator)`, and gets those of `arguments` that it has
    parameters for. It ends when SIGINT or SIGTERM comes, or when all workers and `sources` have
    returned, if there are any. For the main thread of a process, whose garbage collector it sets
    for the time of the call (`penin.runtime.collector`).

    Raises UsageError (before anything is opened), WorkerGaveUpError, FinalCheckpointError, and
    whatever opening or the journal raises. `log` is the log to write to; without one it is as in
    `penin.open`.
    """
    made = make_workers(workers, arguments or {})
    chosen = settings or Settings()
    directory = resolved(dir)

    async def main() -> None:
        check_platform(directory)
        events = log if log is not None else embedded_logger()
        supervisor = Supervisor(
            store_at(directory, chosen),
            chosen,
            events,
            workers=made,
            sources=sources,
            with_signals=True,
        )
        await supervisor.run()
        if supervisor.failure is not None:
            raise supervisor.failure

    with collector_of_a_service():
        anyio.run(main)
