"""`penin top`: how a running worker is, drawn anew all the time."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final

import anyio
import msgspec
from anyio import fail_after, to_thread
from rich.console import Console
from rich.live import Live

from penin.cli.exits import ExitCode
from penin.cli.interrupts import early_signals
from penin.cli.options import (
    DIR_DEFAULT,
    ExistingDirectory,
    KeyOption,
    files_of,
    option,
    store_directory,
)
from penin.cli.terminal import is_terminal, print_out
from penin.cli.top_view import Look, TopView, scores_wanted
from penin.errors import NotRunningError, PeninError, UsageError
from penin.ingress.socket.remote import connect
from penin.runtime.ledger import Entry, Selection
from penin.runtime.metrics import MetricsView
from penin.runtime.status import WorkerStatus
from penin.runtime.tail import Tail
from penin.storage.filesystem import FileSystem

INTERVAL_S_MIN: Final = 0.1
ANSWER_S: Final = 3.0
"""How long an answer of the worker is waited for, before it is said to give none."""
UNANSWERED: Final = "the worker does not answer"
SCORES: Final = "score_history"


def top(
    *,
    interval_s: Annotated[float, option("interval_s", "Seconds between two looks.")] = 1.0,
    dir: ExistingDirectory = DIR_DEFAULT,  # the word of the option
    key_from: KeyOption = None,
) -> int:
    """The command; `penin.cli.help` tells what it promises."""
    directory, files = store_directory(dir), files_of(key_from)
    if not INTERVAL_S_MIN <= interval_s < float("inf"):
        raise UsageError(f"--interval-s {interval_s}: it is not a time of {INTERVAL_S_MIN} or more")
    console = Console()
    watch = _Watch(directory, files, console)
    # A terminal that is given back as it was, whatever ends this.
    with early_signals(hang_up_ends=True):
        if not is_terminal(sys.stdout):
            return anyio.run(watch.once, interval_s)
        with Live(console=console, screen=True, auto_refresh=False) as live:
            return anyio.run(watch.run, interval_s, lambda view: live.update(view, refresh=True))


class _Watch:
    """Looks at one worker again and again."""

    def __init__(self, directory: Path, files: FileSystem, console: Console) -> None:
        self._directory = directory
        self._files = files
        self._console = console
        self._look = Look(str(directory))

    async def once(self, interval_s: float) -> int:
        """Print one view, of the time between two looks.

        Raises UsageError where no worker serves the store.
        """
        await self._again()
        if self._look.status is None and self._look.problem != UNANSWERED:
            raise UsageError(f"{self._directory}: {self._look.problem}")
        await anyio.sleep(interval_s)
        await self._again()
        with self._console.capture() as captured:
            self._console.print(TopView(self._look))
        print_out("".join(f"{line.rstrip()}\n" for line in captured.get().splitlines()))
        return ExitCode.SUCCESS

    async def run(self, interval_s: float, show: Callable[[TopView], None]) -> int:
        """Show one view after the other, until it is interrupted or the terminal is gone."""
        await self._again()
        while self._console.is_terminal:
            show(TopView(self._look))
            await anyio.sleep(interval_s)
            await self._again()
        return ExitCode.SUCCESS

    async def _again(self) -> None:
        before = self._look.status
        width = self._console.width
        entries = await to_thread.run_sync(self._entries)
        look = Look(str(self._directory), before, scores=self._look.scores, entries=entries)
        try:
            with fail_after(ANSWER_S):
                async with connect(self._directory, wait_s=0.0) as orchestrator:
                    answer = await orchestrator.ask("status")
                    scores = await orchestrator.history(SCORES, scores_wanted(width))
        except TimeoutError:
            self._look = msgspec.structs.replace(look, problem=UNANSWERED)
        except NotRunningError as error:
            self._look = msgspec.structs.replace(look, problem=error.reason)
        except PeninError as error:
            if before is None:
                raise
            self._look = msgspec.structs.replace(look, problem=str(error))
        else:
            status = msgspec.json.decode(answer.value, type=WorkerStatus)
            self._look = msgspec.structs.replace(
                look, status=status, since=_since(status, before), scores=list(map(_plain, scores))
            )

    def _entries(self) -> list[Entry]:
        """The last transitions in the journal; none where that is not there."""
        try:
            return Tail(self._directory, Selection(), self._files).newest(self._console.height)
        except FileNotFoundError:
            return []


def _since(status: WorkerStatus, before: WorkerStatus | None) -> MetricsView | None:
    """What has changed since a look before; None where that was of another process."""
    now, then = status.metrics, None if before is None else before.metrics
    if now is None or then is None or before is None:
        return None
    if before.pid != status.pid or then.uptime_s >= now.uptime_s:
        return None
    return msgspec.structs.replace(
        now,
        uptime_s=now.uptime_s - then.uptime_s,
        messages=now.messages - then.messages,
        fsync=now.fsync.since(then.fsync),
        loop_delay=now.loop_delay.since(then.loop_delay),
    )


def _plain(score: float) -> float:
    """A score as a float; one that no float holds is a gap."""
    try:
        return float(score)
    except OverflowError:
        return float("nan")
