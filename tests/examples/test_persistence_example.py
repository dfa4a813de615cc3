"""The first example that newcomers run does what it says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from examples import persistence_example

EXAMPLE = Path(persistence_example.__file__)


def test_the_example_runs_as_a_script_and_shows_all_three_ways(tmp_path: Path):
    done = subprocess.run(
        [sys.executable, EXAMPLE],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
    ways = [line.split(":")[0] for line in done.stdout.splitlines()]
    assert ways == ["sync", "async", "async", "crash", "crash"]
    assert "'France'" in done.stdout
    assert "every acknowledged one, in order, none twice" in done.stdout
    assert list(tmp_path.iterdir()) == []
