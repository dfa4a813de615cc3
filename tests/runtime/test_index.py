"""Approximate recall: an index behind an open store, which may miss some and never gives wrong."""

from __future__ import annotations

import sys
from typing import get_args

import msgspec
import numpy as np
import pytest

import penin
from penin.core import NumericVectorArtifact
from penin.core import approximate as core
from penin.core import nearest as module
from penin.core.nearest import Metric
from penin.errors import RefusedValueError, UsageError
from penin.runtime import index as runtime
from tests.runtime.stores import within

DIMENSION = 16
METRICS: tuple[Metric, ...] = get_args(Metric)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Indexes of few rows, too."""
    monkeypatch.setattr(runtime, "NEWER_MIN", 10)


def vectors(count, seed=1):
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(0).standard_normal((20, DIMENSION))
    noise = random.standard_normal((count, DIMENSION)) * 0.2
    return (centres[random.integers(0, 20, count)] + noise).astype(np.float32)


def names(count, start=0):
    return [f"k{number}" for number in range(start, start + count)]


def keys_of(found):
    return [each.key for each in found]


async def built(orchestrator, metric="cosine"):
    """Ask once, and wait until what that began has ended."""
    await orchestrator.nearest(vectors(1)[0], 1, metric, approximate=True)
    await within(orchestrator._indexes.refreshed())


@pytest.fixture
async def orchestrator():
    async with penin.open(":memory:") as opened:
        await opened.extend_knowledge(names(1000), vectors(1000), [{"n": n} for n in range(1000)])
        yield opened


@pytest.fixture
def searched(monkeypatch):
    """How many rows each search looked at exactly."""
    counts = []
    original = module.nearest_after

    def counting(*arguments):
        found, count = original(*arguments)
        counts.append(count)
        return found, count

    monkeypatch.setattr(module, "nearest_after", counting)
    monkeypatch.setattr(core, "nearest_after", counting)
    return counts


@pytest.mark.parametrize("metric", METRICS)
async def test_it_finds_most_of_the_nearest_without_looking_at_every_row(
    orchestrator, searched, metric
):
    await built(orchestrator, metric)
    hits = 0
    for query in vectors(20, seed=2):
        exact = await orchestrator.nearest(query, 10, metric)
        del searched[:]
        found = await orchestrator.nearest(query, 10, metric, approximate=True)
        assert searched == [0]
        assert len(found) == 10
        scores = {each.key: each.score for each in exact}
        assert all(scores.get(each.key, each.score) == each.score for each in found)
        ordered = sorted(found, key=lambda each: each.score, reverse=metric != "euclidean")
        assert found == ordered
        hits += len(set(keys_of(exact)) & set(keys_of(found)))
    assert hits >= 190


async def test_before_there_is_an_index_it_is_exact(orchestrator):
    query = vectors(1, seed=3)[0]
    exact = await orchestrator.nearest(query, 7)
    assert await orchestrator.nearest(query, 7, approximate=True) == exact


async def test_removed_and_replaced_keys_are_not_found(orchestrator, searched):
    await built(orchestrator)
    query = vectors(1, seed=4)[0]
    nearest = keys_of(await orchestrator.nearest(query, 3, approximate=True))
    await orchestrator.remove_knowledge(nearest[0])
    await orchestrator.add_knowledge(nearest[1], NumericVectorArtifact(-query))
    del searched[:]
    found = await orchestrator.nearest(query, 10, approximate=True)
    assert searched == [1]
    assert nearest[0] not in keys_of(found)
    assert nearest[1] not in keys_of(found)
    assert keys_of(found)[0] == nearest[2]


async def test_what_is_newer_than_the_index_is_found(orchestrator):
    await built(orchestrator)
    query = vectors(1, seed=5)[0]
    await orchestrator.add_knowledge("new", NumericVectorArtifact(query))
    await orchestrator.add_knowledge("k5", NumericVectorArtifact(query * 2))
    found = await orchestrator.nearest(query, 2, approximate=True)
    assert {(each.key, round(each.score, 6)) for each in found} == {("new", 1.0), ("k5", 1.0)}


async def test_it_is_extended_when_much_is_newer(orchestrator, searched):
    await built(orchestrator)
    await orchestrator.extend_knowledge(names(500, 1000), vectors(500, seed=6))
    del searched[:]
    await built(orchestrator)
    await built(orchestrator)
    assert searched == [500, 0]


async def test_it_is_built_anew_when_most_of_it_is_gone(orchestrator, searched):
    await built(orchestrator)
    for key in names(900):
        orchestrator.send_nowait({"type": "remove_knowledge", "key": key})
    await orchestrator.extend_knowledge(names(60, 2000), vectors(60, seed=7))
    await built(orchestrator)
    kept = orchestrator._indexes._indexes[DIMENSION, "cosine"]
    assert len(kept.index) == 160
    del searched[:]
    found = await orchestrator.nearest(vectors(1)[0], 160, approximate=True)
    assert searched == [0]
    assert set(keys_of(found)) == set(names(100, 900)) | set(names(60, 2000))


async def test_where_filters_and_a_filter_that_lets_few_through_is_exact(orchestrator):
    await built(orchestrator)
    query = vectors(1, seed=8)[0]
    for wanted in ([17], list(range(0, 1000, 2))):
        where = {"n": wanted}
        exact = await orchestrator.nearest(query, 5, where=where)
        found = await orchestrator.nearest(query, 5, where=where, approximate=True)
        assert len(found) == len(exact)
        assert {each.artifact.metadata["n"] for each in found} <= set(wanted)
        if len(wanted) == 1:
            assert found == exact


async def test_a_reclaim_does_not_lose_what_is_indexed(orchestrator):
    await built(orchestrator)
    knowledge_base = orchestrator.view.knowledge_base
    for number in range(0, 1000, 2):
        orchestrator.send_nowait({"type": "remove_knowledge", "key": f"k{number}"})
    await orchestrator.add_score(0.0)
    while (plan := knowledge_base.reclaim_plan()) is not None:
        plan.copy()
        knowledge_base.adopt(plan)
    found = await orchestrator.nearest(vectors(1)[0], 10, approximate=True)
    assert len(found) == 10
    assert all(each.key in knowledge_base for each in found)


async def test_awkward_numbers_are_indexed_and_found():
    async with penin.open(":memory:") as orchestrator:
        huge = np.full((40, 3), 1e300) * np.arange(1, 41)[:, None]
        tiny = np.full((40, 3), 5e-324)
        zeros = np.zeros((40, 3))
        wide = np.full((40, 3), 2**63 - 1)
        for number, matrix in enumerate([huge, tiny, zeros, wide]):
            await orchestrator.extend_knowledge(names(40, 100 * number), matrix)
        for metric in METRICS:
            await orchestrator.nearest(huge[0], 1, metric, approximate=True)
            await within(orchestrator._indexes.refreshed())
            found = await orchestrator.nearest(huge[0], 160, metric, approximate=True)
            assert len(set(keys_of(found))) == 160


async def test_a_base_of_few_has_no_index():
    async with penin.open(":memory:") as orchestrator:
        assert await orchestrator.nearest([1.0], approximate=True) == []
        await orchestrator.extend_knowledge(["x", "y"], np.eye(2))
        assert keys_of(await orchestrator.nearest([0.0, 1.0], 1, approximate=True)) == ["y"]
        assert not orchestrator._indexes._indexes
        with pytest.raises(RefusedValueError, match="vectors of 2"):
            await orchestrator.nearest([1.0], approximate=True)


async def test_for_many_results_it_is_exact(orchestrator, searched, monkeypatch):
    await built(orchestrator)
    monkeypatch.setattr(runtime, "K_MAX", 4)
    query = vectors(1)[0]
    assert await orchestrator.nearest(query, 5, approximate=True) == await orchestrator.nearest(
        query, 5
    )


async def test_what_stops_the_building_is_raised_once_and_it_is_tried_again(
    orchestrator, monkeypatch
):
    def fail(*_):
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(core.VectorIndex, "extend", fail)
        await built(orchestrator)
    query = vectors(1)[0]
    with pytest.raises(MemoryError):
        await orchestrator.nearest(query, approximate=True)
    await built(orchestrator)
    assert len(await orchestrator.nearest(query, approximate=True)) == 10


async def test_closing_does_not_wait_for_an_index_to_be_built(monkeypatch):
    def build_until_stopped(self, view, seq, lock, is_stopping):
        while not is_stopping():
            pass
        return False

    monkeypatch.setattr(core.VectorIndex, "extend", build_until_stopped)
    async with penin.open(":memory:") as orchestrator:
        await orchestrator.extend_knowledge(names(100), vectors(100))
        await orchestrator.nearest(vectors(1)[0], approximate=True)
    kept = orchestrator._indexes._indexes[DIMENSION, "cosine"]
    assert kept.task is None
    assert kept.index.seq == 0


async def test_without_usearch_the_error_names_the_extra(orchestrator, monkeypatch):
    monkeypatch.setitem(sys.modules, "usearch.index", None)
    with pytest.raises(UsageError, match=r"pip install 'penin\[index\]'"):
        await orchestrator.nearest(vectors(1)[0], approximate=True)


def test_without_await():
    with penin.open_sync(":memory:") as orchestrator:
        orchestrator.extend_knowledge(["x", "y"], np.eye(2))
        assert orchestrator.nearest([1.0, 0.0], k=1, approximate=True)[0].key == "x"


# -- on disk -------------------------------------------------------------------------------------


@pytest.fixture
async def saved(tmp_path):
    """The directory of a store that was closed after its index was saved."""
    async with penin.open(tmp_path / "store") as orchestrator:
        await orchestrator.extend_knowledge(names(500), vectors(500))
        await built(orchestrator)
    return tmp_path / "store"


async def opened_again(directory, searched):
    """How many rows a second search looks at, after a first one that asks for the index."""
    async with penin.open(directory) as orchestrator:
        await built(orchestrator)
        kept = orchestrator._indexes._indexes[DIMENSION, "cosine"]
        before = kept.index.seq
        del searched[:]
        found = await orchestrator.nearest(vectors(1)[0], 5, approximate=True)
        assert len(found) == 5
        return before, searched[0]


async def test_the_next_opening_loads_it(saved, searched, monkeypatch):
    monkeypatch.setattr(core.VectorIndex, "extend", None)  # it is not built
    assert await opened_again(saved, searched) == (1, 0)


async def test_one_that_was_loaded_is_built_anew_when_much_is_newer(saved, searched):
    async with penin.open(saved) as orchestrator:
        await built(orchestrator)
        await orchestrator.extend_knowledge(names(300, 500), vectors(300, seed=9))
        await built(orchestrator)
        del searched[:]
        await built(orchestrator)
        assert searched == [0]
    assert await opened_again(saved, searched) == (2, 0)


async def test_files_that_are_damaged_or_gone_are_made_again(saved, searched):
    for path in sorted((saved / "index").iterdir()):
        whole = path.read_bytes()
        for damaged in (whole[: len(whole) // 2], whole[:-9] + b"damaged!!", b""):
            path.write_bytes(damaged)
            assert await opened_again(saved, searched) == (1, 0)
        path.unlink()
        assert await opened_again(saved, searched) == (1, 0)


async def test_an_index_of_another_store_is_not_taken(saved, searched):
    card = saved / "index" / f"cosine-{DIMENSION}.json"
    content = msgspec.json.decode(card.read_bytes())
    assert content["seq"] == 1
    card.write_bytes(msgspec.json.encode({**content, "store": "another", "seq": 99}))
    assert (await opened_again(saved, searched)) == (1, 0)
    card.write_bytes(msgspec.json.encode({**content, "seq": 99}))
    assert (await opened_again(saved, searched)) == (1, 0)


async def test_its_files_are_its_owners_alone(saved):
    modes = {path.name: path.stat().st_mode & 0o777 for path in (saved / "index").iterdir()}
    stem = f"cosine-{DIMENSION}"
    assert modes == {f"{stem}.graph": 0o600, f"{stem}.rows": 0o600, f"{stem}.json": 0o600}


async def test_a_link_is_not_followed(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    async with penin.open(tmp_path / "store") as orchestrator:
        (tmp_path / "store" / "index").symlink_to(tmp_path / "elsewhere")
        await orchestrator.extend_knowledge(names(100), vectors(100))
        await built(orchestrator)
    assert not list((tmp_path / "elsewhere").iterdir())
