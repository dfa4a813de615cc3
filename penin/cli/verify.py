"""`penin verify`: everything in a store, checked."""

from __future__ import annotations

import contextlib
from typing import Annotated

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
from penin.cli.terminal import counted, progress_bar
from penin.errors import UsageError
from penin.runtime.progress import Progress
from penin.runtime.verify import Problem, SnapshotReport, StoreReport, verify_store

VERDICTS = {
    "same": "the journal leads to the same state",
    "unchecked": "read whole; nothing before it leads to it",
    "differs": "ANOTHER STATE than the journal leads to",
    "damaged": "DAMAGED",
}


def verify(
    *,
    dir: ExistingDirectory = DIR_DEFAULT,  # the word of the option
    key_from: KeyOption = None,
    json: JsonOption = False,
    no_progress: Annotated[
        bool, option("no_progress", "No progress bar, also on a terminal.")
    ] = False,
) -> int:
    """The command; `penin.cli.help` tells what it promises."""
    directory = store_directory(dir)
    progress, files = Progress(), files_of(key_from)
    with contextlib.ExitStack() as stack:
        if not no_progress:
            stack.enter_context(progress_bar("verifying", "bytes", progress.reading))
        try:
            report = verify_store(directory, progress, files)
        except FileNotFoundError as error:
            raise UsageError(f"--dir {dir}: there is no store") from error
    if json:
        print_json(report)
    else:
        print_rows(_rows(report))
    return ExitCode.SUCCESS if report.is_sound else ExitCode.CORRUPT


def _rows(report: StoreReport) -> list[tuple[str, str]]:
    rows = [("store", report.dir), ("id", report.store or "none yet")]
    rows += [("snapshot", _snapshot(snapshot)) for snapshot in report.snapshots]
    journal = report.journal
    if journal is not None:
        size = counted(journal.size_bytes, "byte")
        seqs = f"seq {journal.first_seq:,} to {journal.last_seq:,}"
        if journal.last_seq < journal.first_seq:
            seqs = f"nothing after seq {journal.last_seq:,}"
        epochs = f"epochs {journal.epochs[0]:,} to {journal.epochs[1]:,}"
        rows.append(("journal", f"{seqs} in {counted(journal.files, 'file')}, {size}, {epochs}"))
        if journal.incomplete_bytes:
            size = counted(journal.incomplete_bytes, "byte")
            rows.append(("at the end", f"{size} of a commit that was not finished (yet)"))
    rows += [("note", f"{note.path}: {note.what}") for note in report.notes]
    rows += [("PROBLEM", problem_text(problem)) for problem in report.problems]
    rows.append(("verdict", "sound" if report.is_sound else "NOT SOUND"))
    return rows


def _snapshot(snapshot: SnapshotReport) -> str:
    seq = "" if snapshot.seq is None else f"seq {snapshot.seq:,}"
    time = "" if snapshot.at is None else f" at {snapshot.at}"
    size = counted(snapshot.size_bytes, "byte")
    told = f"{seq}{time}, {size}" if seq else size
    return f"{told}: {VERDICTS[snapshot.verdict]} ({', '.join(snapshot.names)})"


def problem_text(problem: Problem) -> str:
    """Where something is wrong, what, and which transitions are missing there."""
    text = f"{problem.path} at byte {problem.position:,}: {problem.reason}"
    if problem.first_seq is None:
        return text
    upto = "and what came after it" if problem.last_seq is None else f"to {problem.last_seq:,}"
    return f"{text}; missing: seq {problem.first_seq:,} {upto}"
