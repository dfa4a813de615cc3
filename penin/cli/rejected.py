"""`penin rejected`: the lines that were refused, as they came."""

from __future__ import annotations

from penin.cli.exits import ExitCode
from penin.cli.options import (
    DIR_DEFAULT,
    ExistingDirectory,
    KeyOption,
    files_of,
    store_directory,
)
from penin.cli.terminal import print_out
from penin.ingress.rejected import read_rejected


def rejected(
    *,
    dir: ExistingDirectory = DIR_DEFAULT,  # the word of the option
    key_from: KeyOption = None,
) -> int:
    """The command; `penin.cli.help` tells what it promises."""
    directory = store_directory(dir)
    for piece in read_rejected(directory, files_of(key_from)):
        if not print_out(piece):
            break
    return ExitCode.SUCCESS
