"""Fixtures of the core."""

from __future__ import annotations

import pytest

from penin.core import columns, key_index


@pytest.fixture
def _small(monkeypatch):
    """Segments of four rows at most, so that a few changes fill, seal, empty and reclaim them.

    The first ones of a column have 1, 1, 2 rows; what is reclaimed together may be more. However
    few keys are looked for, they are looked for at once.
    """
    monkeypatch.setattr(columns, "SEGMENT_BYTES_MIN", 0)
    monkeypatch.setattr(columns, "ROWS_MAX", 4)
    monkeypatch.setattr(key_index, "_AT_ONCE_MIN", 1)
