"""Stores to run on: in memory, with gates that hold a call up, and a log that remembers.

A gate stands in for slow storage: the thread that reaches it waits until the test opens it, and
the test waits until the thread has reached it. Nothing here waits for time to pass.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from penin.core.migration import Schema
from penin.core.orchestrator import OmegaMetaOrchestrator
from penin.core.reader import StateReader
from penin.logs import undocumented
from penin.runtime.open import Opening
from penin.runtime.past import read_state
from penin.runtime.store import store_at
from penin.runtime.supervisor import Supervisor
from penin.runtime.ways_in import Server
from penin.settings import Settings
from tests.core.model import contents
from tests.fakes.crashable_filesystem import CrashableFileSystem

STORE = Path("/store")
JOURNAL = STORE / "journal"
PATIENCE_S = 20.0
"""Longer than anything here takes; only a failing test waits for it."""


def open_on(
    fs: Any,
    *,
    directory: Path = STORE,
    logger: Any = None,
    schema: Schema | None = None,
    servers: Sequence[Server] = (),
    **settings: Any,
) -> Opening:
    """What `penin.open` gives, on another file system."""
    return Opening(directory, Settings(**settings), logger, fs, schema, servers=servers)


def state_on(fs: Any, directory: Path = STORE) -> OmegaMetaOrchestrator:
    """What a reader without the lock finds."""
    return OmegaMetaOrchestrator.from_state(read_state(directory, fs))


def seen(reader: StateReader | OmegaMetaOrchestrator) -> dict[str, Any]:
    """Everything that a reader can see, in plain containers."""
    return contents(reader)  # type: ignore[arg-type]  # both have the same readers


async def within(awaitable: Any, seconds: float = PATIENCE_S) -> Any:
    """Await, and fail instead of hanging."""
    return await asyncio.wait_for(awaitable, seconds)


async def until(event: threading.Event) -> None:
    """Wait for another thread without blocking the loop."""
    assert await asyncio.to_thread(event.wait, PATIENCE_S), "it did not come to that"


async def pending(coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    """A task that has run until it waits for something that another thread or task must do."""
    task = asyncio.ensure_future(coroutine)
    for _ in range(5):
        await asyncio.sleep(0)
    return task


class Gate:
    """Closed until opened; `reached` is set as soon as somebody waits at it."""

    def __init__(self, operation: str, matches: Callable[[Path], bool]) -> None:
        self.reached = threading.Event()
        self._open = threading.Event()
        self._operation = operation
        self._matches = matches

    def open(self) -> None:
        self._open.set()

    def pass_through(self, operation: str, path: Path) -> None:
        if operation == self._operation and not self._open.is_set() and self._matches(path):
            self.reached.set()
            assert self._open.wait(PATIENCE_S), "the test did not open the gate"


def in_journal(path: Path) -> bool:
    return JOURNAL in (path, path.parent)


def in_snapshot(path: Path) -> bool:
    return path.name.startswith(("state.json.tmp-", "state.safetensors.tmp-"))


_GATED = {"open_write", "write", "sync_file", "truncate", "read", "open_read", "unlink"}


class GatedFileSystem:
    """A crashable file system with gates in front of its operations."""

    def __init__(self, inner: CrashableFileSystem | None = None) -> None:
        self.inner = CrashableFileSystem() if inner is None else inner
        self.keys = self.inner.keys
        self._gates: list[Gate] = []
        self._paths: dict[int, Path] = {}

    def hold(self, operation: str, matches: Callable[[Path], bool] = in_journal) -> Gate:
        """Close a gate before an operation (`sync_file`, `write`, …) on matching paths."""
        assert operation in _GATED
        gate = Gate(operation, matches)
        self._gates.append(gate)
        return gate

    def _pass(self, operation: str, path: Path) -> None:
        for gate in self._gates:
            gate.pass_through(operation, path)

    def open_read(self, path: Path) -> int:
        self._pass("open_read", path)
        fd = self.inner.open_read(path)
        self._paths[fd] = path
        return fd

    def open_write(self, path: Path, *, exclusive: bool = False) -> int:
        self._pass("open_write", path)
        fd = self.inner.open_write(path, exclusive=exclusive)
        self._paths[fd] = path
        return fd

    def read(self, fd: int, size: int, offset: int) -> bytes:
        self._pass("read", self._paths[fd])
        return self.inner.read(fd, size, offset)

    def write(self, fd: int, data: bytes | memoryview, offset: int) -> int:
        self._pass("write", self._paths[fd])
        return self.inner.write(fd, data, offset)

    def truncate(self, fd: int, size: int) -> None:
        self._pass("truncate", self._paths[fd])
        self.inner.truncate(fd, size)

    def map(self, fd: int) -> memoryview:
        return self.inner.map(fd)

    def begin_sync(self, fd: int, offset: int, size: int) -> None:
        self.inner.begin_sync(fd, offset, size)

    def sync_file(self, fd: int) -> None:
        self._pass("sync_file", self._paths[fd])
        self.inner.sync_file(fd)

    def unlink(self, path: Path) -> None:
        self._pass("unlink", path)
        self.inner.unlink(path)

    def size(self, fd: int) -> int:
        return self.inner.size(fd)

    def identity(self, fd: int) -> tuple[int, int]:
        return self.inner.identity(fd)

    def sync_directory(self, path: Path) -> None:
        self.inner.sync_directory(path)

    def close(self, fd: int) -> None:
        self.inner.close(fd)

    def rename(self, source: Path, target: Path) -> None:
        self.inner.rename(source, target)

    def link(self, source: Path, target: Path) -> None:
        self.inner.link(source, target)

    def remove_directory(self, path: Path) -> None:
        self.inner.remove_directory(path)

    def names(self, directory: Path) -> list[str]:
        return self.inner.names(directory)

    def make_directory(self, path: Path) -> None:
        self.inner.make_directory(path)

    def exists(self, path: Path) -> bool:
        return self.inner.exists(path)

    def lock(self, fd: int) -> bool:
        return self.inner.lock(fd)


class RecordedLog:
    """An `EventLog` that keeps what it is given, and holds it to the documented table."""

    def __init__(self) -> None:
        self.enabled = True
        self.reopen: Callable[[], None] | None = None
        self.dropped = 0
        self.bound: dict[str, object] = {}
        self.events: list[tuple[str, dict[str, Any]]] = []
        self._something = asyncio.Event()

    def _take(self, level: str, event: str, fields: dict[str, Any]) -> None:
        complaint = undocumented(event, level, fields)
        assert complaint is None, complaint
        self.events.append((event, fields))
        self._something.set()

    async def comes(self, event: str, count: int = 1) -> None:
        """Wait until there are so many of an event. All events come from the loop's thread."""
        while len(self.of(event)) < count:
            self._something.clear()
            await within(self._something.wait())

    def debug(self, event: str, /, **fields: object) -> None:
        self._take("debug", event, fields)

    def info(self, event: str, /, **fields: object) -> None:
        self._take("info", event, fields)

    def warning(self, event: str, /, **fields: object) -> None:
        self._take("warning", event, fields)

    def error(self, event: str, /, **fields: object) -> None:
        self._take("error", event, fields)

    def bind(self, **fields: object) -> None:
        self.bound = fields

    def transition(self, context: Any, /, **fields: object) -> None:
        self._take("info", "state.transition", fields)

    def close(self, timeout_s: float) -> bool:
        return True

    def of(self, event: str) -> list[dict[str, Any]]:
        """The fields of every event of that name, in order."""
        return [fields for name, fields in self.events if name == event]

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.events]


class Running:
    """A supervisor that runs in a task of its own, with its log and its store."""

    def __init__(self, supervisor: Supervisor, log: RecordedLog) -> None:
        self.supervisor = supervisor
        self.log = log
        self.task = asyncio.create_task(supervisor.run())

    @property
    def orchestrator(self) -> Any:
        assert self.supervisor.orchestrator is not None
        return self.supervisor.orchestrator

    async def end(self) -> None:
        self.supervisor.stop("the test is over")
        await within(self.task)


@asynccontextmanager
async def supervised(
    fs: Any = None,
    *,
    workers: Any = (),
    sources: Any = (),
    servers: Any = (),
    schema: Any = None,
    directory: Any = STORE,
    **settings: Any,
) -> AsyncIterator[Running]:
    """A supervisor on a store, started; it is stopped at the end, if it has not ended."""
    chosen = Settings(**settings)
    log = RecordedLog()
    store = store_at(directory, chosen, CrashableFileSystem() if fs is None else fs)
    supervisor = Supervisor(
        store, chosen, log, schema=schema, workers=workers, sources=sources, servers=servers
    )
    running = Running(supervisor, log)
    try:
        await within(running.supervisor.started.wait())
        yield running
    finally:
        await running.end()
