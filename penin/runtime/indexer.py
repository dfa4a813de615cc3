"""The indexer: the task that keeps approximate indexes, and the recall that asks them.

There is an index for each dimension and metric that was asked for with `approximate=True`, once
there are more than a few vectors. It is looked for on the disk, and built by a child process
(`penin.runtime.index_build`) where there is none or when a stated share of it is outdated, which
each search finds out. Until it is there, recall is exact.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any, Final, TypeVar

from anyio import to_thread

from penin.core.approximate import Answer, Covered, Place, nearest_with
from penin.core.knowledge_view import KnowledgeView
from penin.core.nearest import Neighbour, Query
from penin.core.vector_index import DEAD_SHARE_MAX, Candidate, VectorIndex, require_usearch
from penin.errors import ClosedError, JournalFailedError, StorageError
from penin.logs import EventLog
from penin.runtime.actor import Actor
from penin.runtime.index_build import IndexBuild
from penin.runtime.index_files import IndexFiles, IndexKind
from penin.runtime.store import Store

NEWER_SHARE_MAX: Final = 0.05
"""An index is brought up to date when the vectors that changed since are more than this share."""
NEWER_MIN: Final = 1000
"""And more than so many, which are searched exactly in no time. Of so few in all there is none."""
CANDIDATES_PER_RESULT: Final = 4
"""So many candidates are asked for: the graph knows them by rounded numbers, and some are gone."""
CANDIDATES_MAX: Final = 1000
"""Where more would be needed recall is exact: so many keys are looked up on the loop in 1 ms."""
RETRY_MIN_S: Final = 1.0
RETRY_MAX_S: Final = 300.0
"""After a failure an index is not tried again for so long; it doubles from the one to the other."""

T = TypeVar("T")


class Indexer:
    """The indexes of one open store. Its methods are for the event loop.

    A store that is in memory, or on another file system than the real one, has none: there recall
    is always exact.
    """

    def __init__(self, store: Store, actor: Actor, log: EventLog) -> None:
        self._store = store
        self._actor = actor
        self._log = log
        self._knowledge_base = actor.state.knowledge_base
        self._files = store.index_files()
        self._opened_seq = actor.state.seq
        self._indexes: dict[IndexKind, _Kept] = {}
        self._looked_for: set[IndexKind] = set()
        self._delays: dict[IndexKind, tuple[float, float]] = {}
        self._due: asyncio.Queue[IndexKind | None] = asyncio.Queue()
        self._waiting: set[IndexKind] = set()
        self._build: IndexBuild | None = None
        self._has_usearch = False
        self._is_closed = False

    # -- asking -------------------------------------------------------------------------------

    async def nearest(self, query: Query) -> list[Neighbour]:
        """About what `penin.core.nearest.nearest` gives; exactly that while there is no index.

        Raises as that does, and UsageError where usearch is missing.
        """
        if not self._has_usearch:
            await _in_thread(require_usearch)  # it imports it
            self._has_usearch = True
        kind = IndexKind(query.metric, len(query.vector))
        kept = self._indexes.get(kind)
        count = CANDIDATES_PER_RESULT * query.k
        while kept is not None and count <= CANDIDATES_MAX:
            candidates, is_all = await _in_thread(kept.candidates, query, count)
            # From here to the view nothing else runs: places and view are of one moment.
            covered = Covered(kept.index.seq, self._places(candidates), is_all)
            answer = await _in_thread(nearest_with, self._view(), query, covered)
            if answer is not None:
                self._note(kind, answer, len(kept.index))
                return answer.neighbours
            count *= CANDIDATES_PER_RESULT
        answer = await _in_thread(nearest_with, self._view(), query, None)
        assert answer is not None  # it was of everything
        if kept is None:
            self._note(kind, answer, 0)
        return answer.neighbours

    def _view(self) -> KnowledgeView:
        return self._knowledge_base.view()

    def _places(self, candidates: list[Candidate]) -> list[Place]:
        """Where the keys are now, those that are there."""
        places = []
        for key, seq in candidates:
            found = self._knowledge_base.find(key)
            if found is not None:
                places.append(Place(found[0].number, found[1], seq))
        return places

    def _note(self, kind: IndexKind, answer: Answer, size: int) -> None:
        """Let the index of a kind, which has `size` rows, be brought up to date if it is due."""
        newer, covered = answer.searched_count, answer.live_count - answer.searched_count
        is_due = newer > max(NEWER_MIN, NEWER_SHARE_MAX * size) or covered < DEAD_SHARE_MAX * size
        if is_due:
            self._want(kind)

    def _want(self, kind: IndexKind) -> None:
        """Let the index of a kind be looked for or built, unless it failed a moment ago."""
        if self._files is None or self._is_closed or kind in self._waiting:
            return
        if _now_s() >= self._delays.get(kind, (0.0, 0.0))[1]:
            self._waiting.add(kind)
            self._due.put_nowait(kind)

    # -- keeping ------------------------------------------------------------------------------

    async def run(self) -> None:
        """Load and build indexes as they are due, one at a time, until `close`.

        Whatever goes wrong is logged, and is tried again when it is asked for after a while: an
        index is never worth more than what it is of. Cancelled, it leaves no process behind.
        """
        files = self._files
        if files is None:
            return
        try:
            await self._clean(files)
            while not self._is_closed and (kind := await self._due.get()) is not None:
                await self._refresh_or_log(files, kind)
                self._waiting.discard(kind)
        finally:
            self.close()

    def close(self) -> None:
        """Let `run` return soon: what is being built is not built to its end."""
        self._is_closed = True
        self._due.put_nowait(None)
        if self._build is not None:
            self._build.stop()

    async def _clean(self, files: IndexFiles) -> None:
        try:
            store = self._store.journal.store
            for complaint in await _in_thread(files.clean, store, self._opened_seq):
                self._log_dropped(complaint)
        except OSError as error:
            self._log.warning("index.failed", cause=str(error))

    async def _refresh_or_log(self, files: IndexFiles, kind: IndexKind) -> None:
        try:
            await self._refresh(files, kind)
            self._delays.pop(kind, None)
        except (ClosedError, JournalFailedError):
            return  # the end of everything, and said elsewhere
        except Exception as error:  # noqa: BLE001  # whatever it is: it is only about a cache
            if self._is_closed:
                return
            delay_s = min(2 * self._delays.get(kind, (RETRY_MIN_S / 2, 0.0))[0], RETRY_MAX_S)
            self._delays[kind] = delay_s, _now_s() + delay_s
            cause = str(error) or repr(error)
            self._log.warning("index.failed", **kind._asdict(), cause=cause, delay_s=delay_s)

    async def _refresh(self, files: IndexFiles, kind: IndexKind) -> None:
        """Take the index of a kind from the disk, the first time; or let it be built."""
        if kind not in self._looked_for:
            self._looked_for.add(kind)
            index = await self._load(files, kind)
            if index is not None:
                await self._adopt(kind, index)
                self._log.info("index.loaded", **_about(kind, index))
                return
        begun_s = _now_s()
        assert self._store.directory is not None
        temporary = files.temporary(kind, self._store.journal.epoch)
        await _in_thread(files.prepare)
        build = self._build = IndexBuild(
            self._store.directory, kind, temporary, self._store.key_from
        )
        try:
            cause = await _in_thread(build.run)
            if cause is not None:
                raise RuntimeError(cause)
            index = await _in_thread(files.load, temporary, self._store.journal.store)
            if index is None:
                return  # all of that kind were removed meanwhile
            # It was read from the disk, where more may be than is applied and durable.
            await self._actor.durable(index.seq)
            await _in_thread(files.put, temporary, kind)
        finally:
            build.stop()
            await _in_thread(files.remove, temporary)
        await self._adopt(kind, index)
        seconds = round(_now_s() - begun_s, 6)
        self._log.info("index.built", **_about(kind, index), seconds=seconds)

    async def _load(self, files: IndexFiles, kind: IndexKind) -> VectorIndex | None:
        path, store = files.path(kind), self._store.journal.store
        try:
            return await _in_thread(files.load, path, store, self._opened_seq)
        except StorageError as error:
            self._log_dropped(error)
            await _in_thread(files.remove, path)
            return None

    async def _adopt(self, kind: IndexKind, index: VectorIndex) -> None:
        replaced = [self._indexes.pop(kind, None)]
        self._indexes[kind] = _Kept(index)
        await _in_thread(replaced.clear)  # giving back what is mapped takes a while

    def _log_dropped(self, error: StorageError) -> None:
        self._log.warning("index.dropped", path=str(error.path), cause=error.reason)


class _Kept:
    """An index that is asked, by one thread at a time: what a search works on is in the graph."""

    def __init__(self, index: VectorIndex) -> None:
        self.index = index
        self._lock = threading.Lock()

    def candidates(self, query: Query, count: int) -> tuple[list[Candidate], bool]:
        """See `VectorIndex.candidates`; in a thread."""
        with self._lock:
            return self.index.candidates(query, count)


async def _in_thread(function: Callable[..., T], *args: Any) -> T:
    """Cancelled, it goes on there to its end, and nothing waits for it."""
    return await to_thread.run_sync(function, *args, abandon_on_cancel=True)


def _about(kind: IndexKind, index: VectorIndex) -> dict[str, object]:
    return {**kind._asdict(), "seq": index.seq, "count": len(index)}


def _now_s() -> float:
    return asyncio.get_running_loop().time()
