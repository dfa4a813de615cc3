"""A directory with workers to run in."""

from __future__ import annotations

import pytest

from tests.cli.processes import WORKERS


@pytest.fixture
def place(tmp_path):
    (tmp_path / "workers.py").write_text(WORKERS)
    return tmp_path
