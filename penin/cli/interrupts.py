"""Signals before the supervisor receives them, and after: an end at once, and nothing to save."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final, NoReturn

import typer

from penin.cli.exits import SIGNAL_BASE

_HANG_UP: Final = "SIGHUP"
_ENDING: Final = ("SIGTERM", _HANG_UP)
_NO_EFFECT: Final = "SIGUSR1"


class EndedBySignal(KeyboardInterrupt):  # as its base, no error
    """A signal other than SIGINT came where nothing is open: `number` is the signal's."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


@contextmanager
def early_signals(*, hang_up_ends: bool) -> Iterator[None]:
    """From now on SIGTERM and SIGHUP end the process as SIGINT does, and SIGUSR1 does nothing.

    Without this, the first process of a container would never see them while it starts, since the
    kernel keeps signals without a handler from it; and SIGUSR1, which asks for a checkpoint, would
    end a process that has nothing to write yet, or any more. Nor does SIGHUP without
    `hang_up_ends`: who rotates logs may send it at any time. A signal that is ignored stays so.

    Out of the block comes the exit code, as typer's exception.
    """
    for name in _ENDING:
        _receive(name, _end if hang_up_ends or name != _HANG_UP else _do_nothing)
    _receive(_NO_EFFECT, _do_nothing)
    try:
        yield
    except EndedBySignal as error:  # typer would give every KeyboardInterrupt the code of SIGINT
        raise typer.Exit(SIGNAL_BASE + error.number) from error


def _receive(name: str, handler: Callable[[int, FrameType | None], object]) -> None:
    number = getattr(signal, name, None)  # Windows has only some of them
    if number is not None and signal.getsignal(number) != signal.SIG_IGN:
        signal.signal(number, handler)


def _end(number: int, _: FrameType | None) -> NoReturn:
    raise EndedBySignal(number)


def _do_nothing(_number: int, _frame: FrameType | None) -> None:
    """There is nothing to write."""
