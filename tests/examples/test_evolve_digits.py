"""The worker on real data: killed at any moment, it ends where it would have ended."""

from __future__ import annotations

import contextlib
import random
from pathlib import Path

import numpy as np
import pytest

import penin
from examples.evolve_digits import Progress, Search, evolve, read_digits
from penin.core.reader import StateReader
from tests.examples.killed_worker import KILLED, SURVIVED, run_worker

SMALL = {"generations": 6, "population": 8, "seed": 3}


def champion_of(state: StateReader) -> tuple[str, bytes, bytes]:
    return state.knowledge_base["champion"].parts


def assert_generations_are_whole(state: StateReader):
    """Each generation left all that belongs to it, or nothing."""
    if state.seq == 0:
        return
    generation = state.get_document("progress")["generation"]
    assert generation >= 1
    assert len(state.score_history) == len(state.task_history) == generation
    assert [task["generation"] for task in state.task_history] == [*range(1, generation + 1)]
    assert [task["accuracy"] for task in state.task_history] == list(state.score_history)
    champions = [task["generation"] for task in state.task_history if task["is_champion"]]
    assert state.knowledge_base["champion"].metadata["generation"] == champions[-1]


def assert_killing_changes_nothing(tmp_path: Path, generations: int, kills: int, seed: int):
    arguments = f"generations={generations}", "population=10"
    assert run_worker(tmp_path / "whole", *arguments) == SURVIVED
    expected = penin.load(tmp_path / "whole")
    assert_generations_are_whole(expected)

    moments = random.Random(seed)
    store = tmp_path / "killed"
    killed = 0
    for _ in range(kills):
        # A generation is seen as one change or a few. The first six are the opening of the store.
        longest = moments.choice([6, generations // kills, 3 * generations // kills])
        changes = moments.randint(1, longest)
        killed += run_worker(store, *arguments, kill_after_changes=changes) == KILLED
        with contextlib.suppress(FileNotFoundError):  # killed before there was a store
            assert_generations_are_whole(penin.load(store))
    assert killed >= kills // 2, "it was hardly ever killed: it ends too early"
    assert run_worker(store, *arguments) == SURVIVED

    state = penin.load(store)
    assert_generations_are_whole(state)
    assert champion_of(state) == champion_of(expected)
    for key, artifact in expected.knowledge_base.items():
        assert state.knowledge_base[key].parts == artifact.parts
    assert dict(state.documents) == dict(expected.documents)
    assert list(state.score_history) == list(expected.score_history)
    assert list(state.task_history) == list(expected.task_history)


def test_killed_at_any_moment_it_ends_with_the_same_champion(tmp_path: Path):
    assert_killing_changes_nothing(tmp_path, generations=80, kills=4, seed=3)


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(2, 7))
def test_killed_at_many_moments_it_ends_with_the_same_champion(tmp_path: Path, seed: int):
    assert_killing_changes_nothing(tmp_path, generations=400, kills=20, seed=seed)


async def test_it_goes_on_from_its_last_generation_with_its_own_population_and_seed():
    async with penin.open(":memory:") as whole, penin.open(":memory:") as halves:
        await evolve(whole, **SMALL)
        await evolve(halves, **SMALL | {"generations": 3})
        await evolve(halves, **SMALL | {"population": 30, "seed": 4})

        assert champion_of(halves.view) == champion_of(whole.view)
        assert dict(halves.view.documents) == dict(whole.view.documents)


async def test_a_finished_search_stores_nothing_more():
    async with penin.open(":memory:") as orchestrator:
        await evolve(orchestrator, **SMALL)
        seq = orchestrator.applied_seq
        await evolve(orchestrator, **SMALL)

        assert orchestrator.applied_seq == seq
        assert_generations_are_whole(orchestrator.view)


def test_it_learns_to_read_digits_that_it_has_not_seen():
    digits = read_digits()
    search = Search(Progress(population=60, seed=1))
    for _ in range(60):
        search.advance(digits)

    # A guess is right for one digit in ten.
    assert search.results()["test_accuracy"] > 0.5


def test_the_parts_of_the_digits_are_all_of_them_and_share_none():
    parts = read_digits()

    assert [len(part.labels) for part in parts] == [1000, 400, 397]
    assert all(part.inputs.shape == (65, len(part.labels)) for part in parts)
    columns = np.concatenate([part.inputs for part in parts], axis=1)
    assert len(np.unique(columns, axis=1).T) == 1797
