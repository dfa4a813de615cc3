"""`penin checkpoints`: the kept checkpoints of a store, for people and for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from penin.cli.exits import ExitCode
from penin.cli.options import DIR_DEFAULT, ExistingDirectory, option, store_directory
from penin.cli.terminal import print_out, say

if TYPE_CHECKING:
    from penin.cli.store_checkpoints import Checkpoint


def checkpoints(
    *,
    dir: ExistingDirectory = DIR_DEFAULT,  # the word of the option
    verify: Annotated[
        bool, option("verify", "Read each whole, and check its digests and what is in it.")
    ] = False,
    json: Annotated[bool, option("json", "One JSON object, for programs.")] = False,
) -> int:
    """The command; `penin.cli.help` tells what it promises."""
    import msgspec

    from penin.cli.store_checkpoints import read_checkpoints

    directory = store_directory(dir)
    found = read_checkpoints(directory, verify=verify)
    if json:
        shown = {"dir": str(directory), "checkpoints": found}
        print_out(msgspec.json.format(msgspec.json.encode(shown), indent=2).decode() + "\n")
    elif found:
        print_out(_table(found))
    else:
        say("there is no checkpoint yet")
    damaged = [checkpoint for checkpoint in found if checkpoint.verified is False]
    for checkpoint in damaged if not json else []:
        say(checkpoint.reason or checkpoint.file)
    return ExitCode.CORRUPT if damaged else ExitCode.SUCCESS


def _table(found: list[Checkpoint]) -> str:
    from penin.cli.tables import plain_table, rendered, shown

    table = plain_table("seq", "time", "bytes", "verified", "file", right=("seq", "bytes"))
    words = {None: "not checked", True: "yes", False: "DAMAGED"}
    for checkpoint in found:
        table.add_row(
            str(checkpoint.seq),
            checkpoint.at or "unknown",
            f"{checkpoint.size_bytes:,}",
            words[checkpoint.verified],
            shown(checkpoint.file),
        )
    return rendered(table)
