"""`penin migrate`: a store is brought to another version of its owner's data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from penin.cli.diff import (
    NAMES_SHOWN,
    NamesByChange,
    counts_shown,
    history_shown,
    name_lines,
    names_by_change,
)
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
from penin.cli.tables import print_json, print_rows
from penin.cli.terminal import print_out, say
from penin.cli.workers import load_named, put_working_directory_on_path
from penin.core.difference import Difference, HistoryDifference
from penin.core.migration import Schema, schema_of
from penin.errors import RefusedError, UsageError
from penin.runtime.migrate import migrate as migrate_store
from penin.runtime.migrate import preview
from penin.settings import Settings

if TYPE_CHECKING:
    from penin.runtime.migration import Migrated

NameArgument = Annotated[
    str,
    typer.Argument(
        metavar="module:migrations",
        help="A dictionary: migrations[n] makes data of version n data of version n + 1.",
    ),
]


class Shown(msgspec.Struct, frozen=True):
    """What `penin migrate --json` writes; None and empty where there was nothing to be done."""

    dir: str
    schema_version_before: int
    schema_version: int
    seq: int | None
    original: str | None
    documents: NamesByChange | None
    knowledge_base: NamesByChange | None
    histories: dict[str, HistoryDifference]


def migrate(
    migrations: NameArgument,
    *,
    dry_run: Annotated[
        bool, option("dry_run", "Show what would change; write nothing, take no lock.")
    ] = False,
    json: JsonOption = False,
    dir: ExistingDirectory = DIR_DEFAULT,  # the word of the option
    key_from: KeyOption = None,
) -> int:
    """The command; `penin.cli.help` tells what it promises."""
    directory = store_directory(dir)
    put_working_directory_on_path()
    schema = _schema(migrations)
    files = files_of(key_from)
    outcome, made = None, None
    try:
        if dry_run:
            outcome = preview(directory, schema, files)
        else:
            made = migrate_store(directory, schema, Settings(), files)
    except FileNotFoundError as error:
        raise UsageError(f"--dir {dir}: there is no store") from error
    ran = made or outcome
    found = None if ran is None else ran.difference
    before = schema.version if ran is None else ran.found
    if json:
        print_json(_shown(directory, before, schema.version, found, made))
        return ExitCode.SUCCESS
    if found is not None:
        print_rows(_rows(found))
        print_out("".join(name_lines(found, NAMES_SHOWN)))
    say(_sentence(directory, before, schema.version, made))
    return ExitCode.SUCCESS


def _schema(name: str) -> Schema:
    """The migrations of that name, up to the version that the last of them leads to."""
    found: Any = load_named(name, "migrations")
    if not isinstance(found, Mapping) or not found:
        reason = f"{type(found).__name__} is not a dictionary of functions by version"
        raise UsageError(f"migrations {name}: {reason}")
    if not all(isinstance(version, int) for version in found):
        raise UsageError(f"migrations {name}: a version is a whole number")
    try:
        schema = schema_of(max(found) + 1, found)
    except RefusedError as error:
        raise UsageError(f"migrations {name}: {error}") from error
    assert schema is not None
    return schema


def _rows(found: Difference) -> Iterator[tuple[str, str]]:
    yield "documents", counts_shown(found.documents)
    yield "metadata", counts_shown(found.knowledge_base)
    for name, history in found.histories.items():
        yield name, history_shown(history)


def _sentence(directory: Path, before: int, version: int, made: Migrated | None) -> str:
    if before == version:
        return f"{directory} is of schema version {version} already; nothing was done"
    if made is None:
        return f"{directory} would go from schema version {before} to {version}; nothing was done"
    said = f"{directory} went from schema version {before} to {version} at seq {made.seq}"
    if made.original is None:
        return f"{said}; there was nothing in it"
    return f"{said}; the state before is kept in {made.original}"


def _shown(
    directory: Path, before: int, version: int, found: Difference | None, made: Migrated | None
) -> Shown:
    return Shown(
        dir=str(directory),
        schema_version_before=before,
        schema_version=version,
        seq=None if made is None else made.seq,
        original=None if made is None or made.original is None else str(made.original),
        documents=None if found is None else names_by_change(found.documents, NAMES_SHOWN),
        knowledge_base=(
            None if found is None else names_by_change(found.knowledge_base, NAMES_SHOWN)
        ),
        histories={} if found is None else found.histories,
    )
