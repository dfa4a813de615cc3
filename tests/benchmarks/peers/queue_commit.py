"""A group commit as the standard library suggests it: an `asyncio.Queue`, a task, an executor.

What most people write first. `group_commit` is the same with a mailbox as fast as PENIN's own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

Item = TypeVar("Item")


class QueueCommit(Generic[Item]):
    """Many senders, one thread, one `commit` for all that gathered; as `GroupCommit` has it."""

    def __init__(
        self,
        commit: Callable[[list[Item]], object],
        apply: Callable[[list[Item]], object] | None = None,
    ) -> None:
        self._commit = commit
        self._apply = apply
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[tuple[Item, asyncio.Future[None]]] = asyncio.Queue()
        self._executor = ThreadPoolExecutor(1)
        self._task = asyncio.create_task(self._run())

    def submit(self, item: Item) -> asyncio.Future[None]:
        """The future is done once `item` is durable and applied."""
        future: asyncio.Future[None] = self._loop.create_future()
        self._queue.put_nowait((item, future))
        return future

    async def _run(self) -> None:
        while True:
            batch = [await self._queue.get()]
            while not self._queue.empty():
                batch.append(self._queue.get_nowait())
            items = [item for item, _ in batch]
            try:
                await self._loop.run_in_executor(self._executor, self._commit, items)
            except Exception as error:  # noqa: BLE001 - it is every sender's, and raised there
                for _, future in batch:
                    future.set_exception(error)
                continue
            if self._apply is not None:
                self._apply(items)
            for _, future in batch:
                if not future.done():
                    future.set_result(None)

    async def close(self) -> None:
        """Ends the task and the thread. To be called when every sender was answered."""
        self._task.cancel()
        await asyncio.wait({self._task})
        await asyncio.to_thread(self._executor.shutdown)
