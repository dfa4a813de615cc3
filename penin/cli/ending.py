"""How the process ends: what is said of an error, and an end that waits for nothing."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import traceback
from typing import NoReturn

from penin.cli.exits import SIGNAL_BASE, ExitCode, exit_code_of
from penin.cli.interrupts import EndedBySignal
from penin.cli.terminal import PATIENCE_S, say
from penin.errors import PeninError


def told(error: BaseException) -> int:
    """Say what went wrong, and give the exit code of it. Only a bug has a traceback."""
    if isinstance(error, EndedBySignal):
        return SIGNAL_BASE + error.number
    if isinstance(error, KeyboardInterrupt):
        return SIGNAL_BASE + signal.SIGINT
    if isinstance(error, PeninError | OSError):
        say("\n".join([str(error), *getattr(error, "__notes__", ())]))
        return exit_code_of(error) or ExitCode.BUG
    say("this is a bug of penin:\n" + "".join(traceback.format_exception(error)))
    return ExitCode.BUG


def leave(code: int) -> NoReturn:
    """End the process now: Python would wait for threads that do not end."""
    # What a worker has printed is in Python's buffers; a stalled reader is not waited for.
    flushing = threading.Thread(target=_flush, name="penin-flush", daemon=True)
    flushing.start()
    flushing.join(PATIENCE_S)
    os._exit(code)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
