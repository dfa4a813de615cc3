"""Pruning a knowledge base: removals by prefix and by age, one message each."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from itertools import islice

from anyio import to_thread

from penin.core.knowledge_view import KnowledgeView
from penin.core.pruning import Pruning
from penin.core.transitions import OK, Ack, Message
from penin.settings import Settings


async def prune(
    view: KnowledgeView,
    wanted: Pruning,
    deliver: Callable[[Message], Awaitable[Ack]],
    settings: Settings,
) -> int:
    """Remove what is wanted of a view, looking for it on a thread; how many were removed.

    Failed or cancelled in between, some are removed and some are not.
    """
    removed = 0
    for block in view.blocks():
        messages = iter(await to_thread.run_sync(wanted.removals, block))
        while part := list(islice(messages, settings.batch_messages_max)):
            answers = await asyncio.gather(*map(deliver, part))
            removed += sum(ack.result == OK for ack in answers)
    return removed
