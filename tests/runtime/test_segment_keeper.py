"""The segment keeper has room ready, gives back what replaced vectors took, and nobody sees it."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
from numpy.typing import NDArray

from penin.core.knowledge import KnowledgeBase
from penin.core.segments import ROWS_MAX, MemorySegment
from penin.errors import CorruptionError
from penin.runtime.segment_keeper import SegmentKeeper
from tests.runtime.stores import GatedFileSystem, RecordedLog, open_on, within

KEYS = [f"k{number}" for number in range(3000)]


def filled() -> KnowledgeBase:
    knowledge_base = KnowledgeBase()
    for seq in (1, 2):  # the second time all of the first is dead, and what follows makes it due
        rows = np.full((len(KEYS), 8), seq, "<f4")
        knowledge_base.extend(KEYS, "<f4", rows.tobytes(), None, [seq] * len(KEYS))
    for key in KEYS[::2]:
        knowledge_base.put(key, "<f4", np.zeros(8, "<f4").tobytes(), b"{}", 3)
    for key in KEYS[1::4]:
        knowledge_base.remove(key)
    return knowledge_base


async def until_reclaimed(knowledge_base: KnowledgeBase) -> None:
    while knowledge_base.is_reclaim_due:  # noqa: ASYNC110  # a copy on a thread, and nobody tells
        await asyncio.sleep(0)


async def test_what_is_due_is_reclaimed_and_the_mapping_stays_what_it_was():
    knowledge_base = filled()
    assert knowledge_base.is_reclaim_due
    before = [(key, artifact.vector) for key, artifact in knowledge_base.items()]
    keeper = SegmentKeeper(knowledge_base, RecordedLog())
    running = asyncio.ensure_future(keeper.run())
    keeper.note_applied(3)
    await until_reclaimed(knowledge_base)
    assert [(key, artifact.vector) for key, artifact in knowledge_base.items()] == before
    keeper.close()
    await within(running)


async def test_an_open_store_reclaims_while_vectors_are_replaced():
    async with open_on(GatedFileSystem()) as orchestrator:
        knowledge_base = orchestrator.view.knowledge_base
        for round_number in range(5):
            await orchestrator.extend_knowledge(KEYS, np.full((len(KEYS), 8), round_number, "f4"))
            for key in KEYS[::2]:
                orchestrator.send_nowait({"type": "remove_knowledge", "key": key})
            await orchestrator.add_score(0.0)
        await until_reclaimed(knowledge_base)
        assert len(knowledge_base) == len(KEYS) // 2
        assert all(artifact.vector == [4.0] * 8 for artifact in knowledge_base.values())


async def test_the_next_segment_is_ready_before_the_last_one_is_full():
    knowledge_base = KnowledgeBase()
    keeper = SegmentKeeper(knowledge_base, RecordedLog())
    running = asyncio.ensure_future(keeper.run())
    rows = np.arange(5000, dtype="<f4").repeat(32)
    for first in range(0, 40_000, 5000):
        keys = [f"k{number}" for number in range(first, first + 5000)]
        knowledge_base.extend(keys, "<f4", rows.tobytes(), None, [1] * 5000)
        keeper.note_applied(1)
        while knowledge_base.is_spare_due or knowledge_base.columns()[0].wants_spare:  # noqa: ASYNC110  # as above
            await asyncio.sleep(0)
    (column,) = knowledge_base.columns()
    assert column.tail is not None
    assert column.spare is not None
    assert [column.tail.capacity, column.spare.capacity] == [ROWS_MAX] * 2
    assert [artifact.vector[0] for artifact in knowledge_base.values()] == [*range(5000)] * 8
    keeper.close()
    await within(running)


class DamagedSegment(MemorySegment):
    """One whose numbers cannot be read, as those of a damaged mapped file."""

    def matrix(self, count: int) -> NDArray[Any]:
        raise CorruptionError("state.safetensors", count, "the digest of this block is not right")


async def test_what_is_damaged_is_left_where_it_is_and_logged():
    knowledge_base, log = KnowledgeBase(), RecordedLog()
    segment = DamagedSegment(("<f4", 32), 100)
    data = np.zeros(8, "<f4").tobytes()
    keys = [f"k{row}" for row in range(100)]
    for key in keys:
        segment.append(key.encode(), data, b"{}", 1)
    knowledge_base.load([(segment, keys)])
    for key in keys[:60]:
        knowledge_base.remove(key)
    keeper = SegmentKeeper(knowledge_base, log)
    running = asyncio.ensure_future(keeper.run())
    keeper.note_applied(2)
    await log.comes("reclaim.failed")
    assert knowledge_base.is_reclaim_due
    assert len(knowledge_base) == 40
    keeper.close()
    await within(running)
