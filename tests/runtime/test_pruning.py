"""Pruning a store that goes on being written to."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

import penin
from penin import Ack, NumericVectorArtifact
from penin.errors import ClosedError, StorageFullError
from tests.fakes.crashable_filesystem import CrashableFileSystem
from tests.runtime.stores import (
    GatedFileSystem,
    open_on,
    pending,
    seen,
    state_on,
    until,
    within,
)

ONE = NumericVectorArtifact([1.0])


async def test_what_is_changed_while_it_goes_on_stays():
    fs = GatedFileSystem()
    async with open_on(fs) as orchestrator:
        await orchestrator.extend_knowledge(["a", "b", "c"], np.ones((3, 1)))
        gate = fs.hold("sync_file")
        changing = await pending(orchestrator.add_knowledge("b", ONE))
        await until(gate.reached)
        pruning = asyncio.ensure_future(orchestrator.prune_knowledge(before_seq=2))
        gate.open()
        assert await within(changing) == Ack(2)
        assert await within(pruning) == 2
        assert list(orchestrator.view.knowledge_base) == ["b"]
        shown, killed = seen(orchestrator.view), fs.inner.after_kill()
    assert seen(state_on(killed)) == shown


async def test_more_than_a_mailbox_holds_is_pruned():
    settings: dict[str, Any] = {"mailbox_messages_max": 8, "batch_messages_max": 16}
    async with open_on(CrashableFileSystem(), **settings) as orchestrator:
        keys = [str(number) for number in range(1000)]
        await orchestrator.extend_knowledge(keys, np.ones((1000, 2)))
        assert await within(orchestrator.prune_knowledge(prefix="")) == 1000
        assert len(orchestrator.view.knowledge_base) == 0
        assert orchestrator.applied_seq == 1001


async def test_out_of_a_mapped_snapshot_it_is_the_same():
    fs = CrashableFileSystem()
    async with open_on(fs, format="safetensors") as orchestrator:
        await orchestrator.extend_knowledge(["a", "b"], np.ones((2, 3)))
        await orchestrator.add_knowledge("c", ONE)
    async with open_on(fs, format="safetensors") as orchestrator:
        assert await orchestrator.prune_knowledge(before_seq=2) == 2
        assert list(orchestrator.view.knowledge_base) == ["c"]


async def test_a_store_that_is_full_of_bytes_can_be_pruned():
    async with open_on(CrashableFileSystem(), max_store_bytes=2000) as orchestrator:
        for number in range(100):
            try:
                await orchestrator.add_knowledge(f"k-{number}", ONE)
            except StorageFullError:
                break
        assert number > 2
        assert await orchestrator.prune_knowledge(prefix="k-") == number


async def test_where_it_is_closed_it_says_so():
    async with open_on(CrashableFileSystem()) as orchestrator:
        pass
    with pytest.raises(ClosedError):
        await orchestrator.prune_knowledge(prefix="")


def test_it_works_without_await_too():
    with penin.open_sync(":memory:") as orchestrator:
        orchestrator.extend_knowledge(["a", "b"], np.ones((2, 1)))
        assert orchestrator.prune_knowledge(prefix="a") == 1
