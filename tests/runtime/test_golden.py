"""Stores that earlier versions wrote, which every later one reads.

`tests/data/before-checkpoints` was written by the version that had no retention, restore, or
compression yet (commit 988f858): two stores, one of each snapshot format, that were killed with two
checkpoints and a journal after them; and their state, saved.

`tests/data/with-rebase` was written by the first version with migrations: the same two, brought to
schema version 2 and killed after two further transitions, so that a replay reads the sealed
snapshot of the rebase; and their state, saved. None of all this is ever made anew.
"""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

import penin
from penin import OmegaMetaOrchestrator
from penin.core.tensors import TENSORS_VERSION
from penin.runtime.convert import convert
from penin.runtime.inspect import inspect_file
from penin.runtime.past import state_at
from tests.runtime.stores import seen

DATA = Path(__file__).parent.parent / "data"
BEFORE = DATA / "before-checkpoints"
WITH_REBASE = DATA / "with-rebase"
FORMATS = ["json", "safetensors"]


@pytest.fixture(params=FORMATS)
def store(request, tmp_path: Path) -> Path:
    """A copy to work on."""
    return shutil.copytree(BEFORE / f"store-{request.param}", tmp_path / "store")


@pytest.fixture
def expected() -> str:
    """All that a reader sees, NaN and the types of numbers included."""
    orchestrator = OmegaMetaOrchestrator()
    orchestrator.load_state(BEFORE / "expected.json")
    return repr(seen(orchestrator))


def test_an_old_store_is_read(store, expected):
    before = {path: path.read_bytes() for path in store.rglob("*") if path.is_file()}
    assert repr(seen(penin.load(store))) == expected
    assert {path: path.read_bytes() for path in store.rglob("*") if path.is_file()} == before


async def test_an_old_store_is_opened_and_goes_on(store, expected):
    async with penin.open(store) as orchestrator:
        assert repr(seen(orchestrator.view)) == expected
        assert orchestrator.applied_seq == 24
        await orchestrator.add_score(0.75)
        await orchestrator.checkpoint()
    again = await asyncio.to_thread(penin.load, store)
    assert again.score_history[-1] == 0.75


async def test_old_tensors_say_their_version_and_the_next_snapshot_is_of_the_one_written_now(
    tmp_path,
):
    store = await asyncio.to_thread(
        shutil.copytree, BEFORE / "store-safetensors", tmp_path / "store"
    )
    path = store / "state.safetensors"
    assert (await asyncio.to_thread(inspect_file, path)).version == 1
    async with penin.open(store) as orchestrator:
        await orchestrator.add_score(0.75)
        await orchestrator.checkpoint()
    assert (await asyncio.to_thread(inspect_file, path)).version == TENSORS_VERSION


@pytest.mark.parametrize(("seq", "knowledge", "last_task"), [(13, 8, 6), (16, 7, 6)])
def test_an_old_checkpoint_is_read(store, tmp_path, seq, knowledge, last_task):
    (path,) = (store / "checkpoints").glob(f"{seq:020}-*")
    converted = convert(path, tmp_path / "new")
    assert (converted.seq, converted.knowledge_base_size) == (seq, knowledge)
    assert penin.load(tmp_path / "new").task_history[-1]["generation"] == last_task


@pytest.fixture(params=FORMATS)
def rebased(request, tmp_path: Path) -> Path:
    """A copy to work on."""
    return shutil.copytree(WITH_REBASE / f"store-{request.param}", tmp_path / "store")


async def test_a_store_with_a_rebase_is_replayed_without_the_functions(rebased):
    expected = OmegaMetaOrchestrator()
    assert await asyncio.to_thread(expected.load_state, WITH_REBASE / "expected.json")
    async with penin.open(rebased, schema_version=2) as orchestrator:
        assert repr(seen(orchestrator.view)) == repr(seen(expected))
        assert list(orchestrator.view.knowledge_base) == list(expected.knowledge_base)
        assert (orchestrator.applied_seq, orchestrator.view.schema_version) == (17, 2)
        await orchestrator.add_score(0.75)
    again = await asyncio.to_thread(penin.load, rebased)
    assert (again.seq, again.schema_version) == (18, 2)


def test_the_past_of_a_store_with_a_rebase_is_read(rebased):
    before = state_at(rebased, seq=14).state
    assert before.schema_version == 0
    assert dict(before.documents) == {"offset": 10, "old": True, "kept": None}
    assert state_at(rebased, seq=15).state.schema_version == 2
