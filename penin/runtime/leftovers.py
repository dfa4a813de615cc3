"""What workers leave behind: tasks that go on after their cancellation, and calls on threads.

asyncio waits for both without bound when a loop ends. Here everything is waited for until a
deadline, and what has not ended by then is named and left.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple, ParamSpec, TypeVar

import structlog

if TYPE_CHECKING:
    from penin.runtime.workers import Worker

P = ParamSpec("P")
T = TypeVar("T")

SHORTEST_WAIT_S: Final = 0.5
"""What is told to end only now has so long, however late it is."""
WAIT_S: Final = 0.2
"""Threads are waited for in pieces: a signal that reached another thread than the main one, which
happens to the second of two, is seen only between them."""
UNKNOWN: Final = "unknown"
_ANYIO_THREAD: Final = "AnyIO worker thread"


class Leftover(NamedTuple):
    """Something that has not ended: whose it is, as far as that is known, and what it is."""

    worker: str
    cause: str


class Threads(concurrent.futures.ThreadPoolExecutor):
    """A loop's default executor (`asyncio.to_thread`, aiofiles) that knows whose calls it runs."""

    def __init__(self) -> None:
        super().__init__(thread_name_prefix="asyncio")
        self._calls: dict[concurrent.futures.Future[Any], str] = {}
        self._threads_before = set(threading.enumerate())

    def submit(
        self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> concurrent.futures.Future[T]:
        """As its base; a worker's call is submitted in the worker's context."""
        future = super().submit(fn, *args, **kwargs)
        self._calls[future] = structlog.contextvars.get_contextvars().get("worker", UNKNOWN)
        future.add_done_callback(lambda done: self._calls.pop(done, None))
        return future

    def end(self, deadline_s: float) -> list[Leftover]:
        """Take no further call and wait for those under way; blocks, so not for the event loop.

        Those of anyio's own threads, which end with the loop's first task, are among them.
        """
        self.shutdown(wait=False)
        deadline_s = max(deadline_s, time.monotonic() + SHORTEST_WAIT_S)
        while self._calls and (left_s := deadline_s - time.monotonic()) > 0:
            concurrent.futures.wait(self._calls.copy(), min(left_s, WAIT_S))
        owners = list(self._calls.copy().values())
        for thread in set(threading.enumerate()) - self._threads_before:
            if thread.name == _ANYIO_THREAD:
                while thread.is_alive() and (left_s := deadline_s - time.monotonic()) > 0:
                    thread.join(min(left_s, WAIT_S))
                if thread.is_alive():
                    owners.append(UNKNOWN)
        return [Leftover(owner, "a call on a thread does not end") for owner in owners]


async def end_tasks(workers: Sequence[Worker], deadline_s: float) -> list[Leftover]:
    """Cancel all tasks of the loop but the current one, and wait for them.

    Workers have been cancelled already: the time of their clean-up is over before they are again.
    """
    functions = {worker.task for worker in workers if worker.task is not None}
    await _wait({task for task in functions if not task.done()}, deadline_s)
    tasks = asyncio.all_tasks() - {_current()}
    for task in tasks:
        task.cancel()
    later_s = max(deadline_s, time.monotonic() + SHORTEST_WAIT_S)
    await _wait(tasks, later_s)
    left = asyncio.all_tasks() - {_current()}
    if not left:
        generators = asyncio.ensure_future(asyncio.get_running_loop().shutdown_asyncgens())
        await _wait({generators}, later_s)
        left = {generators} if not generators.done() else set()
    return [
        Leftover(task.get_name(), "it goes on after its cancellation")
        if task in functions
        else Leftover(UNKNOWN, f"the task {task.get_name()} goes on after its cancellation")
        for task in left
    ]


async def _wait(tasks: set[asyncio.Task[Any]], deadline_s: float) -> None:
    if tasks:
        await asyncio.wait(tasks, timeout=max(0.0, deadline_s - time.monotonic()))


def _current() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    assert task is not None
    return task
