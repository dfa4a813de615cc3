"""PENIN itself, embedded, as its documentation shows it: with no log, and with JSON lines."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import IO, Any

import structlog

import penin
from penin import EmbeddedOrchestrator, NumericVectorArtifact, Settings
from penin.logs.owned import Logs, configure
from penin.runtime.store import store_at
from penin.runtime.supervisor import Supervisor
from tests.benchmarks.workload import Tasks, Vectors

LOG_CLOSE_S = 60.0
"""How long the log may take to drain after a run; far more than it needs."""


class _LogFile:
    """PENIN's own pipeline, as JSON lines into a file; configured for the process while open."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[bytes] = path.open("wb")
        self.logs: Logs = configure(format="json", stream=self._file)

    def close(self, transitions: int) -> None:
        """Drains. Raises AssertionError if an event is missing: each transition has its line."""
        drained = self.logs.close(LOG_CLOSE_S)
        self._file.close()
        structlog.reset_defaults()
        with self._path.open("rb") as file:
            lines = sum(b'"state.transition"' in line for line in file)
        if not drained or self.logs.dropped or lines != transitions:
            raise AssertionError(f"the log has {lines} lines for {transitions} transitions")


class _Penin:
    """A store with the default settings, opened as `penin.open` does it."""

    orchestrator: EmbeddedOrchestrator

    async def open(self, directory: Path) -> None:
        self._directory = directory / "store"
        self.orchestrator = await penin.open(self._directory)

    async def close(self) -> None:
        await self.orchestrator.aclose()


class _LoggedPenin(_Penin):
    """The same with every transition logged, as `penin run` does it.

    `penin run` gives the supervisor its pipeline; `penin.open` takes a host's logger instead, which
    would be measured as well. So the supervisor is started here.
    """

    async def open(self, directory: Path) -> None:
        self._directory = directory / "store"
        self._log_file = await asyncio.to_thread(_LogFile, directory / "log.jsonl")
        settings = Settings()
        supervisor = Supervisor(store_at(self._directory, settings), settings, self._log_file.logs)
        self._task = asyncio.create_task(supervisor.run())
        await supervisor.started.wait()
        if supervisor.orchestrator is None:
            raise AssertionError(f"the store was not opened: {supervisor.failure}")
        self.orchestrator = supervisor.orchestrator

    async def close(self) -> None:
        await super().close()
        await self._task
        await asyncio.to_thread(self._log_file.close, self.orchestrator.applied_seq)


class PeninTasks(_Penin):
    """`add_task` for every message."""

    def __init__(self, tasks: Tasks) -> None:
        self._tasks = tasks

    def submit(self, number: int) -> Coroutine[Any, Any, object]:
        return self.orchestrator.add_task(self._tasks.task(number))

    def held(self) -> int:
        return penin.load(self._directory).seq


class PeninVectors(_Penin):
    """`add_knowledge` for every message, with an artifact made of the array and its metadata."""

    def __init__(self, vectors: Vectors) -> None:
        self._vectors = vectors

    def submit(self, number: int) -> Coroutine[Any, Any, object]:
        key, vector, metadata = self._vectors.entry(number)
        return self.orchestrator.add_knowledge(key, NumericVectorArtifact(vector, metadata))

    def held(self) -> int:
        return len(penin.load(self._directory).knowledge_base)


class LoggedPeninTasks(_LoggedPenin, PeninTasks):
    """`add_task` for every message, and a line in the log."""


class LoggedPeninVectors(_LoggedPenin, PeninVectors):
    """`add_knowledge` for every message, and a line in the log."""
