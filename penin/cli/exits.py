"""Exit codes: the documented table of how a command of `penin` ends."""

from __future__ import annotations

import textwrap
from enum import IntEnum
from typing import Final

from penin.errors import (
    CorruptionError,
    FinalCheckpointError,
    FormatError,
    LockedError,
    MigrationError,
    PeninError,
    RefusedError,
    StorageError,
    TableError,
    UsageError,
    WorkerGaveUpError,
)

SIGNAL_BASE: Final = 128


class ExitCode(IntEnum):
    """How a command ended. 128 + n, by convention, stands for signal n and is not listed."""

    SUCCESS = 0
    BUG = 1
    USAGE = 2
    WORKER_GAVE_UP = 3
    REFUSED_INPUT = 4
    STORAGE_FAILED = 5
    CHECKPOINT_FAILED = 6
    LOCKED = 7
    CORRUPT = 8
    NEGATIVE = 9


MEANINGS: Final[dict[ExitCode, str]] = {
    ExitCode.SUCCESS: "done, or stopped by SIGINT, SIGTERM or SIGHUP with everything saved",
    ExitCode.BUG: "a bug of penin itself; only here is there a traceback",
    ExitCode.USAGE: "a mistake in the command line, an environment variable, a worker's name or a "
    "migration; or a question was not answered with yes, and nothing was done",
    ExitCode.WORKER_GAVE_UP: "a worker failed too often; everything was saved",
    ExitCode.REFUSED_INPUT: "some lines of the input were refused, or it could not be read to its "
    "end; everything else is stored (import: the rows before it)",
    ExitCode.STORAGE_FAILED: "the store could not be written or read (disk full, I/O error); what "
    "was acknowledged is stored",
    ExitCode.CHECKPOINT_FAILED: "only the last checkpoint failed; the journal has everything",
    ExitCode.LOCKED: "another process has the store open",
    ExitCode.CORRUPT: "the store is damaged, or of a format that this version does not read; "
    "nothing was changed",
    ExitCode.NEGATIVE: "the answer is no: diff found a difference, get found nothing of that name",
}

NOT_WORTH_A_RESTART: Final = (
    ExitCode.USAGE,
    ExitCode.REFUSED_INPUT,
    ExitCode.CORRUPT,
    ExitCode.NEGATIVE,
)
"""Starting again ends in the same way: for systemd's `RestartPreventExitStatus`. LOCKED is not
among them, because the other process may be about to end (a hand-over)."""

SIGNALS_MEANING: Final = (
    "ended by signal n: send and import by its first, with what was acknowledged stored; "
    "run by a second one, without a last checkpoint, or by one before the store is opened"
)


def exit_code_of(error: BaseException) -> ExitCode | None:
    """The exit code of an error that is explained by its sentence; None for a bug of ours."""
    kinds: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], ExitCode], ...] = (
        (WorkerGaveUpError, ExitCode.WORKER_GAVE_UP),
        (FinalCheckpointError, ExitCode.CHECKPOINT_FAILED),
        (LockedError, ExitCode.LOCKED),
        ((CorruptionError, FormatError), ExitCode.CORRUPT),
        (StorageError, ExitCode.STORAGE_FAILED),
        (TableError, ExitCode.REFUSED_INPUT),
        ((UsageError, RefusedError, MigrationError), ExitCode.USAGE),
        ((PeninError, OSError), ExitCode.STORAGE_FAILED),
    )
    return next((code for kind, code in kinds if isinstance(error, kind)), None)


def restart_prevent() -> str:
    """The line for the unit file of a systemd service."""
    codes = " ".join(str(int(code)) for code in NOT_WORTH_A_RESTART)
    return f"RestartPreventExitStatus={codes}"


def exits_text() -> str:
    """The table for `--help`, in lines of 78 characters at most."""
    rows = [(str(int(code)), meaning) for code, meaning in MEANINGS.items()]
    rows.append(("128 + n", SIGNALS_MEANING))
    lines = ["Exit codes:"]
    for code, meaning in rows:
        lines += textwrap.wrap(
            meaning, 78, initial_indent=f"  {code:<9}", subsequent_indent=" " * 11
        )
    lines.append(f"Not worth a restart, in a systemd unit: {restart_prevent()}")
    return "\n".join(lines)


def exits_markdown() -> str:
    """The table for the documentation."""
    lines = ["| code | name | meaning | worth a restart |", "|---|---|---|---|"]
    for code, meaning in MEANINGS.items():
        worth = "no" if code in NOT_WORTH_A_RESTART or code == ExitCode.SUCCESS else "yes"
        lines.append(f"| {int(code)} | `{code.name}` | {meaning} | {worth} |")
    lines.append(f"| 128 + n | | {SIGNALS_MEANING} | |")
    lines += ["", "For a systemd service:", "", "```ini"]
    lines += ["Restart=on-failure", restart_prevent(), "```"]
    return "\n".join(lines) + "\n"
