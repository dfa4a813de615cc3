"""What holds for every test: how many examples hypothesis tries, and that they are the same ones.

`PENIN_TESTS=long` (set by `make test-long`) chooses many examples, new ones in every run; anything
else chooses few, the same ones in every run.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

# How long the machine takes is never what a property states.
timeless = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

settings.register_profile("fast", timeless, max_examples=50, derandomize=True)
# What a long run finds is printed as a line to paste, and nothing is kept between runs.
settings.register_profile("long", timeless, max_examples=2_000, database=None, print_blob=True)
settings.load_profile("long" if os.environ.get("PENIN_TESTS") == "long" else "fast")
