"""Every test of the runtime fails when the package blocks the event loop."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from blockbuster import BlockBuster, BlockBusterFunction, blockbuster_ctx

# What the detector does not know of itself, and what the store is made of.
_SYSTEM_CALLS = (
    "builtins.open",
    "fcntl.flock",
    "fcntl.lockf",
    "io.open",
    "os.fdatasync",
    "os.fsync",
    "os.ftruncate",
    "os.open",
    "os.pread",
    "os.pwrite",
    "os.pwritev",
    "os.truncate",
    "os.writev",
)


@pytest.fixture(autouse=True)
def loop_is_never_blocked() -> Iterator[BlockBuster]:
    """A blocking call made by `penin` on a thread that runs an event loop raises `BlockingError`.

    Only calls with a frame of the package on the stack count, so that a test may read the files of
    a store with plain calls. The fixture gives the detector, for the rare test that has to allow
    one call: `loop_is_never_blocked.functions["os.stat"].can_block_in(...)`.
    """
    with blockbuster_ctx("penin") as detector:
        ours = {
            name: BlockBusterFunction(None, name, scanned_modules="penin") for name in _SYSTEM_CALLS
        }
        detector.functions.update(ours)
        detector.activate()
        yield detector
