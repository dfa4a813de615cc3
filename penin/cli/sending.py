"""What `penin send` and `penin import` have in common: a store is opened for one source."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import NamedTuple

from penin.logs import Logs
from penin.runtime.open import check_platform
from penin.runtime.signals import watch_signals
from penin.runtime.store import store_at
from penin.runtime.supervisor import Supervisor
from penin.runtime.ways_in import Source
from penin.settings import Settings


class Ended(NamedTuple):
    """What stopped it, if anything but its end did."""

    failure: BaseException | None = None
    signal: signal.Signals | None = None


async def send_all(source: Source, directory: Path, settings: Settings, logs: Logs) -> Ended:
    """Open the store, send everything, and close it; what failed is returned, not raised."""
    check_platform(directory)
    store = store_at(directory, settings)
    supervisor = Supervisor(store, settings, logs, sources=[source], companions=[watch_signals])
    await supervisor.run()
    return Ended(supervisor.failure, signal.Signals.__members__.get(supervisor.stop_reason))
