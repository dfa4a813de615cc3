"""Recall through an open store: of one moment, off the loop, and with nothing left behind."""

from __future__ import annotations

import asyncio
import threading

import numpy as np
import pytest

import penin
from penin.core import NumericVectorArtifact
from penin.core import nearest as module
from penin.errors import ClosedError, RefusedTypeError, RefusedValueError
from tests.fakes.crashable_filesystem import CrashableFileSystem
from tests.runtime.stores import open_on, until, within


@pytest.fixture
async def orchestrator():
    async with open_on(CrashableFileSystem()) as opened:
        yield opened


@pytest.fixture
def gate(monkeypatch):
    """Every search waits in its thread until `gate.opened` is set."""

    class Gate:
        reached = threading.Event()
        opened = threading.Event()
        passed = threading.Event()

    limits = module.merit_limits

    def held(*arguments):
        Gate.reached.set()
        Gate.opened.wait(20)
        Gate.passed.set()
        return limits(*arguments)

    monkeypatch.setattr(module, "merit_limits", held)
    yield Gate
    Gate.opened.set()


async def test_the_nearest_come_best_first_with_key_score_and_artifact(orchestrator):
    await orchestrator.extend_knowledge(["x", "y"], np.eye(2), [{"n": 1}, {"n": 2}])
    found = await orchestrator.nearest([0.0, 2.0])
    artifact = NumericVectorArtifact([0.0, 1.0], {"n": 2})
    assert found[0] == penin.Neighbour("y", 1.0, artifact)
    assert [each.key for each in found] == ["y", "x"]
    (only,) = await orchestrator.nearest([0.0, 2.0], 1, "euclidean", {"n": 1})
    assert (only.key, only.score) == ("x", np.sqrt(5.0))


async def test_it_shows_the_moment_of_the_call(orchestrator, gate):
    await orchestrator.add_knowledge("k", NumericVectorArtifact([1.0]))
    search = asyncio.ensure_future(orchestrator.nearest([1.0]))
    await until(gate.reached)
    await orchestrator.remove_knowledge("k")
    await orchestrator.add_knowledge("later", NumericVectorArtifact([1.0]))
    gate.opened.set()
    assert [each.key for each in await within(search)] == ["k"]


async def test_the_caller_may_change_its_vector_at_once(orchestrator, gate):
    await orchestrator.extend_knowledge(["x", "y"], np.eye(2))
    vector = np.array([1.0, 0.0])
    search = asyncio.ensure_future(orchestrator.nearest(vector, k=1))
    await until(gate.reached)
    vector[:] = [0.0, 1.0]
    gate.opened.set()
    assert (await within(search))[0].key == "x"


async def test_a_cancelled_search_is_not_waited_for(orchestrator, gate):
    await orchestrator.add_knowledge("k", NumericVectorArtifact([1.0]))
    search = asyncio.ensure_future(orchestrator.nearest([1.0]))
    await until(gate.reached)
    search.cancel()
    with pytest.raises(asyncio.CancelledError):
        await within(search)
    assert not gate.passed.is_set()
    await orchestrator.add_score(1.0)


async def test_it_is_refused_before_anything_runs(orchestrator):
    with pytest.raises(RefusedTypeError, match=r"^k: "):
        await orchestrator.nearest([1.0], k="all")
    assert await orchestrator.nearest([1.0]) == []
    await orchestrator.add_knowledge("k", NumericVectorArtifact([1.0, 2.0]))
    with pytest.raises(RefusedValueError, match=r"^vector: "):
        await orchestrator.nearest([1.0])


async def test_a_closed_store_is_not_searched():
    async with penin.open(":memory:") as orchestrator:
        pass
    with pytest.raises(ClosedError):
        await orchestrator.nearest([1.0])


def test_without_await():
    with penin.open_sync(":memory:") as orchestrator:
        orchestrator.extend_knowledge(["x", "y"], np.eye(2))
        assert orchestrator.nearest([1.0, 0.0], k=1)[0].key == "x"
