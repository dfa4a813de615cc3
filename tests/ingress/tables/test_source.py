"""A table on its way into a store: in blocks, resumed where it was durable."""

from __future__ import annotations

import asyncio

import anyio
import numpy as np
import pytest

import penin
from penin.core import NumericVectorArtifact
from penin.errors import ClosedError, StorageFullError, TableError
from penin.ingress.tables import table as table_module
from penin.ingress.tables.opening import open_table
from penin.ingress.tables.source import PROGRESS_PREFIX, TableSource, progress_name
from penin.logs import SilentLog
from tests.core.strategies import exactly_equal
from tests.ingress.tables.samples import base, written

BLOCK_ROWS = 10


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(table_module, "BLOCK_ROWS_MAX", BLOCK_ROWS)


@pytest.fixture
def knowledge_base():
    return base(95)


@pytest.fixture
def table(tmp_path, knowledge_base):
    return written(tmp_path / "rows.npy", knowledge_base)


class Failing:
    """An orchestrator that stops taking rows after so many blocks."""

    def __init__(self, orchestrator, blocks, error):
        self._orchestrator = orchestrator
        self._blocks = blocks
        self._error = error

    def __getattr__(self, name):
        return getattr(self._orchestrator, name)

    async def extend_knowledge(self, *given):
        if self._blocks == 0:
            raise self._error
        self._blocks -= 1
        return await self._orchestrator.extend_knowledge(*given)


def progress_of(orchestrator):
    return {
        name: value
        for name, value in orchestrator.view.documents.items()
        if name.startswith(PROGRESS_PREFIX)
    }


async def sent(orchestrator, table, **options):
    """The source, after it has sent the table, and the positions that it went on from."""
    resumed = []

    async def note(position):
        resumed.append(position)

    source = TableSource(table, SilentLog(), resumed=note, **options)
    await source(orchestrator)
    return source, resumed


async def test_all_rows_are_stored_and_nothing_else_stays(table, knowledge_base):
    async with penin.open(":memory:") as orchestrator:
        source, resumed = await sent(orchestrator, table)
        assert source.is_complete
        assert (source.taken, resumed) == (95, [])
        assert source.last_seq is not None
        assert exactly_equal(orchestrator.view.knowledge_base, knowledge_base)
        assert not orchestrator.view.documents


@pytest.mark.parametrize("blocks", [0, 1, 5, 9])
async def test_interrupted_it_goes_on_where_it_was_durable(table, knowledge_base, blocks):
    async with penin.open(":memory:") as orchestrator:
        failing = Failing(orchestrator, blocks, StorageFullError("x", "full"))
        with pytest.raises(StorageFullError):
            await sent(failing, table)
        position = blocks * BLOCK_ROWS
        stored = [{"file": "rows.npy", "position": position}] if blocks else []
        assert list(progress_of(orchestrator).values()) == stored
        source, resumed = await sent(orchestrator, table)
        assert resumed == ([position] if blocks else [])
        assert source.taken == 95 - position
        assert exactly_equal(orchestrator.view.knowledge_base, knowledge_base)
        assert not orchestrator.view.documents


async def test_a_crash_at_any_block_is_gone_on_from(tmp_path, table, knowledge_base):
    for blocks in range(10):
        directory = tmp_path / f"store{blocks}"
        async with penin.open(directory) as orchestrator:
            failing = Failing(orchestrator, blocks, ClosedError("killed"))
            with pytest.raises(ClosedError):
                await sent(failing, table)
        async with penin.open(directory) as orchestrator:
            _, resumed = await sent(orchestrator, table)
            assert resumed == ([blocks * BLOCK_ROWS] if blocks else [])
            assert exactly_equal(orchestrator.view.knowledge_base, knowledge_base)


async def test_restart_begins_anew(table):
    async with penin.open(":memory:") as orchestrator:
        failing = Failing(orchestrator, 3, StorageFullError("x", "full"))
        with pytest.raises(StorageFullError):
            await sent(failing, table)
        source, resumed = await sent(orchestrator, table, restart=True)
        assert (source.taken, resumed) == (95, [])


@pytest.mark.parametrize("stored", [7, {"position": "x"}, {"position": -1}, {"other": 1}])
async def test_a_document_that_is_no_progress_is_none(table, stored):
    async with penin.open(":memory:") as orchestrator:
        name = await asyncio.to_thread(progress_name, table)
        await orchestrator.put_document(name, stored)
        source, resumed = await sent(orchestrator, table)
        assert (source.taken, resumed) == (95, [])


def test_another_content_has_a_progress_of_its_own(tmp_path, knowledge_base):
    path = tmp_path / "rows.npz"
    names = {progress_name(written(path, knowledge_base))}
    changed = knowledge_base | {"k50": NumericVectorArtifact(np.ones(3, "float32"))}
    names.add(progress_name(written(path, changed)))
    keys = tmp_path / "keys.txt"
    keys.write_text("".join(f"{key}\n" for key in knowledge_base))
    names.add(progress_name(open_table(path, keys)))
    keys.write_text("".join(f"{key}\n" for key in reversed(knowledge_base)))
    names.add(progress_name(open_table(path, keys)))
    assert len(names) == 4


@pytest.fixture
def bad_table(tmp_path):
    vectors = np.ones((30, 4), "float32")
    vectors[17, 3] = np.nan
    np.savez(tmp_path / "rows.npz", vectors=vectors, keys=np.array([f"k{n}" for n in range(30)]))
    return open_table(tmp_path / "rows.npz")


async def test_a_row_that_is_refused_ends_it_with_the_rows_before_it_stored(tmp_path, bad_table):
    async with penin.open(":memory:") as orchestrator:
        source, _ = await sent(orchestrator, bad_table)
        assert isinstance(source.refusal, TableError)
        said = f"{tmp_path / 'rows.npz'}: row 17: vector[3]: nan is not finite"
        assert str(source.refusal) == said
        assert not source.is_complete
        assert list(orchestrator.view.knowledge_base) == [f"k{n}" for n in range(10)]
        assert not orchestrator.view.documents


@pytest.fixture
def cut_table(tmp_path, knowledge_base):
    keys = tmp_path / "keys.txt"
    table = written(tmp_path / "rows.npy", knowledge_base, (keys, None))
    keys.write_text("k0\nk1\n")
    return table


async def test_a_file_that_changes_while_it_is_read_is_refused(cut_table):
    async with penin.open(":memory:") as orchestrator:
        source, _ = await sent(orchestrator, cut_table)
        assert "changed while it was read" in str(source.refusal)


class Slow:
    """An orchestrator whose first block takes until it is let go."""

    def __init__(self, orchestrator):
        self._orchestrator = orchestrator
        self.begun = asyncio.Event()
        self.released = asyncio.Event()

    def __getattr__(self, name):
        return getattr(self._orchestrator, name)

    async def extend_knowledge(self, *given):
        self.begun.set()
        await self.released.wait()
        return await self._orchestrator.extend_knowledge(*given)


async def test_cancelled_it_finishes_the_block_that_is_under_way(table):
    async with penin.open(":memory:") as orchestrator:
        slow = Slow(orchestrator)
        source = TableSource(table, SilentLog())
        async with anyio.create_task_group() as group:
            group.start_soon(source, slow)
            await slow.begun.wait()
            group.cancel_scope.cancel()
            slow.released.set()
        assert source.taken == BLOCK_ROWS
        assert not source.is_complete
        assert [value["position"] for value in progress_of(orchestrator).values()] == [BLOCK_ROWS]
