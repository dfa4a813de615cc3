"""`penin backup`: a consistent, verified copy of a store."""

from __future__ import annotations

from typing import Annotated

import typer

from penin.cli.exits import ExitCode
from penin.cli.options import (
    DIR_DEFAULT,
    ExistingDirectory,
    JsonOption,
    KeyOption,
    files_of,
    store_directory,
)
from penin.cli.terminal import counted, progress_bar, say
from penin.errors import UsageError

DirArgument = Annotated[
    str, typer.Argument(metavar="DIR", help="The directory of the copy; not there, or empty.")
]


def backup(
    target: DirArgument,
    *,
    json: JsonOption = False,
    dir: ExistingDirectory = DIR_DEFAULT,  # the word of the option
    key_from: KeyOption = None,
) -> int:
    """The command; `penin.cli.help` tells what it promises."""
    from penin.cli.tables import print_json
    from penin.runtime.backup import backup_at
    from penin.runtime.progress import CountingFiles, Progress

    directory, copy = store_directory(dir), store_directory(target, "DIR")
    progress = Progress()
    files = CountingFiles(files_of(key_from), progress)
    try:
        with progress_bar("copying", "bytes", progress.reading):
            made = backup_at(directory, copy, files, progress)
    except FileNotFoundError as error:
        raise UsageError(f"--dir {dir}: there is no store") from error
    if json:
        print_json(made)
    else:
        of = "" if made.at is None else f" of {made.at}"
        holds = f"{counted(made.checkpoints, 'checkpoint')}, {counted(made.size_bytes, 'byte')}"
        say(f"copied and verified up to seq {made.seq}{of} in {copy} ({holds})")
    return ExitCode.SUCCESS
