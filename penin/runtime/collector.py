"""Python's garbage collector in a process that is ours.

With the defaults it makes a pass over young objects every 700 allocations, and passes over all
imported modules again and again: with a thousand senders under way, a sixth of the time of a small
message. `penin.run` sets it so; a host that embeds a store decides for itself.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

THRESHOLDS: Final = (10_000, 20, 50)


@contextmanager
def collector_of_a_service() -> Iterator[None]:
    """Leave out what is alive now, and pass less often; as it was before on the way out."""
    thresholds = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()
