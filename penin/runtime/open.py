"""`penin.open` and `penin.load`: a store inside somebody else's program."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from anyio import CancelScope, to_thread

from penin.core.migration import Migration, Schema, schema_of
from penin.core.orchestrator import OmegaMetaOrchestrator
from penin.errors import ClosedError, UnsupportedPlatformError, WrongContextError
from penin.logs import embedded_logger
from penin.runtime.key_source import files_with
from penin.runtime.orchestrator import EmbeddedOrchestrator
from penin.runtime.past import read_state
from penin.runtime.store import MEMORY, resolved, store_at
from penin.runtime.supervisor import Supervisor
from penin.runtime.ways_in import Server
from penin.settings import Settings
from penin.storage.filesystem import FileSystem


class Opening:
    """An orchestrator about to be opened: `async with` it, or `await` it and `aclose()` later."""

    def __init__(
        self,
        directory: str | os.PathLike[str],
        settings: Settings,
        logger: Any,
        fs: FileSystem | None = None,
        schema: Schema | None = None,
        *,
        servers: Sequence[Server] = (),
    ) -> None:
        self._directory = directory
        self._settings = settings
        self._logger = logger
        self._fs = fs
        self._schema = schema
        self._servers = servers
        self._orchestrator: EmbeddedOrchestrator | None = None

    async def __aenter__(self) -> EmbeddedOrchestrator:
        self._orchestrator = await self._open()
        return self._orchestrator

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._orchestrator is not None
        try:
            # A cancelled host still gets its state saved; Task.cancel() passes through all the
            # same, and then the supervisor, which has a task of its own, goes on without it.
            with CancelScope(shield=True):
                await self._orchestrator.aclose()
        except Exception as failure:
            if error is None or error is failure:
                raise
            error.add_note(f"and while closing the store: {failure}")

    def __await__(self) -> Generator[Any, None, EmbeddedOrchestrator]:
        return self._open().__await__()

    async def _open(self) -> EmbeddedOrchestrator:
        check_platform(self._directory)
        directory = self._directory
        if self._fs is None:
            directory = await to_thread.run_sync(resolved, directory)
        store = store_at(directory, self._settings, self._fs)
        log = embedded_logger(self._logger)
        supervisor = Supervisor(
            store,
            self._settings,
            log,
            schema=self._schema,
            servers=self._servers,
            closes_log=True,
        )
        task = asyncio.create_task(supervisor.run(), name=f"penin supervisor of {store.name}")
        try:
            await supervisor.started.wait()
        except asyncio.CancelledError:
            supervisor.stop("cancelled while opening")
            with CancelScope(shield=True):
                await asyncio.wait({task})
            raise
        if supervisor.orchestrator is None:
            await asyncio.wait({task})
            raise supervisor.failure or ClosedError("the opening was cancelled")
        return supervisor.orchestrator


def check_platform(directory: str | os.PathLike[str]) -> None:
    """Raise where `penin.open` cannot work: UnsupportedPlatformError, WrongContextError."""
    if sys.platform == "win32" and os.fspath(directory) != MEMORY:
        raise UnsupportedPlatformError(
            "penin.open needs flock and POSIX renames, which Windows lacks; "
            "OmegaMetaOrchestrator and penin.load work here"
        )
    try:
        asyncio.get_running_loop()
    except RuntimeError as error:
        raise WrongContextError(
            "penin.open runs on asyncio only: under trio, keep it in a thread with penin.open_sync"
        ) from error


def open_store(
    dir: str | os.PathLike[str],  # the word of the command line
    *,
    settings: Settings | None = None,
    logger: Any = None,
    schema_version: int | None = None,
    migrations: Mapping[int, Migration] | None = None,
    servers: Sequence[Server] = (),
) -> Opening:
    """Open the store in a directory (made if it is not there), or in memory (`":memory:"`).

        async with penin.open(".penin_omega") as orchestrator:
            await orchestrator.add_score(0.85)

    or `orchestrator = await penin.open(…)` and later `await orchestrator.aclose()`, in any task
    of the same loop. Entering returns when the state is recovered. Leaving stores what is in the
    mailbox, writes a checkpoint and gives up the lock.

    `schema_version` is the version of your own data that your program works with, and
    `migrations[n]` a function that takes a `penin.Draft` of version n and makes it version n + 1.
    A store of an older version is brought to it before entering returns, as one transition, with
    the state before kept beside; a new one is of that version. None: the version is not looked at.

    `servers` let other processes use the store for as long as it is open: with
    `servers=[penin.SocketServer()]` they can `penin.connect` to it.

    Entering raises LockedError, CorruptionError, FormatError (also for a store of a later schema
    version), MigrationError, StorageFullError or another StorageError; leaving raises what stopped
    the orchestrator, if anything did, unless the body raised itself. The host is never cancelled,
    no signal and no logging configuration touched.
    `logger` is a structlog logger; without one, a host that has configured structlog gets the
    events through it, and another host gets none.
    """
    schema = schema_of(schema_version, migrations)
    return Opening(dir, settings or Settings(), logger, schema=schema, servers=servers)


def load(dir: str | os.PathLike[str], *, key_from: str | None = None) -> OmegaMetaOrchestrator:
    """The state of a store as it is on disk now, also while a worker writes to it.

    Takes no lock and changes nothing; an incomplete last line is ignored. What is done to the
    returned orchestrator stays in memory. `key_from` is that of the settings. Raises
    FileNotFoundError where there is no store, CorruptionError or FormatError. Reads files: not for
    an event loop's thread.
    """
    state = read_state(Path(os.path.realpath(dir)), files_with(key_from))
    return OmegaMetaOrchestrator.from_state(state)
