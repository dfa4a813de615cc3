"""Stores that earlier versions wrote, which every later one reads.

`tests/data/before-checkpoints` was written by the version that had no retention, restore, or
compression yet (commit 988f858): two stores, one of each snapshot format, that were killed with two
checkpoints and a journal after them; and their state, saved. None of it is ever made anew.
"""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

import penin
from penin import OmegaMetaOrchestrator
from penin.runtime.convert import convert
from tests.runtime.stores import seen

BEFORE = Path(__file__).parent.parent / "data" / "before-checkpoints"
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


@pytest.mark.parametrize(("seq", "knowledge", "last_task"), [(13, 8, 6), (16, 7, 6)])
def test_an_old_checkpoint_is_read(store, tmp_path, seq, knowledge, last_task):
    (path,) = (store / "checkpoints").glob(f"{seq:020}-*")
    converted = convert(path, tmp_path / "new")
    assert (converted.seq, converted.knowledge_base_size) == (seq, knowledge)
    assert penin.load(tmp_path / "new").task_history[-1]["generation"] == last_task
