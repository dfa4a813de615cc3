"""The progress bar of a command: drawn by a thread of its own, from numbers that it looks at.

So the event loop never draws, and a terminal that is slow or halted (Ctrl-S) slows nothing down.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from typing import Any, Final, Self, TextIO, cast

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

INTERVAL_S: Final = 0.1
PATIENCE_S: Final = 1.0

Reading = tuple[int, int | None, str]
"""What a bar shows: how much is done, of how much (None where that is not known), and a text."""


class ProgressBar:
    """A bar on a terminal, while the `with` block runs: how far, how fast, and how long still.

    `description` says what is done and `unit` what is counted. `read` is called on a thread.
    `stream` is a text stream for log lines, which appear above the bar.
    """

    def __init__(
        self,
        terminal: TextIO,
        description: str,
        unit: str,
        read: Callable[[], Reading],
    ) -> None:
        console = Console(file=terminal)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[text]}"),
            _Rate(unit),
            TimeElapsedColumn(),
            TextColumn("left:"),
            TimeRemainingColumn(),
            console=console,
            auto_refresh=False,
            redirect_stdout=False,
            redirect_stderr=False,
            transient=True,
        )
        self._bar = self._progress.add_task(description, total=None, text="")
        self._read = read
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._draw, name="penin-progress", daemon=True)
        self.stream = cast("TextIO", _AboveTheBar(console))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(PATIENCE_S)

    def _draw(self) -> None:
        with self._progress:
            while not self._ended.wait(INTERVAL_S):
                self._update()
            self._update()

    def _update(self) -> None:
        done, total, text = self._read()
        self._progress.update(self._bar, completed=done, total=total, text=text, refresh=True)


class _Rate(ProgressColumn):
    """How much is done in a second, over the last half minute."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.0f} {self._unit}/s")


class _AboveTheBar(io.TextIOBase):
    """Log lines on the terminal of a bar. It has no descriptor, which would go past the bar."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def write(self, text: str, /) -> int:
        self._console.print(Text.from_ansi(text.rstrip("\n")))
        return len(text)

    def isatty(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def flush(self, *_: Any) -> None:
        """Every line is printed at once."""
