"""Python's interpreter in a process that is ours: its garbage collector and its switch interval.

With the defaults the collector makes a pass over young objects every 700 allocations, and passes
over all imported modules again and again: with a thousand senders under way, a sixth of the time
of a small message. And a thread that comes back from the disk waits up to 5 ms for an event loop
that is busy, several times a commit: a fifth of the time of a vector. `penin.run` sets both; a
host that embeds a store decides for itself.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

THRESHOLDS: Final = (10_000, 20, 50)
SWITCH_INTERVAL_S: Final = 0.0001


@contextmanager
def interpreter_of_a_service() -> Iterator[None]:
    """Collect what is alive now never, and the rest less often; switch threads sooner.

    As it was before on the way out.
    """
    thresholds, interval_s = gc.get_threshold(), sys.getswitchinterval()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    try:
        yield
    finally:
        sys.setswitchinterval(interval_s)
        gc.set_threshold(*thresholds)
        gc.unfreeze()
