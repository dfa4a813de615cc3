"""Approximate recall through an open store, with indexes that come and go meanwhile."""

from __future__ import annotations

import asyncio
import os
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import penin
from penin.core import NumericVectorArtifact
from penin.core.nearest import Found
from penin.errors import RefusedValueError, UsageError
from penin.runtime import indexer as module
from penin.runtime.index_build import IndexBuild
from penin.runtime.index_files import IndexKind
from tests.fakes.crashable_filesystem import CrashableFileSystem
from tests.runtime.indexes import (
    DIMENSION,
    METRICS,
    NAME,
    BuildHere,
    asked,
    built,
    index_of,
    keys_of,
    names,
    running_on,
    vectors,
)
from tests.runtime.stores import open_on


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Indexes of few vectors too, built here, and no pause after a failure."""
    monkeypatch.setattr(module, "NEWER_MIN", 10)
    monkeypatch.setattr(module, "RETRY_MIN_S", 0.0)
    monkeypatch.setattr(module, "IndexBuild", BuildHere)


@pytest.fixture
def children(monkeypatch, small):
    """Real children build."""
    monkeypatch.setattr(module, "IndexBuild", IndexBuild)


@pytest.fixture
def searched(monkeypatch):
    """How many vectors each search looked at exactly."""
    counts = []
    original = Found.search

    def counting(found, after_seq=None):
        original(found, after_seq)
        counts.append(found.searched_count)

    monkeypatch.setattr(Found, "search", counting)
    return counts


@pytest.fixture
async def running(tmp_path):
    async with running_on(tmp_path / "store") as opened:
        data = [{"n": number} for number in range(500)]
        await opened.orchestrator.extend_knowledge(names(500), vectors(500), data)
        yield opened


@pytest.mark.usefixtures("children")
@pytest.mark.parametrize("metric", METRICS)
async def test_most_of_the_nearest_are_found_without_looking_at_every_vector(
    running, searched, metric
):
    await built(running, metric)
    (event,) = running.log.of("index.built")
    assert event["seconds"] > 0
    about = {"metric": metric, "dimension": DIMENSION, "seq": 1, "count": 500}
    assert event == {**about, "seconds": event["seconds"]}
    hits = 0
    for query in vectors(20, seed=2):
        exact = await running.orchestrator.nearest(query, 10, metric)
        del searched[:]
        found = await running.orchestrator.nearest(query, 10, metric, approximate=True)
        assert searched == [0]
        assert len(found) == 10
        scores = {each.key: each for each in exact}
        assert all(scores.get(each.key, each) == each for each in found)
        assert found == sorted(found, key=lambda each: each.score, reverse=metric != "euclidean")
        hits += len(set(keys_of(exact)) & set(keys_of(found)))
    assert hits >= 190


async def test_before_there_is_an_index_it_is_exact(running):
    exact = await running.orchestrator.nearest(vectors(1, 2)[0], 7)
    assert await asked(running, 7) == exact


async def test_what_changed_after_the_index_is_found_as_it_is_now(running, searched):
    await built(running)
    query = vectors(1, 2)[0]
    first, second, third = keys_of(await asked(running, 3))
    orchestrator = running.orchestrator
    await orchestrator.remove_knowledge(first)
    await orchestrator.add_knowledge(second, NumericVectorArtifact(-query))
    await orchestrator.add_knowledge("new", NumericVectorArtifact(query.astype(float)))
    del searched[:]
    found = await asked(running, 12)
    assert searched == [2]
    assert keys_of(found)[:2] == ["new", third]
    assert not {first, second} & set(keys_of(found))


async def test_it_is_brought_up_to_date_when_much_is_newer(running, searched):
    await built(running)
    await running.orchestrator.extend_knowledge(names(100, 450), vectors(100, seed=6))
    del searched[:]
    await built(running)
    await asked(running)
    assert searched == [100, 0]
    # What was replaced stays in it for now.
    assert running.log.of("index.built")[1]["count"] == 600


async def test_it_is_built_anew_when_most_of_it_is_gone(running):
    await built(running)
    for key in names(400):
        running.orchestrator.send_nowait({"type": "remove_knowledge", "key": key})
    await running.orchestrator.add_score(0.0)
    await built(running)
    assert running.log.of("index.built")[1]["count"] == 100
    assert set(keys_of(await asked(running, 200))) == set(names(100, 400))


async def test_where_filters_and_what_lets_few_through_is_exact(running):
    await built(running)
    query = vectors(1, 2)[0]
    for wanted in ([17], list(range(0, 500, 2)), list(range(0, 500, 10))):
        where = {"n": wanted}
        exact = await running.orchestrator.nearest(query, 5, where=where)
        assert await asked(running, 5, where=where) == exact


async def test_all_are_found_when_as_many_are_asked_for(running):
    await built(running)
    for k in (200, 500, 10_000):
        exact = await running.orchestrator.nearest(vectors(1, 2)[0], k)
        assert await asked(running, k) == exact


async def test_a_few_vectors_have_no_index_and_what_is_refused_is_refused(running):
    orchestrator = running.orchestrator
    await orchestrator.extend_knowledge(["x", "y"], np.eye(2))
    assert keys_of(await orchestrator.nearest([0.0, 1.0], 1, approximate=True)) == ["y"]
    with pytest.raises(RefusedValueError, match="vectors of 2, 16"):
        await orchestrator.nearest([1.0], approximate=True)
    await built(running)
    for key in names(500):
        orchestrator.send_nowait({"type": "remove_knowledge", "key": key})
    await orchestrator.add_score(0.0)
    with pytest.raises(RefusedValueError, match="vectors of 2"):
        await asked(running)
    assert [path.name for path in index_of(running).iterdir()] == [NAME]


@pytest.mark.usefixtures("children")
@pytest.mark.parametrize(
    "chosen", [{"format": "json"}, {"format": "safetensors", "fsync": "everysec"}]
)
async def test_the_next_opening_asks_the_index_of_the_last(tmp_path, searched, chosen):
    async with running_on(tmp_path, **chosen) as running:
        await running.orchestrator.extend_knowledge(names(300), vectors(300))
        await running.orchestrator.checkpoint()
        await running.orchestrator.extend_knowledge(names(100, 300), vectors(100, 3))
        await built(running)
        await running.orchestrator.add_knowledge("later", NumericVectorArtifact(vectors(1)[0]))
    async with running_on(tmp_path, **chosen) as running:
        await built(running, event="index.loaded")
        about = {"metric": "cosine", "dimension": DIMENSION, "seq": 2, "count": 400}
        assert running.log.of("index.loaded") == [about]
        del searched[:]
        assert len(await asked(running)) == 10
        assert searched == [1]
        assert running.log.of("index.built") == []


async def test_an_index_that_is_damaged_or_of_the_future_is_built_again(tmp_path):
    async with running_on(tmp_path) as running:
        await running.orchestrator.extend_knowledge(names(100), vectors(100))
        await built(running)
    path = tmp_path / "index" / NAME
    whole = path.read_bytes()
    damaged = [
        b"",
        whole[:-1],
        whole[:100] + b"\0" + whole[101:],
        whole.replace(b'"seq":1', b'"seq":9'),
    ]
    for data in damaged:
        path.write_bytes(data)
        async with running_on(tmp_path) as running:
            exact = await running.orchestrator.nearest(vectors(1, 2)[0], 10)
            assert await asked(running) == exact
            await running.log.comes("index.built")
            assert await asked(running) == exact
            (dropped,) = running.log.of("index.dropped")
            assert dropped["path"] == str(path)
        assert path.read_bytes() != data


async def test_what_an_earlier_process_did_not_finish_is_removed(tmp_path):
    async with running_on(tmp_path) as running:
        await running.orchestrator.extend_knowledge(names(100), vectors(100))
    (tmp_path / "index").mkdir()
    (tmp_path / "index" / "cosine-16.index.tmp-1").write_bytes(b"half of it")
    async with running_on(tmp_path) as running:
        await built(running)
        assert [path.name for path in (tmp_path / "index").iterdir()] == ["cosine-16.index"]


async def test_after_failures_it_waits_longer_and_longer(running, monkeypatch):
    monkeypatch.setattr(module, "RETRY_MIN_S", 100.0)
    monkeypatch.setattr(BuildHere, "run", lambda self: "no luck")
    now_s = [1000.0]
    monkeypatch.setattr(module, "_now_s", lambda: now_s[0])
    for delay_s in (100.0, 200.0, 300.0, 300.0):
        await asked(running)
        failed = len(running.log.of("index.failed")) + 1
        await running.log.comes("index.failed", failed)
        assert running.log.of("index.failed")[-1]["delay_s"] == delay_s
        now_s[0] += delay_s - 1
        await asked(running)
        assert len(running.log.of("index.failed")) == failed
        now_s[0] += 1


async def test_without_usearch_the_error_names_the_extra(running, monkeypatch):
    monkeypatch.setitem(sys.modules, "usearch.index", None)
    with pytest.raises(UsageError, match=r"pip install 'penin\[index\]'"):
        await asked(running)
    assert len(await running.orchestrator.nearest(vectors(1)[0])) == 10


async def test_in_memory_and_on_another_file_system_it_is_exact():
    for opening in (penin.open(":memory:"), open_on(CrashableFileSystem())):
        async with opening as orchestrator:
            await orchestrator.extend_knowledge(names(100), vectors(100))
            query = vectors(1, 2)[0]
            for _ in range(2):
                found = await orchestrator.nearest(query, 5, approximate=True)
                assert found == await orchestrator.nearest(query, 5)


def test_without_await(tmp_path):
    with penin.open_sync(tmp_path) as orchestrator:
        orchestrator.extend_knowledge(["x", "y"], np.eye(2))
        assert orchestrator.nearest([1.0, 0.0], k=1, approximate=True)[0].key == "x"


operations = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.integers(0, 30), st.integers(1, 15)),
        st.tuples(st.just("remove"), st.integers(0, 40)),
        st.tuples(st.sampled_from(["build", "checkpoint", "reopen"])),
        st.tuples(st.just("ask"), st.integers(0, 99), st.sampled_from([1, 3, 60])),
    ),
    min_size=4,
    max_size=12,
)


class Lives:
    """A store that is opened again and again, until all operations were made."""

    def __init__(self, directory, operations, metric):
        self.directory = directory
        self.rest = operations
        self.kind = IndexKind(metric, DIMENSION)

    async def live(self):
        """Make operations until one asks for the next opening."""
        async with running_on(self.directory) as self.running:
            self.orchestrator = self.running.orchestrator
            while self.rest:
                name, *arguments = self.rest.pop(0)
                if name == "reopen":
                    return
                await getattr(self, name)(*arguments)

    async def put(self, first, count):
        await self.orchestrator.extend_knowledge(names(count, first), vectors(count, first))

    async def remove(self, number):
        await self.orchestrator.remove_knowledge(f"k{number}")

    async def checkpoint(self):
        await self.orchestrator.checkpoint()

    async def build(self):
        indexer = self.orchestrator._indexer
        indexer._want(self.kind)
        while indexer._waiting:  # noqa: ASYNC110  # a build in a thread, and nobody tells
            await asyncio.sleep(0)

    async def ask(self, seed, k):
        base = self.orchestrator.view.knowledge_base
        if not base:
            return
        kept = self.orchestrator._indexer._indexes.get(self.kind)
        covered = kept.index.seq if kept else 0
        metric = self.kind.metric
        everything = await self.orchestrator.nearest(vectors(1, seed)[0], 1000, metric)
        found = await asked(self.running, k, seed, metric=metric)
        assert found == [each for each in everything if each in found]
        assert len(found) == min(k, len(everything))
        newer = [each for each in everything[:k] if base.seq_of(each.key) > covered]
        assert all(each in found for each in newer)


@settings(max_examples=200 if os.environ.get("PENIN_TESTS") == "long" else 8)
@given(operations=operations, metric=st.sampled_from(METRICS))
def test_whatever_happened_what_is_found_is_there_now_and_nothing_newer_is_missed(
    tmp_path_factory, operations, metric
):
    lives = Lives(tmp_path_factory.mktemp("stores"), [*operations, ("ask", 1, 3)], metric)
    while lives.rest:
        asyncio.run(lives.live())
