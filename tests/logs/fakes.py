"""Sinks, streams and loggers that stall and fail, with the real interfaces."""

from __future__ import annotations

import io
import json
import os
import threading
from typing import Any

import pytest
import structlog

PATIENCE_S = 20.0
"""Longer than anything here takes; only a failing test waits for it."""


class GatedSink:
    """A sink that stalls in its first write until the gate is opened."""

    def __init__(self):
        self.entered = threading.Event()
        self.gate = threading.Event()
        self.items: list[Any] = []
        self.stopped = False
        self.closed = threading.Event()

    def write(self, items, /):
        self.entered.set()
        assert self.gate.wait(PATIENCE_S)
        self.items += items

    def stop(self):
        self.stopped = True

    def close(self):
        self.closed.set()


class FailingSink:
    """A sink whose first writes raise the given errors, one each."""

    def __init__(self, *errors: Exception):
        self.errors = list(errors)
        self.items: list[Any] = []
        self.called = threading.Semaphore(0)

    def write(self, items, /):
        self.called.release()
        if self.errors:
            raise self.errors.pop(0)
        self.items += items

    def stop(self):
        pass

    def close(self):
        pass


class HostLogger:
    """A host's logger: remembers what it was called with, and in which context."""

    def __init__(self, *, fails=False):
        self.calls: list[tuple[str, str, dict[str, Any]]] = []
        self.threads: set[int] = set()
        self.gate = threading.Event()
        self.gate.set()
        self.fails = fails

    def _log(self, method, event, fields):
        assert self.gate.wait(PATIENCE_S)
        self.threads.add(threading.get_ident())
        if self.fails:
            raise RuntimeError("the host's own trouble")
        self.calls.append((method, event, fields | structlog.contextvars.get_contextvars()))

    def debug(self, event, **fields):
        self._log("debug", event, fields)

    def info(self, event, **fields):
        self._log("info", event, fields)

    def warning(self, event, **fields):
        self._log("warning", event, fields)

    def error(self, event, **fields):
        self._log("error", event, fields)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def stalled_pipe() -> tuple[int, int]:
    """The two ends of a pipe that is full; its writing end blocks."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    try:
        while True:
            os.write(writing, b"\n" * 4096)
    except BlockingIOError:
        os.set_blocking(writing, True)
    return reading, writing


def lines_of(stream: io.BytesIO | io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line, parse_constant=pytest.fail) for line in stream.getvalue().splitlines()]
