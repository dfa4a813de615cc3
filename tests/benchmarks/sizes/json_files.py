"""JSON: save_state and load_state beside the standard json module on the same state."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

from penin import OmegaMetaOrchestrator, StateEncoder, state_decoder
from tests.benchmarks.sizes.cost import Check, Cost, Measured, added, divided
from tests.benchmarks.sizes.data import keys, metadata_of, read_blocks
from tests.benchmarks.sizes.process import (
    peak_resident_bytes,
    print_figures,
    reset_peak,
    resident_bytes,
    run_child,
)
from tests.benchmarks.sizes.workspace import LONG_FROM, Workspace
from tests.benchmarks.workload import Tasks

TASKS = 1000


def _state(vectors: Path) -> OmegaMetaOrchestrator:
    orchestrator = OmegaMetaOrchestrator()
    for start, block in read_blocks(vectors):
        stop = start + len(block)
        orchestrator.extend_knowledge(keys(start, stop), block, metadata_of(start, stop))
    tasks = Tasks()
    for number in range(TASKS):
        orchestrator.add_task(tasks.task(number))
        orchestrator.add_score(number / TASKS)
    return orchestrator


def _save(path: Path, vectors: Path) -> dict[str, float]:
    """Both ways of writing, into `path` and beside it, with no sync in json's."""
    orchestrator = _state(vectors)
    start = perf_counter()
    orchestrator.save_state(path)
    ours_s = perf_counter() - start
    start = perf_counter()
    state = {
        name: getattr(orchestrator, name)
        for name in ("knowledge_base", "task_history", "score_history")
    }
    with _dumped(path).open("w", encoding="utf-8") as file:
        json.dump(state, file, cls=StateEncoder, indent=2)
    return {"ours": ours_s, "json": perf_counter() - start}


def _dumped(path: Path) -> Path:
    return path.with_suffix(".dumped")


def _with_memory(load: Callable[[], object]) -> dict[str, float]:
    """The time that `load` takes, and its peak of memory over what stays."""
    before = resident_bytes()
    reset_peak()
    start = perf_counter()
    kept = load()
    seconds = perf_counter() - start
    peak = peak_resident_bytes()
    own = resident_bytes() - before
    assert kept
    return {"seconds": seconds, "peak": (peak - before) / max(own, 1)}


def _load(path: Path) -> dict[str, float]:
    orchestrator = OmegaMetaOrchestrator()
    return _with_memory(lambda: orchestrator.load_state(path))


def _json_load(path: Path) -> dict[str, float]:
    def load() -> Any:
        with _dumped(path).open(encoding="utf-8") as file:
            return json.load(file, object_hook=state_decoder)

    return _with_memory(load)


def measure(workspace: Workspace) -> Measured:
    """Writing in one process, each way of loading in one of its own."""
    module = "tests.benchmarks.sizes.json_files"
    path = workspace.directory / "state.json"
    figures: dict[str, list[float]] = {}
    checks: dict[str, list[float]] = {}
    for _ in range(workspace.load_rounds):
        saved = run_child(module, "save", path, workspace.vectors)
        ours = run_child(module, "load", path)
        theirs = run_child(module, "json.load", path)
        added(figures, {"save_state": saved["ours"], "json.dump": saved["json"]})
        added(figures, {"load_state": ours["seconds"], "json.load": theirs["seconds"]})
        added(checks, {"load_state, peak / own": ours["peak"]})
        added(checks, {"json.load, peak / own": theirs["peak"]})
    path.unlink()
    _dumped(path).unlink()
    checks["json.dump / save_state"] = divided(figures, "json.dump", "save_state")
    checks["json.load / load_state"] = divided(figures, "json.load", "load_state")
    return Measured(figures, checks)


COST = Cost(
    name="json",
    title="writing and reading a state as JSON, s",
    unit="s",
    checks=(
        Check("json.dump / save_state", at_least=10),
        Check("json.load / load_state", at_least=3),
        Check("load_state, peak / own", at_most=2),
        Check("json.load, peak / own"),
    ),
    measure=measure,
    size_max=LONG_FROM,
    target_size=LONG_FROM,
)

if __name__ == "__main__":
    _, what, path, *rest = sys.argv
    if what == "save":
        print_figures(_save(Path(path), Path(*rest)))
    else:
        print_figures(_load(Path(path)) if what == "load" else _json_load(Path(path)))
