"""Waiting for durability over the socket: the worker is asked once for all who wait."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Awaitable, Callable

from penin.errors import ClosedError, PeninError


class DurableWaiters:
    """Who waits for seqs to be durable. One event loop.

    `ask` asks the worker for one seq, waits until that is durable, and gives the highest that is.
    """

    def __init__(self, ask: Callable[[int], Awaitable[int]]) -> None:
        self._ask = ask
        self._waiters: list[tuple[int, int, asyncio.Future[None]]] = []
        self._ticket = itertools.count()
        self._asked = 0  # the seq that the worker is being asked for
        self._task: asyncio.Task[None] | None = None

    async def wait(self, seq: int) -> None:
        """Wait until everything up to `seq` is durable; raises what `ask` raises."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiters, (seq, next(self._ticket), waiter))
        if self._task is None or self._task.done():
            self._task = asyncio.ensure_future(self._watch())
        elif seq < self._asked:
            self._task.cancel()  # its question would be answered too late for this one
            self._task = asyncio.ensure_future(self._watch())
        await waiter

    def close(self) -> None:
        """Nobody waits any more."""
        if self._task is not None:
            self._task.cancel()
        self._release(0, ClosedError("the orchestrator is closed"))

    async def _watch(self) -> None:
        """Ask for the lowest seq that somebody waits for, until nobody does."""
        durable_seq, failure = 0, None
        while self._waiters:
            seq, _, waiter = self._waiters[0]
            if waiter.done():  # it was cancelled
                heapq.heappop(self._waiters)
                continue
            self._asked = seq
            try:
                durable_seq = await self._ask(seq)
            except PeninError as error:
                failure = error
            self._release(durable_seq, failure)

    def _release(self, durable_seq: int, failure: PeninError | None) -> None:
        """Let those go whose seq is durable; with a failure, all the others, too."""
        while self._waiters:
            seq, _, waiter = self._waiters[0]
            if not waiter.done():
                if seq <= durable_seq:
                    waiter.set_result(None)
                elif failure is not None:
                    waiter.set_exception(failure)
                else:
                    return
            heapq.heappop(self._waiters)
