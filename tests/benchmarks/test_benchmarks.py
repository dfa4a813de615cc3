"""That each runner does what it is measured for. How fast it is, no test asks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.benchmarks import rounds
from tests.benchmarks.__main__ import main
from tests.benchmarks.measure import latency, throughput, write_and_sync_latency
from tests.benchmarks.peers import STORES
from tests.benchmarks.report import Comparison, ratios
from tests.benchmarks.workload import Tasks, Vectors, Workload

WORKLOADS: dict[str, Workload] = {"tasks": Tasks(), "vectors": Vectors()}


@pytest.mark.parametrize("workload", WORKLOADS)
@pytest.mark.parametrize("store", STORES)
async def test_every_acknowledged_message_is_held_after_close(
    store: str, workload: str, tmp_path: Path
) -> None:
    runner = STORES[store].runner(WORKLOADS[workload])
    await runner.open(tmp_path)
    await latency(runner, messages=20)
    await runner.close()
    assert runner.held() == 22


@pytest.mark.parametrize("store", STORES)
async def test_many_senders_are_all_answered_and_counted(store: str, tmp_path: Path) -> None:
    runner = STORES[store].runner(WORKLOADS["tasks"])
    await runner.open(tmp_path)
    a_second = await throughput(runner, senders=7, warm_up_s=0.0, measured_s=0.0)
    await runner.close()
    assert a_second > 0
    # A window of no time lets nobody in but those who asked before it closed.
    assert 0 < runner.held() <= 28


def test_the_disk_alone_is_measured_without_a_store(tmp_path: Path) -> None:
    found = write_and_sync_latency(tmp_path, WORKLOADS["tasks"].payload, messages=10)
    assert 0 < found.median_s <= found.p99_s


def test_ratios_are_taken_round_by_round_and_only_of_what_was_measured() -> None:
    comparisons = [Comparison("penin", "floor", at_least=0.5), Comparison("penin", "absent")]
    (ratio,) = ratios(comparisons, {"penin": [1.0, 9.0, 2.0], "floor": [4.0, 10.0, 4.0]})
    assert (ratio.spread.median, ratio.spread.least, ratio.spread.greatest) == (0.5, 0.25, 0.9)
    assert ratio.line().endswith("target >= 0.5  reached")


def test_a_whole_run_prints_ratios_writes_json_and_leaves_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny = rounds.Plan(
        rounds=1,
        senders=5,
        warm_up_s=0.01,
        measured_s=0.01,
        latency_messages=10,
        page_cache_mebibytes=1,
    )
    monkeypatch.setattr("tests.benchmarks.__main__.QUICK", tiny)
    stores = tmp_path / "stores"
    figures = tmp_path / "figures.json"
    main(["--quick", "--dir", str(stores), "--json", str(figures)])
    assert "penin / floor" in capsys.readouterr().out
    assert set(json.loads(figures.read_text())["parts"]) == {
        "tasks",
        "vectors",
        "one-sender-tasks",
        "one-sender-vectors",
    }
    assert list(stores.iterdir()) == []
