"""`penin diff`: what was added, changed and removed between two states."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Final

import msgspec
import typer

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
from penin.cli.terminal import counted, print_out, printable, say
from penin.core.difference import BoundDifference, Difference, HistoryDifference, NameDifference
from penin.runtime.compare import Compared, Side, compare

NAMES_SHOWN: Final = 10
_MARKS: Final = (("+", "added"), ("~", "changed"), ("-", "removed"))

_SIDE = "A snapshot file, the directory of a store, or a seq of the store in --dir; now is its end."
SideArgument = Annotated[str, typer.Argument(metavar="A", help=_SIDE)]
OtherArgument = Annotated[str, typer.Argument(metavar="B", help="The same.")]


class Names(msgspec.Struct, frozen=True):
    """How many names, and the first of them (with --all: all)."""

    count: int
    names: list[str]


class NamesByChange(msgspec.Struct, frozen=True):
    """Names by what happened to what they name."""

    added: Names
    changed: Names
    removed: Names


class Shown(msgspec.Struct, frozen=True):
    """What `penin diff --json` writes."""

    before: Side
    after: Side
    equal: bool
    knowledge_base: NamesByChange
    documents: NamesByChange
    histories: dict[str, HistoryDifference]
    history_maxlen: BoundDifference | None


def diff(
    a: SideArgument,
    b: OtherArgument,
    *,
    all: Annotated[  # noqa: A002  # the word of the option
        bool, option("all", f"All names, and not the first {NAMES_SHOWN} of each kind.")
    ] = False,
    dir: ExistingDirectory = DIR_DEFAULT,  # the word of the option
    key_from: KeyOption = None,
    json: JsonOption = False,
) -> int:
    """The command; `penin.cli.help` tells what it promises."""
    compared = compare(a, b, store_directory(dir), files_of(key_from))
    for side in (compared.before, compared.after):
        for reason in side.passed_over:
            say(f"{reason}; an older snapshot and the journal took its place")
    limit = None if all else NAMES_SHOWN
    if json:
        print_json(_shown(compared, limit))
    else:
        print_rows(_rows(compared))
        hint = " (--all names them)"
        print_out("".join(name_lines(compared.difference, limit, hint)))
    return ExitCode.SUCCESS if compared.difference.is_empty else ExitCode.NEGATIVE


def _shown(compared: Compared, limit: int | None) -> Shown:
    found = compared.difference
    return Shown(
        compared.before,
        compared.after,
        found.is_empty,
        names_by_change(found.knowledge_base, limit),
        names_by_change(found.documents, limit),
        found.histories,
        found.history_maxlen,
    )


def names_by_change(found: NameDifference, limit: int | None) -> NamesByChange:
    """The names with their counts, for programs."""
    changes: list[list[str]] = [getattr(found, change) for _, change in _MARKS]
    return NamesByChange(*(Names(len(names), names[:limit]) for names in changes))


# -- for people -------------------------------------------------------------------------------


def _rows(compared: Compared) -> Iterator[tuple[str, str]]:
    found = compared.difference
    yield "before", _side(compared.before)
    yield "after", _side(compared.after)
    if found.is_empty:
        yield "equal", "knowledge base, documents and histories, bit for bit"
        return
    yield "knowledge base", counts_shown(found.knowledge_base)
    yield "documents", counts_shown(found.documents)
    if found.history_maxlen is not None:
        yield "new histories", _bounds(found.history_maxlen.before, found.history_maxlen.after)
    for name, history in found.histories.items():
        yield name, history_shown(history)


def _side(side: Side) -> str:
    text = f"{side.name}: seq {side.seq:,}"
    if side.asked_seq is not None:
        text += f" (the message before seq {side.asked_seq:,}, which is inside one)"
    if side.at is not None:
        text += f" at {side.at}"
    return f"{text}, store {side.store}" if side.store is not None else text


def counts_shown(found: NameDifference) -> str:
    """How many names of each kind, for people."""
    if found.is_empty:
        return "the same"
    return ", ".join(f"{len(getattr(found, change)):,} {change}" for _, change in _MARKS)


def history_shown(found: HistoryDifference) -> str:
    """What became of a history, for people."""
    if found.change == "added":
        return f"added, with {counted(found.size_after, 'item')} ({_bound(found.maxlen_after)})"
    if found.change == "removed":
        return f"removed, with {counted(found.size_before, 'item')}"
    text = f"{found.appended:,} appended, {found.dropped:,} dropped, {found.size_after:,} now"
    if found.maxlen_before != found.maxlen_after:
        text += f" ({_bounds(found.maxlen_before, found.maxlen_after)})"
    return text


def _bounds(before: int | None, after: int | None) -> str:
    return f"{_bound(after)}, and before {_bound(before)}"


def _bound(maxlen: int | None) -> str:
    return "all kept" if maxlen is None else f"the newest {maxlen:,} kept"


def name_lines(found: Difference, limit: int | None, hint: str = "") -> Iterator[str]:
    """A line for each name: a mark, the part of the state, the name; `limit` of each kind.

    `hint` stands behind the count of those that are left out.
    """
    parts: tuple[tuple[str, Any], ...] = (
        ("artifact", found.knowledge_base),
        ("document", found.documents),
    )
    if all(part.is_empty for _, part in parts):
        return
    yield "\n"
    for kind, part in parts:
        for mark, change in _MARKS:
            names: list[str] = getattr(part, change)
            for name in names[:limit]:
                shown = printable(name).replace("\n", "\\n")
                yield f"{mark} {kind} {shown}\n"
            if limit is not None and len(names) > limit:
                further = counted(len(names) - limit, f"more {change} {kind}")
                yield f"{mark} {further}{hint}\n"
