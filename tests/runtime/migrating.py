"""A store to be migrated, the functions for it, and what it holds before and after."""

from __future__ import annotations

import time
from typing import Any

import pytest

from penin import Draft, NumericVectorArtifact
from penin.core.migration import Schema
from penin.core.snapshots import Envelope, encode_snapshot
from penin.core.state import State
from penin.runtime.recovery import recover
from penin.runtime.store import store_at
from penin.settings import Settings
from penin.storage.sealed import SEALED_DIRECTORY
from tests.fakes.crashable_filesystem import CrashableFileSystem
from tests.runtime.stores import STORE, open_on, state_on

SEALED = STORE / SEALED_DIRECTORY
FORMATS = ["json", "safetensors"]


def to_1(draft: Draft) -> None:
    draft.documents["offset"] = {"line": draft.documents["offset"]}


def to_2(draft: Draft) -> None:
    for task in draft.tasks:
        task["title"] = task.pop("name")
    draft.map_metadata(lambda key, metadata: {**metadata, "key": key} if key < "b" else metadata)


def not_run(_draft: Draft) -> None:
    pytest.fail("it ran")


SCHEMA = Schema(2, {0: to_1, 1: to_2})


async def fill(orchestrator: Any) -> None:
    for key in ("a", "b"):
        await orchestrator.add_knowledge(key, NumericVectorArtifact([0.5, 1.5], {"run": 7}))
    await orchestrator.add_task({"name": "first"})
    await orchestrator.add_score(float("nan"))
    await orchestrator.put_document("offset", 10)
    await orchestrator.put_document("big", 2**80)


async def killed(format_: str = "json", *, checkpoint: bool = True) -> CrashableFileSystem:
    """A store of version 0 with a snapshot and a journal after it."""
    fs = CrashableFileSystem()
    async with open_on(fs, format=format_) as orchestrator:
        await fill(orchestrator)
        if checkpoint:
            await orchestrator.checkpoint()
        await orchestrator.add_task({"name": "second"})
        return fs.after_kill()


def bits(state: State) -> bytes:
    """All of a state, in its order."""
    return b"".join(encode_snapshot(state.view(), Envelope()))


def state_of(orchestrator: Any) -> State:
    state: State = orchestrator._actor.state
    return state


def on_disk(fs: CrashableFileSystem) -> bytes:
    return bits(state_on(fs)._state)


def check_migrated(reader: Any) -> None:
    assert reader.schema_version == 2
    assert reader.get_document("offset") == {"line": 10}
    assert [task["title"] for task in reader.task_history] == ["first", "second"]
    metadata = {key: artifact.metadata for key, artifact in reader.knowledge_base.items()}
    assert metadata == {"a": {"run": 7, "key": "a"}, "b": {"run": 7}}


def recovering(fs: CrashableFileSystem, schema: Schema | None = None, stop: Any = None) -> Any:
    store = store_at(STORE, Settings(), fs)
    store.prepare(0.0, time.sleep)
    try:
        return recover(store, Settings(), stop or (lambda: False), schema)
    finally:
        store.release()
