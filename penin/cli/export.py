"""`penin export`: the knowledge base of a store as a file of rows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from penin.cli.exits import ExitCode
from penin.cli.options import (
    DIR_DEFAULT,
    ExistingDirectory,
    KeyOption,
    check_target,
    files_of,
    option,
    store_directory,
)
from penin.cli.terminal import counted, progress_bar, say
from penin.core.orchestrator import OmegaMetaOrchestrator
from penin.errors import UsageError
from penin.ingress.tables.opening import NPY, suffix_of
from penin.ingress.tables.selection import Selection
from penin.ingress.tables.writing import write_table
from penin.runtime.past import read_state

FileArgument = Annotated[
    Path,
    typer.Argument(metavar="FILE", help="A .npy, .npz, .safetensors, .jsonl or .parquet file."),
]
Dtype = Literal[
    "float32",
    "float64",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
]


def export(
    file: FileArgument,
    *,
    keys: Annotated[
        str | None,
        option("keys", "With .npy: the file for the keys, text or .jsonl, one a line."),
    ] = None,
    metadata: Annotated[
        str | None,
        option("metadata", "With .npy: the file for the metadata, one JSON object a line."),
    ] = None,
    dtype: Annotated[Dtype | None, option("dtype", "Only vectors of this dtype.")] = None,
    dimension: Annotated[
        int | None, option("dimension", "Only vectors of so many numbers.")
    ] = None,
    overwrite: Annotated[bool, option("overwrite", "Replace files that are there.")] = False,
    dir: ExistingDirectory = DIR_DEFAULT,  # the word of the option
    key_from: KeyOption = None,
) -> int:
    """The command; `penin.cli.help` tells what it promises."""
    beside = [None if name is None else Path(name) for name in (keys, metadata)]
    _check_paths(file, beside, overwrite=overwrite)
    directory = store_directory(dir)
    try:
        knowledge_base = OmegaMetaOrchestrator.from_state(
            read_state(directory, files_of(key_from))
        ).knowledge_base
    except FileNotFoundError as error:
        raise UsageError(f"--dir {dir}: there is no store") from error
    selection = Selection(knowledge_base, dtype, dimension)
    with progress_bar("exporting", "rows", lambda: _reading(selection)):
        write_table(file, selection, *beside)
    said = f"{counted(selection.count, 'artifact')} written to {file}"
    if suffix_of(file) == NPY and metadata is None and selection.has_metadata:
        without = counted(selection.with_metadata, "metadata object")
        said += f", without {without}: --metadata names a file for them"
    say(said)
    return ExitCode.SUCCESS


def _check_paths(file: Path, beside: list[Path | None], *, overwrite: bool) -> None:
    """Raise UsageError for files that are not to be written."""
    given = [file, *(path for path in beside if path is not None)]
    if suffix_of(file) != NPY and len(given) > 1:
        raise UsageError(f"{file}: keys and metadata stand in it, and in no file beside it")
    if len({path.resolve() for path in given}) < len(given):
        raise UsageError(f"{file}: keys, metadata and vectors are files of their own")
    for path in given:
        check_target(path, overwrite=overwrite)


def _reading(selection: Selection) -> tuple[int, int | None, str]:
    return selection.written, selection.count, f"{selection.written:,} of {selection.count:,} rows"
