"""The progress bar of `penin send`: drawn by a thread of its own, from numbers that it looks at.

So the event loop never draws, and a terminal that is slow or halted (Ctrl-S) slows nothing down.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from typing import Any, Final, Self, TextIO, cast

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

INTERVAL_S: Final = 0.1
PATIENCE_S: Final = 1.0

Reading = tuple[int, int, int]
"""What a bar shows: bytes read, messages stored, lines refused."""


class ProgressBar:
    """A bar on a terminal, while the `with` block runs.

    `bytes_total` is None where it is not known how much will come. `stream` is a text stream for
    log lines, which appear above the bar.
    """

    def __init__(
        self,
        terminal: TextIO,
        bytes_total: int | None,
        read: Callable[[], Reading],
    ) -> None:
        console = Console(file=terminal)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[stored]:,} stored, {task.fields[refused]:,} refused"),
            TimeElapsedColumn(),
            console=console,
            auto_refresh=False,
            redirect_stdout=False,
            redirect_stderr=False,
            transient=True,
        )
        self._bar = self._progress.add_task("sending", total=bytes_total, stored=0, refused=0)
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
        bytes_read, stored, refused = self._read()
        self._progress.update(
            self._bar, completed=bytes_read, stored=stored, refused=refused, refresh=True
        )


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
