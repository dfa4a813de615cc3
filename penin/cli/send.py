"""`penin send`: JSON lines into a store."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Annotated, Final

import anyio
import typer

from penin.cli.access import Ended, StoreAccess
from penin.cli.exits import SIGNAL_BASE, ExitCode
from penin.cli.options import (
    DIR_DEFAULT,
    Directory,
    LogFileOption,
    LogFormatOption,
    LogLevelOption,
    log_path,
    store_directory,
    with_settings,
)
from penin.cli.terminal import PATIENCE_S, counted, progress_bar, say
from penin.errors import UsageError
from penin.ingress.chunks import Input
from penin.ingress.lines import LineSource
from penin.ingress.rejected import RejectedLines
from penin.logs.owned import Logs, configure
from penin.runtime.key_source import files_with
from penin.settings import Settings

STDIN_NAME: Final = "-"

FilesArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="FILE",
        help="Files of JSON lines, in this order; - (and nothing at all) is stdin.",
        show_default=False,
    ),
]


@with_settings
def send(
    files: FilesArgument = None,
    *,
    settings: Settings,
    dir: Directory = DIR_DEFAULT,  # the word of the option
    log_file: LogFileOption = None,
    log_format: LogFormatOption = "auto",
    log_level: LogLevelOption = "warning",
) -> int:
    """The command; `penin.cli.help` tells what it promises."""
    directory = store_directory(dir)
    inputs = [Input(None if name == STDIN_NAME else name) for name in files or [STDIN_NAME]]
    bytes_total = _total(inputs)
    task = _Sending(inputs, bytes_total, directory, settings)
    with contextlib.ExitStack() as stack:
        stream = stack.enter_context(progress_bar("sending", "bytes", task.reading))
        logs = configure(file=log_path(log_file), format=log_format, level=log_level, stream=stream)
        stack.callback(logs.close, PATIENCE_S)
        task.prepare(logs)
        anyio.run(task.run)
    return task.finish()


class _Sending:
    """One run of `send`: what it reads, how far it is, and how it ended."""

    def __init__(
        self, inputs: list[Input], bytes_total: int | None, directory: Path, settings: Settings
    ) -> None:
        self._inputs = inputs
        self._bytes_total = bytes_total
        self._directory = directory
        self._settings = settings
        self._rejected = RejectedLines(directory, files_with(settings.key_from))
        self._ended = Ended()

    def prepare(self, logs: Logs) -> None:
        """Tell where to log; before `run`."""
        self._access = StoreAccess(self._directory, self._settings, logs)
        self._source = LineSource(
            self._inputs,
            self._rejected,
            logs,
            waits_for_room=False,
            reopen=self._access.reopen,
        )

    def reading(self) -> tuple[int, int | None, str]:
        """How far it is, for the bar; called from its thread."""
        counts = self._source.counts
        text = f"{counts.taken:,} stored, {counts.refused:,} refused"
        return counts.bytes_read, self._bytes_total, text

    async def run(self) -> None:
        """Send everything; how it ended is told by `finish`."""
        self._ended = await self._access.run(self._source)

    def finish(self) -> int:
        """Say how it ended, and return the exit code. Raises what is a bug of ours."""
        counts = self._source.counts
        if self._ended.failure is None or counts.taken or counts.refused:
            say(self._summary())
        if self._ended.failure is not None:
            raise self._ended.failure
        if counts.unreadable is not None:
            unread = counts.unreadable
            say(f"{unread.filename or 'the input'} cannot be read: {unread.strerror or unread}")
            return ExitCode.REFUSED_INPUT
        if self._ended.signal is not None and not counts.is_complete:
            return SIGNAL_BASE + self._ended.signal
        return ExitCode.REFUSED_INPUT if counts.refused else ExitCode.SUCCESS

    def _summary(self) -> str:
        counts = self._source.counts
        summary = f"{counted(counts.taken, 'message')} stored in {self._directory}"
        if counts.last_seq is not None:
            summary += f" (seq {counts.first_seq} to {counts.last_seq})"
        if counts.repeated:
            summary += f", {counts.repeated:,} of them known by their id and not stored again"
        if counts.without_effect:
            summary += f", {counts.without_effect:,} of them without effect (missing, conflict)"
        if counts.refused:
            kept = self._rejected.path
            summary += f"; {counted(counts.refused, 'line')} refused, kept in {kept}"
        return summary


def _total(inputs: list[Input]) -> int | None:
    """The bytes to come, None where that is not known. Raises UsageError for what is not there."""
    total: int | None = 0
    for given in inputs:
        try:
            size = given.check()
        except OSError as error:
            raise UsageError(f"{given}: {error.strerror or error}") from error
        total = None if size is None or total is None else total + size
    return total
