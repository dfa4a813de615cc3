"""`penin tail`: the last transitions of a store, and those that come."""

from __future__ import annotations

import select
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from penin.cli.exits import ExitCode
from penin.cli.ledger_options import check_type
from penin.cli.options import (
    DIR_DEFAULT,
    ExistingDirectory,
    KeyOption,
    environment_name,
    files_of,
    option,
    store_directory,
)
from penin.cli.terminal import say
from penin.errors import RefusedError, UsageError
from penin.runtime.clock import time_of
from penin.runtime.ledger import Selection
from penin.runtime.tail import Missed, Tail

if TYPE_CHECKING:
    from penin.cli.ledger_lines import EntryLines
    from penin.runtime.ledger import Entry

LAST_DEFAULT: Final = 10
POLL_MS: Final = 200
"""How often `--follow` looks at the names and the size of the newest journal file."""


def tail(
    *,
    last: Annotated[
        int | None,
        typer.Option(
            "--last",
            "-n",
            envvar=environment_name("last"),
            help="So many of the last ones that fit; 10 without it, with --since all.",
        ),
    ] = None,
    follow: Annotated[
        bool,
        typer.Option(
            "--follow",
            "-f",
            envvar=environment_name("follow"),
            help="Then go on, with those that come, until Ctrl-C.",
        ),
    ] = False,
    since: Annotated[
        str | None,
        option("since", "From this seq or time on: 1200, 2026-01-31, 2026-01-31T12:00:00Z (UTC)."),
    ] = None,
    type: Annotated[  # the word of the option
        str | None, option("type", "Only transitions of this type, such as add_score.")
    ] = None,
    key: Annotated[str | None, option("key", "Only those about this key or name.")] = None,
    dir: ExistingDirectory = DIR_DEFAULT,  # the word of the option
    key_from: KeyOption = None,
    json: Annotated[bool, option("json", "A JSON object a line, as in a ledger export.")] = False,
) -> int:
    """The command; `penin.cli.help` tells what it promises."""
    from penin.cli.ledger_lines import EntryLines

    directory = store_directory(dir)
    if last is not None and last < 0:
        raise UsageError(f"--last {last}: it is negative")
    check_type(type)
    place = None if since is None else _place(since)
    lines, files = EntryLines(json=json), files_of(key_from)
    make = partial(Tail, directory, Selection(type=type, key=key), files)
    try:
        found = _made(make) if follow else make()
        if found is None:
            found = _awaited(make, directory)
            place, last = place or found.seq, None  # all of it has come since
        if place is not None:
            found.begin_at(place)
        if place is None and last is None:
            last = LAST_DEFAULT
        _show(found, lines, last, follow=follow)
    except FileNotFoundError as error:
        raise UsageError(f"--dir {dir}: {error.strerror}") from error
    return ExitCode.SUCCESS


def _made(make: Callable[[], Tail]) -> Tail | None:
    """What is made of a store; None where there is no store."""
    try:
        return make()
    except FileNotFoundError:
        return None


def _awaited(make: Callable[[], Tail], directory: Path) -> Tail:
    """The same once there is a store; where the reader has gone before, this ends the process."""
    say(f"there is no store in {directory} yet; waiting for one")
    while (found := _made(make)) is None:
        if not _wait_for_reader():
            raise typer.Exit(ExitCode.SUCCESS)
    return found


def _show(found: Tail, lines: EntryLines, last: int | None, *, follow: bool) -> None:
    """Write the last ones, or all, and then what comes, until the reader has gone."""
    if last is None:
        is_read = _print_now(found, lines)
    else:
        is_read = all(map(lines.print, found.newest(last)))
    while is_read and follow:
        is_read = not found.has_changed() or _print_now(found, lines)
        is_read = is_read and _wait_for_reader()


def _place(since: str) -> int | str:
    """A seq, or a time in the form of commits."""
    if since.isascii() and since.isdecimal() and not since.startswith("0"):
        return int(since)
    try:
        return time_of(since, "--since")
    except RefusedError as error:
        raise UsageError(str(error)) from error


def _print_now(found: Tail, lines: EntryLines) -> bool:
    """Write what there is now; False where the reader has gone."""
    return all(_print(item, lines) for item in found.read())


def _print(item: Entry | Missed, lines: EntryLines) -> bool:
    if isinstance(item, Missed):
        say(f"missed seq {item.first_seq} to {item.last_seq}: they are not kept any more")
        return True
    return lines.print(item)


def _wait_for_reader() -> bool:
    """Wait until the next look is due; False where the reader has gone meanwhile."""
    # Without an event asked for, only the end of the other side is told.
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    return not poll.poll(POLL_MS)
