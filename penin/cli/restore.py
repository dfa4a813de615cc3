"""`penin restore`: a state of the past of a store as a new store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

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
from penin.cli.terminal import counted, progress_bar, say
from penin.errors import UsageError

if TYPE_CHECKING:
    from penin.runtime.restore import Restored

Target = Annotated[str, option("to", "The directory of the new store.", metavar="DIR")]


def restore(
    *,
    to: Target,
    seq: Annotated[
        int | None, option("seq", "The state at this seq; inside a message, before that.")
    ] = None,
    checkpoint: Annotated[
        int | None, option("checkpoint", "The kept checkpoint at this seq, as it is.")
    ] = None,
    at: Annotated[
        str | None,
        option(
            "at", "The state as of this time (ISO 8601, UTC without an offset).", metavar="TIME"
        ),
    ] = None,
    dry_run: Annotated[
        bool, option("dry_run", "Say what would be restored; make nothing.")
    ] = False,
    json: JsonOption = False,
    dir: ExistingDirectory = DIR_DEFAULT,  # the word of the option
    key_from: KeyOption = None,
) -> int:
    """The command; `penin.cli.help` tells what it promises."""
    from penin.cli.tables import print_json
    from penin.runtime.progress import CountingFiles, Progress
    from penin.runtime.restore import Place, restore_at

    place = Place(seq, checkpoint, at)
    if sum(named is not None for named in (seq, checkpoint, at)) != 1:
        raise UsageError("exactly one of --seq, --checkpoint and --at names the state to restore")
    directory, target = store_directory(dir), store_directory(to, "--to")
    progress = Progress()
    files = CountingFiles(files_of(key_from), progress)
    try:
        with progress_bar("restoring", "bytes", progress.reading):
            made = restore_at(directory, target, place, dry_run=dry_run, fs=files)
    except FileNotFoundError as error:
        raise UsageError(f"--dir {dir}: there is no store") from error
    for reason in made.passed_over:
        say(f"passed over for an older snapshot: {reason}")
    if json:
        print_json(made)
    else:
        say(_sentence(made, seq, str(target)))
    return ExitCode.SUCCESS


def _sentence(made: Restored, asked_seq: int | None, target: str) -> str:
    of = "" if made.at is None else f" of {made.at}"
    base = "from the beginning"
    if made.checkpoint_seq is not None:
        base = f"from the snapshot at seq {made.checkpoint_seq}"
    what = f"seq {made.seq}{of}, with {counted(made.knowledge_base_size, 'artifact')} ({base})"
    inside = f"seq {asked_seq} is inside a message, so this rounds down: "
    does = f"restored {what} into {target} as store {made.store}"
    if made.store is None:
        does = f"would restore {what} into {target}; nothing was made"
    return (inside if made.inside_message else "") + does
