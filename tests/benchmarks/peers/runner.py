"""What a benchmark asks of a store: one interface, whatever stands behind it."""

from __future__ import annotations

from collections.abc import Awaitable
from pathlib import Path
from typing import Protocol


class StoreRunner(Protocol):
    """One store in one directory, with one kind of message; opened once and closed once.

    Everything but `held` is called on the event loop that `open` was awaited on.
    """

    async def open(self, directory: Path) -> None:
        """Makes the store in `directory`, which exists and is empty."""

    def submit(self, number: int) -> Awaitable[object]:
        """Sends message `number` of the workload.

        Once the awaitable returns, the message is durable (fdatasync or what stands for it has
        returned) and, where the store keeps a state in memory, applied to it. A failure is raised
        to whoever awaits. May be called again before the last one was answered.
        """

    async def close(self) -> None:
        """Finishes what is under way and gives up files and threads. Everything stays on disk.

        Raises AssertionError if the store promised more than it did: an event of the log dropped.
        """

    def held(self) -> int:
        """How many messages are on disk, as a reader that comes later finds them.

        To be called after `close`. Of messages with the same key, a store that keeps the newest
        holds one; of a bounded history it tells how many ever came in.
        """
