"""`penin checkpoints`: the kept checkpoints of a store, for people and for programs."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated, Final

from penin.cli.exits import ExitCode
from penin.cli.options import (
    DIR_DEFAULT,
    ExistingDirectory,
    JsonOption,
    KeyOption,
    files_of,
    option,
    store_directory,
)
from penin.cli.terminal import progress_bar, say

if TYPE_CHECKING:
    from penin.cli.store_checkpoints import Checkpoint

_VERIFIED: Final = {None: "not checked", True: "yes", False: "DAMAGED"}


def checkpoints(
    *,
    dir: ExistingDirectory = DIR_DEFAULT,  # the word of the option
    key_from: KeyOption = None,
    verify: Annotated[
        bool, option("verify", "Read each whole, and check its digests and what is in it.")
    ] = False,
    json: JsonOption = False,
) -> int:
    """The command; `penin.cli.help` tells what it promises."""
    from penin.cli.store_checkpoints import read_checkpoints
    from penin.cli.tables import print_json, print_table
    from penin.runtime.progress import CountingFiles, Progress

    directory = store_directory(dir)
    progress = Progress()
    files = CountingFiles(files_of(key_from), progress)
    with progress_bar("verifying", "bytes", progress.reading) if verify else nullcontext():
        found = read_checkpoints(directory, files, verify=verify, progress=progress)
    if json:
        print_json({"dir": str(directory), "checkpoints": found})
    elif found:
        headings = ("seq", "time", "bytes", "verified", "file")
        print_table(headings, map(_row, found), right={"seq", "bytes"})
    else:
        say("there is no checkpoint yet")
    damaged = [checkpoint for checkpoint in found if checkpoint.verified is False]
    for checkpoint in damaged if not json else []:
        say(checkpoint.reason or checkpoint.file)
    return ExitCode.CORRUPT if damaged else ExitCode.SUCCESS


def _row(checkpoint: Checkpoint) -> tuple[str, ...]:
    return (
        str(checkpoint.seq),
        checkpoint.at or "unknown",
        f"{checkpoint.size_bytes:,}",
        _VERIFIED[checkpoint.verified],
        checkpoint.file,
    )
