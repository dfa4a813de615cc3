"""The sealer: sealed files are written on threads of their own, beside the journal and snapshots.

Two, so that one digests and writes while the other waits for the disk. They begin with the first
file that is asked for; most stores never have one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from itertools import cycle
from typing import Final

from penin.errors import ClosedError
from penin.runtime.storage_thread import StorageThread
from penin.storage.sealed import SealedFile, SealedFiles

SEALING_MAX: Final = 2
"""How many files are written at the same time."""


class Sealer:
    """Puts sealed files into one store. One event loop; not thread-safe.

    `files` is None in memory, where nothing can be sealed.
    """

    def __init__(self, files: SealedFiles | None) -> None:
        self.files = files
        self._threads: list[StorageThread] = []
        self._next = cycle(self._threads)
        self._is_closed = False

    def seal(self, blocks: Iterable[bytes | memoryview]) -> asyncio.Future[SealedFile]:
        """A future of `SealedFiles.put`. Cancelled, it goes on, and the file stays unsettled.

        Raises ClosedError.
        """
        assert self.files is not None
        if self._is_closed:
            raise ClosedError("the orchestrator is closed")
        if not self._threads:
            names = (f"penin-sealed-{number}" for number in range(SEALING_MAX))
            self._threads.extend(map(StorageThread, names))
        return next(self._next).call(self.files.put, blocks)

    def discard(self, name: str) -> None:
        """Delete a file that no message names, soon; where that is closed, when it is opened."""
        if not self._is_closed and self.files is not None:
            next(self._next).call(self.files.discard, name)

    def close(self) -> None:
        """Take nothing more; what was begun is finished. For the event loop."""
        self._is_closed = True
        for thread in self._threads:
            thread.close()

    def join(self) -> None:
        """Block until what was begun is finished; for another thread, after `close`."""
        for thread in self._threads:
            thread.join()
