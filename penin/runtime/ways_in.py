"""What runs beside the workers of a store: its ways in, which bring messages from outside."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any

from anyio import CancelScope, create_task_group

if TYPE_CHECKING:
    from penin.runtime.protocol import AsyncOrchestrator
    from penin.runtime.supervisor import Supervisor

Source = Callable[["AsyncOrchestrator"], Awaitable[object]]
"""A way in that ends by itself: a file, stdin."""
Server = Callable[["Supervisor"], Awaitable[object]]
"""One that serves others as long as the store is open: the socket."""
Companion = Callable[..., Coroutine[Any, Any, None]]
"""A task that is started before the store is touched: it gets the supervisor and `task_status`."""
Guarded = Callable[[Callable[[], Awaitable[object]]], Coroutine[Any, Any, None]]


class WaysIn:
    """Ways in of one kind. Cancelled, each answers what is on its way; `ended` is set after that.

    They may be cancelled before they run. `ready` is set when each has said that it is.
    """

    def __init__(self, calls: Sequence[Callable[[], Awaitable[object]]]) -> None:
        self.ended = asyncio.Event()
        self.ready = asyncio.Event()
        self._calls = calls
        self._unready = len(calls) + 1
        self.note_ready()
        self._scope = CancelScope()

    def __bool__(self) -> bool:
        return bool(self._calls)

    def note_ready(self) -> None:
        """One more of them can be reached, or has said in the log why not."""
        self._unready -= 1
        if not self._unready:
            self.ready.set()

    async def run(self, guarded: Guarded) -> None:
        """Run them side by side, each in `guarded`, until all have ended."""
        try:
            with self._scope:
                async with create_task_group() as group:
                    for call in self._calls:
                        group.start_soon(guarded, call)
        finally:
            self.ended.set()

    def cancel(self) -> None:
        """Let them end; returns at once."""
        self._scope.cancel()
