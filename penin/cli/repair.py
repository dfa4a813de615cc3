"""`penin repair`: a new store of what is left of a damaged one."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, Final

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
from penin.cli.terminal import counted, is_terminal, printable, progress_bar, say
from penin.errors import UsageError
from penin.runtime.progress import Progress
from penin.runtime.repair import DamagedPlace, Plan, plan_repair
from penin.runtime.repair import repair as make_store

_LEFT_OUT: Final = ("state", "envelope", "suffix")


def repair(
    *,
    to: Annotated[str, option("to", "The directory of the new store.", metavar="DIR")],
    dir: ExistingDirectory = DIR_DEFAULT,  # the word of the option
    key_from: KeyOption = None,
    yes: Annotated[bool, option("yes", "Do not ask.")] = False,
    json: JsonOption = False,
) -> int:
    """The command; `penin.cli.help` tells what it promises."""
    directory, target = store_directory(dir), store_directory(to, "--to")
    progress, files = Progress(), files_of(key_from)
    try:
        with progress_bar("reading", "bytes", progress.reading):
            plan = plan_repair(directory, progress, files)
    except FileNotFoundError as error:
        raise UsageError(f"--dir {dir}: there is no store") from error
    if not json:
        print_rows(_rows(plan))
    store = None
    if plan.is_needed:
        if not yes:
            _ask(target)
        store = make_store(plan, target, files)
    if json:
        print_json({**_members(plan), "to": str(target), "made": store})
    if store is None:
        say(f"nothing is damaged in {directory}, and nothing was made")
    else:
        say(f"store {store} made in {target} at seq {plan.seq}; {directory} is as it was")
    return ExitCode.SUCCESS


def _ask(target: Path) -> None:
    """Raise UsageError where the answer is not yes, or nobody can be asked."""
    if not (is_terminal(sys.stdin) and is_terminal(sys.stderr)):
        raise UsageError("nothing was made: without a terminal to ask on, --yes has to say so")
    sys.stderr.write(printable(f"Make a store of this in {target}? [y/N] "))
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
        raise UsageError("nothing was made")


def _members(plan: Plan) -> dict[str, Any]:
    return {name: getattr(plan, name) for name in plan.__struct_fields__ if name not in _LEFT_OUT}


def _rows(plan: Plan) -> list[tuple[str, str]]:
    rows = [("store", plan.dir)]
    rows += [("damaged", _place(place)) for place in plan.damaged_snapshots]
    rows += [("damaged", _place(place)) for place in plan.damaged_journal]
    time = f" of {plan.at}" if plan.at else ""
    begun = "the beginning of the journal"
    if plan.snapshot is not None:
        begun = f"the snapshot at seq {plan.snapshot_seq:,} ({plan.snapshot})"
    rows.append(("kept", f"the state at seq {plan.seq:,}{time}, from {begun}"))
    if plan.cut_bytes:
        rows.append(("cut", f"{counted(plan.cut_bytes, 'byte')} of the journal"))
    if plan.incomplete_bytes:
        size = counted(plan.incomplete_bytes, "byte")
        rows.append(("left out", f"{size} of a commit that was not finished"))
    rows.append(("lost", _lost(plan)))
    return rows


def _place(place: DamagedPlace) -> str:
    if place.reason.startswith("damaged at byte "):
        return f"{place.path}: {place.reason}"
    return f"{place.path} at byte {place.position:,}: {place.reason}"


def _lost(plan: Plan) -> str:
    if plan.lost_first_seq is None:
        return "nothing"
    if plan.lost_last_seq is None:
        return f"seq {plan.lost_first_seq:,} and everything after it"
    return f"seq {plan.lost_first_seq:,} to {plan.lost_last_seq:,}"
