"""The reclaimer: the task that gives back the memory of replaced and removed vectors.

The rows that are left are copied on a thread and put in place on the loop
(`penin.core.knowledge.KnowledgeBase.reclaim_plan`). Nobody sees a difference but in memory: it is
no transition, and it has no effect on order, seqs or snapshots.
"""

from __future__ import annotations

import asyncio

from anyio import to_thread

from penin.core.knowledge import KnowledgeBase
from penin.errors import CorruptionError
from penin.logs import EventLog


class Reclaimer:
    """Looks for something to reclaim whenever transitions were applied."""

    def __init__(self, knowledge_base: KnowledgeBase, log: EventLog) -> None:
        self._knowledge_base = knowledge_base
        self._log = log
        self._wanted = asyncio.Event()
        self._is_closed = False

    def note_applied(self, _seq: int) -> None:
        """Something changed."""
        if self._knowledge_base.is_reclaim_due:
            self._wanted.set()

    async def run(self) -> None:
        """Reclaim until `close`. Cancelled, it leaves the knowledge base as it was.

        What lies in a damaged file is left where it is, and tried again after a later change.
        """
        while not self._is_closed:
            await self._wanted.wait()
            self._wanted.clear()
            while not self._is_closed and (plan := self._knowledge_base.reclaim_plan()) is not None:
                try:
                    await to_thread.run_sync(plan.copy)
                except CorruptionError as error:  # of a mapped file; whoever reads it is told, too
                    self._log.error("reclaim.failed", path=str(error.path), cause=error.reason)
                    break
                self._knowledge_base.adopt(plan)

    def close(self) -> None:
        """Let `run` return; what is being copied is copied in vain."""
        self._is_closed = True
        self._wanted.set()
