"""`penin checkpoint`: a checkpoint now, by the worker or without one."""

from __future__ import annotations

import anyio

from penin.cli.access import StoreAccess
from penin.cli.exits import SIGNAL_BASE, ExitCode
from penin.cli.options import (
    DIR_DEFAULT,
    ExistingDirectory,
    JsonOption,
    KeyOption,
    LogFormatOption,
    LogLevelOption,
    files_of,
    store_directory,
)
from penin.cli.tables import print_json
from penin.cli.terminal import PATIENCE_S, say
from penin.errors import UsageError
from penin.logs.owned import configure
from penin.runtime.protocol import AsyncOrchestrator
from penin.runtime.store import JOURNAL_DIRECTORY
from penin.settings import Settings
from penin.storage.reader import JournalReader
from penin.storage.snapshots import FileSnapshotStore


def checkpoint(
    *,
    dir: ExistingDirectory = DIR_DEFAULT,  # the word of the option
    key_from: KeyOption = None,
    json: JsonOption = False,
    log_format: LogFormatOption = "auto",
    log_level: LogLevelOption = "warning",
) -> int:
    """The command; `penin.cli.help` tells what it promises."""
    directory = store_directory(dir)
    files = files_of(key_from)
    is_empty = JournalReader(files, directory / JOURNAL_DIRECTORY).is_empty()
    if is_empty and FileSnapshotStore(files, directory).latest() is None:
        raise UsageError(f"--dir {dir}: there is no store")
    logs = configure(format=log_format, level=log_level)
    seqs: list[int] = []

    async def write(orchestrator: AsyncOrchestrator) -> None:
        seqs.append(await orchestrator.checkpoint())

    try:
        access = StoreAccess(directory, Settings(key_from=key_from), logs)
        ended = anyio.run(access.run, write)
    finally:
        logs.close(PATIENCE_S)
    if not seqs and ended.signal is not None:
        return SIGNAL_BASE + ended.signal
    if ended.failure is not None:
        raise ended.failure
    if json:
        print_json({"dir": str(directory), "seq": seqs[0]})
    else:
        say(f"checkpoint at seq {seqs[0]:,} in {directory}")
    return ExitCode.SUCCESS
