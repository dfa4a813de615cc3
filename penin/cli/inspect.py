"""`penin inspect`: what is in a snapshot or a journal file, for people and for programs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final

import typer

from penin.cli.exits import ExitCode
from penin.cli.options import JsonOption, KeyOption, files_of
from penin.cli.tables import print_json, print_rows
from penin.cli.terminal import counted, say
from penin.core.summary import ColumnSummary, HistorySummary, StateSummary
from penin.errors import CorruptionError
from penin.runtime.inspect import Inspected, InspectedJournal, InspectedSnapshot, inspect_file

FileArgument = Annotated[
    Path, typer.Argument(metavar="FILE", help="A snapshot of any version, or a journal file.")
]
SHOWN_MAX: Final = 20
"""How many histories, documents and damaged places the table has; --json has all."""
UNKNOWN: Final = "none"


def inspect(file: FileArgument, *, key_from: KeyOption = None, json: JsonOption = False) -> int:
    """The command; `penin.cli.help` tells what it promises."""
    found = inspect_file(file, files_of(key_from))
    if json:
        print_json(found)
    else:
        print_rows(_rows(found))
    if not found.damage:
        return ExitCode.SUCCESS
    first = found.damage[0]
    say(str(CorruptionError(found.path, first.position, first.reason)))
    return ExitCode.CORRUPT


def _rows(found: Inspected) -> Iterator[tuple[str, str]]:
    yield "file", found.path
    yield (
        "format",
        found.format if found.format == "original" else f"{found.format} {found.version}",
    )
    compressed = "" if found.compression is None else f", compressed with {found.compression}"
    yield "size", counted(found.size_bytes, "byte") + compressed
    if isinstance(found, InspectedJournal):
        yield from _journal_rows(found)
    else:
        yield from _snapshot_rows(found)


def _damage_rows(found: Inspected) -> Iterator[tuple[str, str]]:
    shown = found.damage[:SHOWN_MAX]
    for damage in shown:
        yield "damage", f"at byte {damage.position:,}: {damage.reason}"
    if len(found.damage) > len(shown):
        yield "damage", _further(len(found.damage) - len(shown))


# -- snapshots --------------------------------------------------------------------------------


def _snapshot_rows(found: InspectedSnapshot) -> Iterator[tuple[str, str]]:
    yield "digest", found.digest if found.digest != "none" else "none: this format has none"
    yield from _damage_rows(found)
    yield "store", found.store or "none: saved outside a store"
    yield "epoch", _number(found.epoch)
    yield "seq", _number(found.seq) + (f" at {found.at}" if found.at else "")
    yield "schema version", _number(found.schema_version)
    yield "journal hash", found.journal_hash or UNKNOWN
    if found.state is not None:
        yield from _state_rows(found.state)


def _state_rows(state: StateSummary) -> Iterator[tuple[str, str]]:
    knowledge = state.knowledge_base
    text = counted(knowledge.artifacts, "artifact")
    if knowledge.artifacts:
        text += (
            f": {counted(knowledge.vector_bytes, 'byte')} of vectors, {knowledge.key_bytes:,} of "
            f"keys, {knowledge.metadata_bytes:,} of metadata"
        )
    yield "knowledge base", text
    for column in knowledge.columns:
        yield "", _column(column)
    if state.histories is None:
        yield "histories", "not readable"
    else:
        histories = list(state.histories.items())
        for name, history in histories[:SHOWN_MAX]:
            yield name, _history(history)
        if len(histories) > SHOWN_MAX:
            yield "histories", _further(len(histories) - SHOWN_MAX)
    if state.documents is None:
        yield "documents", "not readable"
        return
    yield "documents", f"{len(state.documents):,}"
    for name, document in list(state.documents.items())[:SHOWN_MAX]:
        yield "", f"{name}: {counted(document.size_bytes, 'byte')}{_changed(document.seq)}"
    if len(state.documents) > SHOWN_MAX:
        yield "", _further(len(state.documents) - SHOWN_MAX)


def _column(column: ColumnSummary) -> str:
    return (
        f"{column.dtype} x {column.dimension:,}: {counted(column.artifacts, 'artifact')}, "
        f"{counted(column.vector_bytes, 'byte')} of vectors, {column.metadata_bytes:,} of metadata"
    )


def _history(history: HistorySummary) -> str:
    bound = "all kept" if history.maxlen is None else f"the newest {history.maxlen:,} kept"
    text = f"{counted(history.size, 'item')} ({bound}){_changed(history.seq)}"
    if history.scores is not None:
        scores = history.scores
        text += f", min {scores.min:g}, mean {scores.mean:g}, max {scores.max:g}"
    return text


def _changed(seq: int | None) -> str:
    return "" if seq is None else f", changed at seq {seq:,}"


# -- journal files ----------------------------------------------------------------------------


def _journal_rows(found: InspectedJournal) -> Iterator[tuple[str, str]]:
    yield "chain", found.chain
    yield from _damage_rows(found)
    tail = found.torn_tail
    if tail is not None:
        text = f"{counted(tail.size, 'byte')} from byte {tail.offset:,} on: an incomplete commit"
        yield (
            "torn tail",
            text
            if tail.offset
            else "the header is incomplete: the next opening makes the file anew",
        )
    yield "store", found.store or UNKNOWN
    fork = found.forked_from
    if fork is not None:
        yield "forked from", f"{fork.store or 'a file'} at seq {fork.seq:,}, hash {fork.hash}"
    yield "epochs", f"{_number(found.first_epoch)} to {_number(found.last_epoch)}"
    if found.last_seq is None:
        yield "seqs", f"none; it begins at {found.first_seq:,}"
    else:
        durable = f"its last line knew those up to {found.synced_seq:,} to be durable"
        yield "seqs", f"{found.first_seq:,} to {found.last_seq:,} ({durable})"
    yield "times", f"{found.first_at} to {found.last_at}" if found.first_at else UNKNOWN
    yield "commits", f"{found.commits:,}, and {counted(found.openings, 'opening')}"
    for name, counts in (("messages", found.messages), ("transitions", found.transitions)):
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in counts.items())
        yield name, f"{sum(counts.values()):,}" + (f": {kinds}" if kinds else "")
    yield "hash before", found.prev or UNKNOWN
    yield "last hash", found.hash or UNKNOWN


def _number(number: int | None) -> str:
    return UNKNOWN if number is None else f"{number:,}"


def _further(count: int) -> str:
    return f"and {count:,} more (--json has them)"
