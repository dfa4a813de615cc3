"""Indexes of an open store: made when they are first asked for, and kept up to date behind.

There is one for each dimension and metric that was asked for with `approximate=True`. Until it is
there, and for what is newer than it, recall is exact. It is built and extended in a thread. When
the store closes it is saved, so that the next opening has it; that one maps it into memory, and
builds it anew when a larger share is newer.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final

from anyio import to_thread

from penin.core.approximate import Candidate, VectorIndex, nearest_with
from penin.core.nearest import Metric, Neighbour, Query, nearest
from penin.runtime.index_files import load_index, save_index

if TYPE_CHECKING:
    from penin.core.state import State

NEWER_SHARE_MAX: Final = 0.02
"""An index is extended when the rows that changed since are more than this share of its own."""
MAPPED_NEWER_SHARE_MAX: Final = 0.1
"""The same for one that is mapped from a file, which is built anew for it."""
NEWER_MIN: Final = 1000
"""And more than so many; exact recall of so few takes no time. Of so few in all there is none."""
K_MAX: Final = 250
"""For more results recall is exact: candidates are looked up on the event loop, 1,000 in 1 ms."""
DEAD_SHARE_MAX: Final = 0.5
"""It is built anew when more of its rows were removed or replaced."""


class Indexes:
    """The indexes of one state. Called on the event loop; what takes time runs in threads.

    `directory` is where they are saved, None for nowhere, and `store` the id of the store.
    """

    def __init__(
        self,
        state: State,
        stopping: asyncio.Event,
        directory: Path | None,
        store: str,
    ) -> None:
        self._state = state
        self._stopping = stopping
        self._directory = directory
        self._store = store
        self._indexes: dict[tuple[int, Metric], _Kept] = {}

    async def nearest(self, query: Query) -> list[Neighbour]:
        """About what `penin.core.nearest.nearest` gives; exactly that while there is no index.

        Raises UsageError where usearch is missing, and once what stopped the building of an index.
        """
        if query.k > K_MAX:
            view = self._state.knowledge_base.view()
            return await to_thread.run_sync(nearest, view, query, abandon_on_cancel=True)
        kind = len(query.vector), query.metric
        kept = self._indexes.get(kind) or _Kept(await _new_index(*kind))
        kept.raise_failure()
        found: list[Candidate] = []
        seq, are_all = 0, True
        if kept.index.seq:
            found, are_all, seq = await to_thread.run_sync(
                kept.candidates, query, abandon_on_cancel=True
            )
        # From here to the view nothing else runs: candidates and view are of one moment.
        knowledge_base = self._state.knowledge_base
        places = [
            place
            for key, seq_then in found
            if (place := knowledge_base.find(key)) is not None
            and place[0].seq(place[1]) == seq_then
        ]
        view = knowledge_base.view()
        neighbours, newer_count = await to_thread.run_sync(
            lambda: nearest_with(view, query, seq, places, are_all=are_all), abandon_on_cancel=True
        )
        share = MAPPED_NEWER_SHARE_MAX if kept.index.is_mapped else NEWER_SHARE_MAX
        if newer_count > max(NEWER_MIN, share * len(kept.index)):
            self._refresh_soon(self._indexes.setdefault(kind, kept))
        return neighbours

    async def refreshed(self) -> None:
        """Wait until nothing is being loaded, built or extended; once it is stopping, soon."""
        while tasks := [kept.task for kept in self._indexes.values() if kept.task is not None]:
            await asyncio.wait(tasks)

    async def save(self, durable_seq: int) -> None:
        """The last call: save what was built here and covers nothing beyond `durable_seq`.

        A seq that a power cut takes back is given again, to something else.
        """
        await self.refreshed()
        for kept in self._indexes.values():
            index = kept.index
            if self._directory is None or index.is_mapped or not 0 < index.seq <= durable_seq:
                continue
            # A cache that could not be saved is built again by whoever asks for it.
            with contextlib.suppress(OSError, RuntimeError):
                await to_thread.run_sync(save_index, self._directory, self._store, index)

    def _refresh_soon(self, kept: _Kept) -> None:
        if kept.task is None and not self._stopping.is_set():
            kept.task = asyncio.create_task(self._refresh(kept), name="penin index")
            kept.task.add_done_callback(kept.end)

    async def _refresh(self, kept: _Kept) -> None:
        """Load it, or extend it, or build it anew."""
        index = kept.index
        if not index.seq and self._directory is not None:
            loaded = await to_thread.run_sync(
                load_index,
                self._directory,
                self._store,
                await _new_index(index.dimension, index.metric),
                self._stopping.is_set,
                abandon_on_cancel=True,
            )
            if loaded is not None and loaded.seq <= self._state.seq:
                kept.index = loaded
                return
        seq, view = self._state.seq, self._state.knowledge_base.view()
        live_count = sum(
            int(block.live.sum()) for block in view.blocks() if block.dimension == index.dimension
        )
        if index.is_mapped or live_count < DEAD_SHARE_MAX * len(index):
            index = await _new_index(index.dimension, index.metric)
        lock = kept.lock if index is kept.index else threading.Lock()
        if not await to_thread.run_sync(
            index.extend, view, seq, lock, self._stopping.is_set, abandon_on_cancel=True
        ):
            return
        kept.index = index


async def _new_index(dimension: int, metric: Metric) -> VectorIndex:
    """An empty one; in a thread, since the first one imports usearch."""
    return await to_thread.run_sync(VectorIndex, dimension, metric)


class _Kept:
    """An index with what guards it: the lock for its graph, and the task that changes it."""

    def __init__(self, index: VectorIndex) -> None:
        self.index = index
        self.lock = threading.Lock()
        self.task: asyncio.Task[None] | None = None
        self.failure: BaseException | None = None

    def candidates(self, query: Query) -> tuple[list[Candidate], bool, int]:
        """The candidates of the index, whether they are all, and the seq that it covers."""
        with self.lock:
            index = self.index
            return *index.candidates(query), index.seq

    def end(self, task: asyncio.Task[None]) -> None:
        """The task has ended."""
        self.task = None
        self.failure = None if task.cancelled() else task.exception()

    def raise_failure(self) -> None:
        """Raise what the last task ended with, once; the next need may begin another."""
        failure, self.failure = self.failure, None
        if failure is not None:
            raise failure
