"""A stop that was asked for, as the threads of a store see it."""

from __future__ import annotations

import threading


class StopRequest:
    """Set on the event loop, looked at by threads while they wait and read.

    `looks` counts how often they did, which tells from outside that they get on.
    """

    def __init__(self) -> None:
        self._asked = threading.Event()
        self.looks = 0

    def ask(self) -> None:
        """Ask for the stop."""
        self._asked.set()

    def is_asked(self) -> bool:
        """Whether it was asked for."""
        self.looks += 1
        return self._asked.is_set()

    def wait(self, seconds: float) -> bool:
        """Wait for it, so long at most; whether it was asked for."""
        self.looks += 1
        return self._asked.wait(seconds)
