"""That both servers do what they are measured for. How fast they are, no test asks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.benchmarks.shared import __main__ as shared
from tests.benchmarks.shared.peers import has_redis

needs_redis = pytest.mark.skipif(not has_redis(), reason="redis-server is not installed")
TINY = shared.Plan(1, 3, 4, 0.01, 0.01, 1)


@needs_redis
def test_a_whole_run_prints_ratios_and_leaves_nothing_but_what_was_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each message that was acknowledged is there, or `measure` raises."""
    monkeypatch.setattr(shared, "QUICK", TINY)
    stores, figures = tmp_path / "stores", tmp_path / "figures.json"
    shared.main(["--quick", "--dir", str(stores), "--json", str(figures)])
    assert capsys.readouterr().out.count("penin / redis") == len(shared.parts(TINY))
    assert len(json.loads(figures.read_text())["parts"]) == len(shared.parts(TINY))
    assert list(stores.iterdir()) == []


def test_without_the_server_it_is_left_out_with_a_message(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(shared, "has_redis", lambda: False)
    shared.main([])
    assert "redis-server is not installed" in capsys.readouterr().out
