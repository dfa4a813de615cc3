"""`penin ledger`: the journal as a ledger of every transition, to be read, checked and exported."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from penin.cli.exits import ExitCode
from penin.cli.ledger_head import head_text, parsed_head
from penin.cli.ledger_options import with_selection
from penin.cli.ledger_signed import signed_heads, signed_rows
from penin.cli.options import (
    DIR_DEFAULT,
    ExistingDirectory,
    JsonOption,
    KeyOption,
    check_target,
    files_of,
    option,
    store_directory,
)
from penin.cli.tables import print_json, print_rows
from penin.cli.terminal import counted, print_out, progress_bar, say
from penin.errors import UsageError
from penin.runtime.ledger import Selection, read_entries, read_head, verify_chain
from penin.runtime.progress import Progress

if TYPE_CHECKING:
    from penin.runtime.ledger import ChainReport, Entry
    from penin.storage.survey import Damage

STDOUT: Final = "-"


def verify(
    *,
    head: Annotated[
        str | None,
        option("head", "What penin ledger head has printed: SEQ:HASH, HASH, or a file with it."),
    ] = None,
    public_key: Annotated[
        str | None,
        option("public_key", "The file of the public key that the signed heads are checked with."),
    ] = None,
    heads: Annotated[
        str | None,
        option("heads", "A file of signed heads that was kept elsewhere; heads.jsonl without it."),
    ] = None,
    dir: ExistingDirectory = DIR_DEFAULT,  # the word of the option
    json: JsonOption = False,
) -> int:
    """The command; `penin.cli.help` tells what it promises."""
    directory = store_directory(dir)
    signed = signed_heads(directory, public_key, heads)
    kept = None if head is None else parsed_head(head)
    progress = Progress()
    with progress_bar("verifying", "bytes", progress.reading):
        report = found(lambda: verify_chain(directory, kept, progress, signed=signed), dir)
    shown = {**_members(report), "is_whole": report.is_whole}
    if json:
        print_json(shown)
    else:
        print_rows(_rows(report))
    return ExitCode.SUCCESS if report.is_whole else ExitCode.CORRUPT


def head(
    *,
    dir: ExistingDirectory = DIR_DEFAULT,  # the word of the option
    json: JsonOption = False,
) -> int:
    """The command; `penin.cli.help` tells what it promises."""
    directory = store_directory(dir)
    line = found(lambda: read_head(directory), dir)
    if json:
        print_json(line)
    else:
        print_out(f"{head_text(line)}\n")
    return ExitCode.SUCCESS


@with_selection
def show(
    *,
    wanted: Selection,
    dir: ExistingDirectory = DIR_DEFAULT,  # the word of the option
    key_from: KeyOption = None,
    json: Annotated[bool, option("json", "A JSON object a line, as in an export.")] = False,
) -> int:
    """The command; `penin.cli.help` tells what it promises."""
    from penin.cli.ledger_lines import EntryLines

    lines = EntryLines(json=json)
    for entry in _entries(dir, wanted, key_from):
        if not lines.print(entry):
            break
    return ExitCode.SUCCESS


@with_selection
def export(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A .jsonl file, or - for stdout.")],
    *,
    wanted: Selection,
    overwrite: Annotated[bool, option("overwrite", "Replace a file that is there.")] = False,
    dir: ExistingDirectory = DIR_DEFAULT,  # the word of the option
    key_from: KeyOption = None,
) -> int:
    """The command; `penin.cli.help` tells what it promises."""
    from penin.storage.files import joined, replace_file

    lines = _Counted(_json_lines(_entries(dir, wanted, key_from)))
    if file == STDOUT:
        for line in lines:
            if not print_out(line.decode()):
                break
        return ExitCode.SUCCESS
    path = Path(file)
    check_target(path, overwrite=overwrite)
    with progress_bar("exporting", "transitions", lines.reading):
        replace_file(path, joined(lines))
    say(f"{counted(lines.count, 'transition')} written to {file}")
    return ExitCode.SUCCESS


def found(read: Any, dir: str) -> Any:  # the word of the option
    """What `read` returns; UsageError where there is no journal."""
    try:
        return read()
    except FileNotFoundError as error:
        raise UsageError(f"--dir {dir}: {error.strerror}") from error


def _entries(
    dir: str,  # the word of the option
    wanted: Selection,
    key_from: str | None,
) -> Iterator[Entry]:
    entries = read_entries(store_directory(dir), wanted, files_of(key_from))
    try:
        yield from entries
    except FileNotFoundError as error:
        raise UsageError(f"--dir {dir}: {error.strerror}") from error


def _json_lines(entries: Iterable[Entry]) -> Iterator[bytes]:
    import msgspec

    encode = msgspec.json.Encoder().encode
    return (encode(entry) + b"\n" for entry in entries)


class _Counted:
    """An iterable that knows how much of it was taken."""

    def __init__(self, lines: Iterable[bytes]) -> None:
        self._lines = lines
        self.count = 0

    def __iter__(self) -> Iterator[bytes]:
        for line in self._lines:
            self.count += 1
            yield line

    def reading(self) -> tuple[int, int | None, str]:
        """For the bar; called from its thread."""
        return self.count, None, f"{self.count:,} transitions"


def _members(report: ChainReport) -> dict[str, Any]:
    import msgspec

    members: dict[str, Any] = msgspec.structs.asdict(report)
    members["damage"] = [
        {**msgspec.structs.asdict(damage), "path": str(damage.path)} for damage in report.damage
    ]
    return members


def _rows(report: ChainReport) -> list[tuple[str, str]]:
    size = counted(report.size_bytes, "byte")
    files = f"{counted(report.files, 'file')}, {counted(report.lines, 'line')}, {size}"
    seqs = f"seq {report.first_seq:,} to {report.head.seq:,}"
    if report.head.seq < report.first_seq:
        seqs = f"nothing after seq {report.head.seq:,}"
    rows = [
        ("store", report.store or "no header tells"),
        ("ledger", f"{seqs} in {files}"),
        ("epochs", f"{report.epochs[0]:,} to {report.epochs[1]:,}"),
        ("head", head_text(report.head)),
    ]
    if report.incomplete_bytes:
        size = counted(report.incomplete_bytes, "byte")
        rows.append(("at the end", f"{size} of a commit that was not finished (yet)"))
    rows += [("damaged", damage_text(damage)) for damage in report.damage]
    if report.kept_head is not None:
        rows.append(("kept head", _kept_text(report)))
    if report.signed is not None:
        rows += signed_rows(report.signed)
    rows.append(("chain", "whole" if not report.damage else "broken"))
    return rows


def _kept_text(report: ChainReport) -> str:
    kept = report.kept_head
    assert kept is not None
    if report.kept_found:
        return f"found: {kept.hash}"
    if 0 <= kept.seq < report.first_seq - 1:
        first = f"the ledger is kept from seq {report.first_seq:,} on"
        return f"cannot be checked any more: it is of seq {kept.seq:,}, and {first}"
    return f"NOT FOUND: {kept.hash}; this is another ledger, or it was cut or written anew"


def damage_text(damage: Damage) -> str:
    """Where the chain is broken, why, and what is missing, in a line."""
    where = f"{damage.path} at byte {damage.position:,}: {damage.reason}"
    if damage.size_bytes:
        where += f" ({counted(damage.size_bytes, 'byte')} not readable)"
    return f"{where}; {missing_text(damage)}"


def missing_text(damage: Damage) -> str:
    """Which transitions are missing there."""
    if damage.last_seq is None:
        missing = f"missing: seq {damage.first_seq:,} and what came after it"
    elif damage.last_seq < damage.first_seq:
        return "no transition is missing"
    else:
        missing = f"missing: seq {damage.first_seq:,} to {damage.last_seq:,}"
    between = [
        text
        for text in (
            f"after {damage.after_at}" if damage.after_at else "",
            f"before {damage.before_at}" if damage.before_at else "",
        )
        if text
    ]
    return f"{missing} ({' and '.join(between)})" if between else missing
