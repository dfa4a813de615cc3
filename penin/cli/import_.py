"""`penin import`: the rows of a file into the knowledge base of a store."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import IO, Annotated, Any

import anyio
import typer
from anyio import to_thread

from penin.cli.access import Ended, StoreAccess
from penin.cli.exits import SIGNAL_BASE, ExitCode
from penin.cli.options import (
    DIR_DEFAULT,
    Directory,
    LogFileOption,
    LogFormatOption,
    LogLevelOption,
    log_path,
    option,
    store_directory,
    with_settings,
)
from penin.cli.terminal import PATIENCE_S, counted, printable, progress_bar, say
from penin.errors import ClosedError, OutcomeUnknownError, UsageError
from penin.ingress.tables.opening import open_table
from penin.ingress.tables.source import TableSource
from penin.ingress.tables.table import Table, check_table
from penin.logs.owned import Logs, configure
from penin.runtime.protocol import AsyncOrchestrator
from penin.settings import Settings

FileArgument = Annotated[
    Path,
    typer.Argument(metavar="FILE", help="A .npy, .npz, .safetensors, .jsonl or .parquet file."),
]


@with_settings
def import_(
    file: FileArgument,
    *,
    settings: Settings,
    keys: Annotated[
        str | None,
        option("keys", "The keys: a text file, one a line, or .jsonl, a JSON string a line."),
    ] = None,
    metadata: Annotated[
        str | None, option("metadata", "The metadata: JSON lines, one object for each row.")
    ] = None,
    restart: Annotated[
        bool, option("restart", "Begin at the first row, also where some rows are stored already.")
    ] = False,
    dir: Directory = DIR_DEFAULT,  # the word of the option
    log_file: LogFileOption = None,
    log_format: LogFormatOption = "auto",
    log_level: LogLevelOption = "warning",
) -> int:
    """The command; `penin.cli.help` tells what it promises."""
    directory = store_directory(dir)
    try:
        table = open_table(file, _path(keys), _path(metadata))
    except OSError as error:
        raise UsageError(f"{error.filename or file}: {error.strerror or error}") from error
    checking = _Checking()
    with progress_bar("checking", "rows", checking.reading):
        rows_total = check_table(table, checking.note)
    task = _Importing(table, rows_total, directory, settings)
    with contextlib.ExitStack() as stack:
        stream = stack.enter_context(progress_bar("importing", "rows", task.reading))
        logs = configure(file=log_path(log_file), format=log_format, level=log_level, stream=stream)
        stack.callback(logs.close, PATIENCE_S)
        task.prepare(logs, stream, restart=restart)
        anyio.run(task.run)
    return task.finish()


def _path(name: str | None) -> Path | None:
    return None if name is None else Path(name)


class _Checking:
    """How far the reading before the first row is sent has come."""

    def __init__(self) -> None:
        self._rows = 0

    def note(self, rows: int) -> None:
        """So many rows were checked."""
        self._rows = rows

    def reading(self) -> tuple[int, int | None, str]:
        """The same for the bar; called from its thread."""
        return self._rows, None, f"{self._rows:,} checked"


class _Importing:
    """One run of `import`: what it sends, how far it is, and how it ended."""

    def __init__(self, table: Table, rows_total: int, directory: Path, settings: Settings) -> None:
        self._table = table
        self._rows_total = rows_total
        self._directory = directory
        self._settings = settings
        self._source: TableSource | None = None
        self._first = 0
        self._ended = Ended()

    def prepare(self, logs: Logs, stream: IO[Any], *, restart: bool) -> None:
        """Tell where to log, and where to say something; before `run`."""
        self._access = StoreAccess(self._directory, self._settings, logs)
        self._stream = stream
        self._source = TableSource(self._table, logs, restart=restart, resumed=self._resumed)

    def reading(self) -> tuple[int, int | None, str]:
        """How far it is, for the bar; called from its thread."""
        taken = 0 if self._source is None else self._source.taken
        rows = max(0, self._rows_total - self._first)
        return taken, rows, f"{taken:,} of {rows:,} rows"

    async def _resumed(self, position: int) -> None:
        self._first = position
        place = self._table.place("vector", position).row
        sentence = f"{self._table.paths[0]}: goes on at {place}; what is before it is stored"
        await to_thread.run_sync(self._tell, sentence)

    def _tell(self, sentence: str) -> None:
        if self._stream is sys.stderr:
            say(sentence)
        else:  # above the bar
            self._stream.write(printable(f"penin: {sentence}\n"))

    async def run(self) -> None:
        """Send everything; how it ended is told by `finish`."""
        self._ended = await self._access.run(self._send)

    async def _send(self, orchestrator: AsyncOrchestrator) -> None:
        """Send the rows; where the worker stops, from the first that is not known to be stored."""
        assert self._source is not None
        while True:
            try:
                await self._source(orchestrator)
                return
            except (ClosedError, OutcomeUnknownError):
                orchestrator = await self._access.reopen()

    def finish(self) -> int:
        """Say how it ended, and return the exit code. Raises what it ended by."""
        source = self._source
        assert source is not None
        if self._ended.failure is None or source.taken:
            sequence = "" if source.last_seq is None else f" (up to seq {source.last_seq})"
            say(f"{counted(source.taken, 'row')} stored in {self._directory}{sequence}")
        if self._ended.failure is not None:
            raise self._ended.failure
        if source.refusal is not None:
            raise source.refusal
        if self._ended.signal is not None and not source.is_complete:
            return SIGNAL_BASE + self._ended.signal
        return ExitCode.SUCCESS
