"""`penin rekey`: another master key for an encrypted store."""

from __future__ import annotations

from typing import Annotated

from penin.cli.exits import ExitCode
from penin.cli.options import (
    DIR_DEFAULT,
    ExistingDirectory,
    JsonOption,
    files_of,
    option,
    store_directory,
)
from penin.cli.terminal import say
from penin.errors import RefusedError, UsageError


def rekey(
    *,
    key_from: Annotated[
        str, option("key_from", "Where the key is that the store has now. See penin run.")
    ],
    new_key_from: Annotated[
        str, option("new_key_from", "Where the key is that it is to have from now on.")
    ],
    dir: ExistingDirectory = DIR_DEFAULT,  # the word of the option
    json: JsonOption = False,
) -> int:
    """The command; `penin.cli.help` tells what it promises."""
    from penin.cli.tables import print_json
    from penin.runtime.key_source import keys_from
    from penin.runtime.rekey import rekey_at

    directory = store_directory(dir)
    try:
        new = keys_from(new_key_from)
    except RefusedError as error:
        raise UsageError(f"--new-key-from: {error.reason}") from error
    try:
        made = rekey_at(directory, new, files_of(key_from))
    except FileNotFoundError as error:
        raise UsageError(f"--dir {dir}: there is no store") from error
    if json:
        print_json(made)
    else:
        said = f"it has data key {made.new_key} for what is begun from now on"
        say(f"{directory} opens with the new key alone; {said}")
    return ExitCode.SUCCESS
