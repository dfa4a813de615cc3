"""What a service manager puts into the environment of a process that it starts."""

from __future__ import annotations

import os
from collections.abc import MutableMapping

from penin.errors import UsageError
from penin.runtime.service_manager import ServiceManager


def service_manager(environment: MutableMapping[str, str] = os.environ) -> ServiceManager | None:
    """The service manager that wants to be told how this process is; None where there is none.

    What it says is taken out of the environment: processes that a worker starts do not speak for
    this one. Raises UsageError for a time of its watchdog that is none.
    """
    address = environment.pop("NOTIFY_SOCKET", "")
    watchdog_us = environment.pop("WATCHDOG_USEC", "")
    watched_pid = environment.pop("WATCHDOG_PID", str(os.getpid()))
    if not address:
        return None
    if not watchdog_us or watched_pid != str(os.getpid()):
        return ServiceManager(address, None)
    if not watchdog_us.isdecimal() or int(watchdog_us) == 0:
        raise UsageError(f"WATCHDOG_USEC={watchdog_us}: it is not a number of microseconds")
    return ServiceManager(address, int(watchdog_us) / 1e6)
