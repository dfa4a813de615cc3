"""A mailbox and a group commit, as an engineer writes them by hand around a blocking store.

The loop collects what is sent into a list. When the thread is free, the whole list is swapped for
an empty one and handed over; the thread makes it durable at once, and the loop answers everybody.
There is no bound, no check and no order but that of arrival.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Generic, TypeVar

Item = TypeVar("Item")


class GroupCommit(Generic[Item]):
    """Many senders, one thread, one `commit` for all that gathered while the last one ran.

    `commit` is called on the thread and returns once its items are durable; what it raises is
    raised to every sender of those items. `apply` is called on the loop, after `commit` and before
    the senders are answered. Made on the event loop that submits; `close` ends the thread.
    """

    def __init__(
        self,
        commit: Callable[[list[Item]], object],
        apply: Callable[[list[Item]], object] | None = None,
    ) -> None:
        self._commit = commit
        self._apply = apply
        self._loop = asyncio.get_running_loop()
        self._items: list[Item] = []
        self._futures: list[asyncio.Future[None]] = []
        self._busy = False
        self._batches: SimpleQueue[tuple[list[Item], list[asyncio.Future[None]]] | None]
        self._batches = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="group-commit")
        self._thread.start()

    def submit(self, item: Item) -> asyncio.Future[None]:
        """The future is done once `item` is durable and applied."""
        future: asyncio.Future[None] = self._loop.create_future()
        self._items.append(item)
        self._futures.append(future)
        if not self._busy:
            self._busy = True
            # Not at once: whoever else was woken in this turn of the loop still gets in. Handing
            # over at once makes twice as many batches and was a tenth slower.
            self._loop.call_soon(self._hand_over)
        return future

    def _hand_over(self) -> None:
        self._batches.put((self._items, self._futures))
        self._items = []
        self._futures = []

    def _run(self) -> None:
        while (batch := self._batches.get()) is not None:
            items, futures = batch
            failure: Exception | None = None
            try:
                self._commit(items)
            except Exception as error:  # noqa: BLE001 - it is every sender's, and raised there
                failure = error
            self._loop.call_soon_threadsafe(self._answer, items, futures, failure)

    def _answer(
        self, items: list[Item], futures: list[asyncio.Future[None]], failure: Exception | None
    ) -> None:
        if self._items:
            self._hand_over()
        else:
            self._busy = False
        if failure is not None:
            for future in futures:
                if not future.done():
                    future.set_exception(failure)
            return
        if self._apply is not None:
            self._apply(items)
        for future in futures:
            if not future.done():
                future.set_result(None)

    async def close(self) -> None:
        """Ends the thread. To be called when every sender was answered."""
        self._batches.put(None)
        await asyncio.to_thread(self._thread.join)
