"""The segment keeper: the task that keeps the memory of the knowledge base in order.

It has the next segment ready before the last one is full, since memory that is written for the
first time takes several times as long; and it gives back what replaced and removed vectors took
(`penin.core.knowledge.KnowledgeBase.spare_due`, `reclaim_plan`). What takes long is done on a
thread, and put in place on the loop. Nobody sees a difference but in time and memory: it is no
transition, and it has no effect on order, seqs or snapshots.
"""

from __future__ import annotations

import asyncio

from anyio import to_thread

from penin.core.knowledge import KnowledgeBase
from penin.errors import CorruptionError
from penin.logs import EventLog


class SegmentKeeper:
    """Looks for something to do whenever transitions were applied."""

    def __init__(self, knowledge_base: KnowledgeBase, log: EventLog) -> None:
        self._knowledge_base = knowledge_base
        self._log = log
        self._wanted = asyncio.Event()
        self._is_closed = False

    def note_applied(self, _seq: int) -> None:
        """Something changed."""
        if self._knowledge_base.is_reclaim_due or self._knowledge_base.is_spare_due:
            self._wanted.set()

    async def run(self) -> None:
        """Do what is due until `close`. Cancelled, it leaves the knowledge base as it was."""
        while not self._is_closed:
            await self._wanted.wait()
            self._wanted.clear()
            while not self._is_closed and (await self._make_spare() or await self._reclaim()):
                pass

    async def _make_spare(self) -> bool:
        """Have one segment ready; whether one was due."""
        spare = self._knowledge_base.spare_due()
        if spare is None:
            return False
        await to_thread.run_sync(spare.touch)
        self._knowledge_base.take_spare(spare)
        return True

    async def _reclaim(self) -> bool:
        """Carry out one plan; whether there was one, and no damage.

        What lies in a damaged file is left where it is, and tried again after a later change.
        """
        plan = self._knowledge_base.reclaim_plan()
        if plan is None:
            return False
        try:
            await to_thread.run_sync(plan.copy)
        except CorruptionError as error:  # of a mapped file; whoever reads it is told, too
            self._log.error("reclaim.failed", path=str(error.path), cause=error.reason)
            return False
        self._knowledge_base.adopt(plan)
        return True

    def close(self) -> None:
        """Let `run` return; what is being copied is copied in vain."""
        self._is_closed = True
        self._wanted.set()
