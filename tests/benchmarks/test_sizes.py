"""That every cost is measured at every size. How much it is, no test asks."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import penin
from tests.benchmarks.sizes.__main__ import COSTS, main
from tests.benchmarks.sizes.cost import Check, Cost, Measured
from tests.benchmarks.sizes.data import (
    Replacements,
    clustered_blocks,
    key,
    metadata,
    read_blocks,
    read_matrix,
)
from tests.benchmarks.sizes.process import (
    peak_resident_bytes,
    reset_peak,
    resident_bytes,
    run_child,
)
from tests.benchmarks.sizes.table import lines
from tests.benchmarks.sizes.workspace import Plan, Workspace
from tests.benchmarks.workload import DIMENSIONS

TINY = Plan(rounds=1, senders=5, warm_up_s=0.01, measured_s=0.02, ticker_s=0.05, queries=2)

A_COST = Cost(
    name="cost",
    title="of something, s",
    unit="s",
    checks=(Check("ours / theirs", at_most=1.5), Check("a value")),
    measure=lambda _: Measured({}, {}),
    target_size=300,
)


def measured(ours: float) -> Measured:
    checks = {"ours / theirs": [ours / 2, 9.0, ours / 2], "a value": [0.125]}
    return Measured({"ours": [ours], "theirs": [2.0]}, checks)


def test_a_target_is_judged_at_its_size_only():
    missed = list(lines(A_COST, {100: measured(1.0), 300: measured(4.0)}))
    assert missed[1].split() == ["vectors", "100", "300"]
    assert missed[4].endswith("0.5           2   target <= 1.5 at 300  MISSED")
    assert missed[5].split() == ["a", "value", "0.125", "0.125"]
    assert "reached" in list(lines(A_COST, {300: measured(2.0)}))[4]
    assert "not measured" in list(lines(A_COST, {100: measured(2.0)}))[4]


def test_vectors_are_the_same_in_every_run_and_other_seeds_give_others_of_the_same_clusters():
    first, second = (np.concatenate(list(clustered_blocks(5000))) for _ in range(2))
    assert first.shape == (5000, DIMENSIONS)
    assert first.dtype == np.float32
    assert np.array_equal(first, second)
    other = np.concatenate(list(clustered_blocks(3, seed=1)))
    distances = np.linalg.norm(first - other[0], axis=1)
    assert 0 < distances.min() < distances.mean() / 2


def test_replacements_are_of_keys_that_are_there():
    replacements = Replacements(7)
    keys = {replacements.entry(number)[0] for number in range(200)}
    assert keys == {key(row) for row in range(7)}


def test_the_store_of_a_size_holds_its_vectors_and_a_copy_leaves_it_as_it_was(tmp_path: Path):
    workspace = Workspace(tmp_path / "300", 300, TINY)
    with workspace.store_copy() as directory:
        with penin.open_sync(directory / "store") as orchestrator:
            orchestrator.remove_knowledge(key(0))
            orchestrator.checkpoint()
        assert len(penin.load(directory / "store").knowledge_base) == 299
    assert not directory.exists()
    kept = penin.load(tmp_path / "300" / "store").knowledge_base
    matrix = read_matrix(workspace.vectors)
    assert [start for start, _ in read_blocks(workspace.vectors)] == [0]
    assert len(kept) == 300
    assert np.array_equal(kept[key(299)].array, matrix[299])
    assert kept[key(299)].metadata == metadata(299)
    workspace.remove()
    assert list(tmp_path.iterdir()) == []


def test_the_peak_of_memory_is_seen_after_it_is_over():
    reset_peak()
    before = resident_bytes()
    np.ones(10**7)
    assert peak_resident_bytes() - before > 7 * 10**7


def test_a_child_that_fails_is_an_error():
    with pytest.raises(RuntimeError, match="ended with 1"):
        run_child("tests.benchmarks.sizes.memory", "nothing", "nowhere")


@pytest.mark.long
@pytest.mark.timeout(300)
def test_a_whole_run_prints_tables_draws_plots_writes_json_and_leaves_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tests.benchmarks.sizes.__main__.QUICK", TINY)
    stores, figures, plots = tmp_path / "stores", tmp_path / "figures.json", tmp_path / "plots"
    sizes = ["--sizes", "100", "300"]
    main(["--quick", *sizes, "--dir", str(stores), "--json", str(figures), "--plots", str(plots)])
    printed = capsys.readouterr().out
    assert "penin / raw write" in printed
    found = json.loads(figures.read_text())["costs"]
    assert set(found) == set(COSTS)
    for name, cost in COSTS.items():
        assert list(found[name]["sizes"]) == ["100", "300"]
        assert {check.name for check in cost.checks} <= set(found[name]["sizes"]["300"]["checks"])
    assert {path.name for path in plots.iterdir()} == {f"{name}.png" for name in COSTS}
    assert list(stores.iterdir()) == []
