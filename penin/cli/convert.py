"""`penin convert`: a new store of a snapshot file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from penin.cli.exits import ExitCode
from penin.cli.options import option, store_directory
from penin.cli.terminal import counted, say
from penin.errors import RefusedError, UsageError
from penin.runtime.convert import convert as convert_file
from penin.settings import Format

FileArgument = Annotated[
    Path,
    typer.Argument(
        metavar="FILE", help="A snapshot (state.json, a checkpoint, an original), or a store."
    ),
]
Target = Annotated[str, option("to", "The directory of the new store.", metavar="DIR")]


def convert(
    file: FileArgument,
    *,
    to: Target,
    accept_edited: Annotated[
        bool, option("accept_edited", "Read the file although its digest is wrong.")
    ] = False,
    format: Annotated[  # noqa: A002  # the word of the settings
        Format, option("format", "Of the snapshots of the new store.")
    ] = "json",
    compress: Annotated[
        str | None, option("compress", "Its snapshots and older journal: gzip, zstd or zstd:9.")
    ] = None,
    key_from: Annotated[
        str | None,
        option("key_from", "Where the key of the new store is: it is encrypted. See penin run."),
    ] = None,
    source_key_from: Annotated[
        str | None,
        option("source_key_from", "Where the key of FILE is, if that is encrypted with another."),
    ] = None,
) -> int:
    """The command; `penin.cli.help` tells what it promises."""
    directory = store_directory(to, "--to")
    try:
        made = convert_file(
            file,
            directory,
            accept_edited=accept_edited,
            format=format,
            compress=compress,
            key_from=key_from,
            source_key_from=source_key_from,
        )
    except RefusedError as error:
        raise UsageError(f"--{error.field.replace('_', '-')}: {error.reason}") from error
    except FileNotFoundError as error:
        raise UsageError(f"{file}: {error.strerror}") from error
    artifacts = counted(made.knowledge_base_size, "artifact")
    say(f"store {made.store} made in {directory} at seq {made.seq}, with {artifacts}")
    return ExitCode.SUCCESS
