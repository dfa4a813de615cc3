"""PENIN itself, embedded, as its documentation shows it: with no log, and with JSON lines."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import IO, Any

import structlog

import penin
from penin.core import NumericVectorArtifact
from penin.logs import Logs, configure
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
    """A store with the default settings; `log` is whether every transition is logged."""

    def __init__(self, *, log: bool) -> None:
        self._log = log
        self._log_file: _LogFile | None = None

    async def open(self, directory: Path) -> None:
        self._directory = directory / "store"
        if self._log:
            self._log_file = await asyncio.to_thread(_LogFile, directory / "log.jsonl")
        self.orchestrator = await penin.open(
            self._directory, logger=None if self._log_file is None else self._log_file.logs
        )

    async def close(self) -> None:
        transitions = self.orchestrator.applied_seq
        await self.orchestrator.aclose()
        if self._log_file is not None:
            await asyncio.to_thread(self._log_file.close, transitions)


class PeninTasks(_Penin):
    """`add_task` for every message."""

    def __init__(self, tasks: Tasks, *, log: bool) -> None:
        super().__init__(log=log)
        self._tasks = tasks

    def submit(self, number: int) -> Coroutine[Any, Any, object]:
        return self.orchestrator.add_task(self._tasks.task(number))

    def held(self) -> int:
        return penin.load(self._directory).seq


class PeninVectors(_Penin):
    """`add_knowledge` for every message, with an artifact made of the array and its metadata."""

    def __init__(self, vectors: Vectors, *, log: bool) -> None:
        super().__init__(log=log)
        self._vectors = vectors

    def submit(self, number: int) -> Coroutine[Any, Any, object]:
        key, vector, metadata = self._vectors.entry(number)
        return self.orchestrator.add_knowledge(key, NumericVectorArtifact(vector, metadata))

    def held(self) -> int:
        return len(penin.load(self._directory).knowledge_base)
