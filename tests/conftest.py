"""What holds for every test: how many examples hypothesis tries, and that they are the same ones.

`PENIN_TESTS=long` (set by `make test-long`) chooses many examples, new ones in every run; anything
else chooses few, the same ones in every run. Of what is marked as `sliced` it takes a sixth
(`tests.slices`), unless a test is named on the command line.
"""

from __future__ import annotations

import os
import signal

import pytest
from hypothesis import HealthCheck, settings

from tests.slices import IS_LONG, is_chosen

# How long the machine takes is never what a property states.
timeless = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

settings.register_profile("fast", timeless, max_examples=24, derandomize=True)
# What a long run finds is printed as a line to paste, and nothing is kept between runs.
settings.register_profile("long", timeless, max_examples=2_000, database=None, print_blob=True)
settings.load_profile("long" if IS_LONG else "fast")

# Hundreds of commands are started, each of which would compile the package anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# Under nohup it would be ignored, by every process that a test starts too.
signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is not in the slice."""
    if any("::" in argument for argument in config.args):
        return
    left = [
        item
        for item in items
        if item.get_closest_marker("sliced") is not None and not is_chosen(item.nodeid)
    ]
    if left:
        config.hook.pytest_deselected(items=left)
        chosen = set(left)
        items[:] = [item for item in items if item not in chosen]
