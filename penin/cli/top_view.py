"""What `penin top` shows of one look at a worker."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import msgspec
from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.table import Table
from rich.text import Text

from penin.cli.chart import COLUMNS, line_chart
from penin.cli.ledger_lines import text_of
from penin.cli.terminal import printable
from penin.runtime.ledger import Entry
from penin.runtime.metrics import MetricsView
from penin.runtime.status import WorkerStatus
from penin.storage.timings import TimingsView

CHART_HEIGHT: Final = 6
TRANSITIONS_MIN: Final = 3
_USED_HEIGHT: Final = 11
"""Lines beside the chart and the transitions."""
_LEFT_LABELS: Final = 8
_RIGHT_LABELS: Final = 10
_MILLISECOND_S: Final = 0.001
_UNITS: Final = ("B", "kB", "MB", "GB", "TB")
_UNIT_STEP: Final = 1000


class Look(msgspec.Struct, frozen=True):
    """What was found at one moment: `metrics` and `since`, its difference to the look before.

    `problem` says why there is nothing new.
    """

    dir: str
    status: WorkerStatus | None = None
    since: MetricsView | None = None
    scores: Sequence[float] = ()
    entries: Sequence[Entry] = ()
    problem: str | None = None


class TopView:
    """A look, drawn for the terminal that it is printed to."""

    def __init__(self, look: Look) -> None:
        self._look = look

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        height = options.height or console.height
        width = options.max_width
        look = self._look
        parts: list[Text | Table] = [self._head(width)]
        if look.problem is not None:
            parts.append(Text(f"  {printable(look.problem)}", style="bold red"))
        if look.status is not None and look.status.metrics is not None:
            parts.append(_numbers(look.status, look.status.metrics, look.since))
        room = height - _USED_HEIGHT - CHART_HEIGHT
        parts += _scores(look.scores, width)
        parts += _transitions(look.entries, width, max(TRANSITIONS_MIN, room))
        yield Group(*parts)

    def _head(self, width: int) -> Text:
        look, status = self._look, self._look.status
        head = Text("penin top", style="bold")
        if status is not None and look.problem is None:
            style = "green" if status.phase == "running" else "yellow"
            head.append(f"  {status.phase}", f"bold {style}")
            told = f"  process {status.pid}  epoch {status.epoch}  fsync {status.fsync}"
            head.append(told, "not bold")
        head.append(f"  {printable(look.dir)}", "not bold")
        head.truncate(width, overflow="ellipsis")
        return head


def _numbers(status: WorkerStatus, now: MetricsView, since: MetricsView | None) -> Table:
    table = Table(show_header=False, box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for width in (_LEFT_LABELS, _RIGHT_LABELS):
        table.add_column(style="cyan", no_wrap=True, min_width=width)
        table.add_column(no_wrap=True, overflow="ellipsis")
    behind = now.applied_seq - now.durable_seq
    refused = sum(now.refused.values())
    left = [
        ("messages", _rate(now, since)),
        ("in all", f"{now.messages:,} in {now.batches:,} commits"),
        ("mailbox", f"{now.mailbox_messages:,} of {status.mailbox_messages_max:,}"),
        ("applied", f"seq {now.applied_seq:,}"),
        ("durable", f"seq {now.durable_seq:,}" + (f" ({behind:,} behind)" if behind else "")),
        ("memory", "unknown" if now.memory_bytes is None else size_text(now.memory_bytes)),
        ("up", _duration(now.uptime_s)),
    ]
    right = [
        ("fsync", _timings(now.fsync, None if since is None else since.fsync)),
        ("loop delay", _timings(now.loop_delay, None if since is None else since.loop_delay)),
        ("checkpoint", _checkpoint(now)),
        ("", f"seq {now.checkpoint_seq:,}, {size_text(now.checkpoint_bytes)}"),
        ("failed", f"{now.checkpoint_failures:,} of its checkpoints"),
        ("refused", f"{refused:,} messages" + (", no room on the disk" if now.is_full else "")),
        ("log", f"{now.log_events_dropped:,} events dropped"),
    ]
    for row in zip(left, right, strict=True):
        table.add_row(*(text for pair in row for text in pair))
    return table


def _rate(now: MetricsView, since: MetricsView | None) -> str:
    """Messages a second, of the time between two looks; of all time where there is but one."""
    measured = now if since is None else since
    if measured.uptime_s <= 0:
        return "0 /s"
    return f"{measured.messages / measured.uptime_s:,.0f} /s"


def _timings(now: TimingsView, since: TimingsView | None) -> str:
    """How long they took in the time between two looks, or until now where there was none then."""
    lately = since if since is not None and since.count else now
    half_s, most_s = lately.quantile_s(0.5), lately.quantile_s(0.99)
    if half_s is None or most_s is None or now.last_s is None:
        return "none yet"
    return f"p50 {_short(half_s)}, p99 {_short(most_s)}, last {_short(now.last_s)}"


def _checkpoint(now: MetricsView) -> str:
    if now.checkpoints.last_s is None:
        return f"none since {_duration(now.checkpoint_age_s)}"
    return f"{_duration(now.checkpoint_age_s)} ago, took {_short(now.checkpoints.last_s)}"


def _scores(scores: Sequence[float], width: int) -> list[Text]:
    """The newest scores as a line, with what the line goes between."""
    finite = [score for score in scores if math.isfinite(score)]
    title = Text.assemble(("score_history", "bold"))
    if not finite:
        title.append("  no scores yet")
        return [Text(""), title]
    newest = scores[-1]
    title.append(f"  last {newest:g}, of the newest {len(scores):,}: ")
    title.append(f"{min(finite):g} to {max(finite):g}")
    rows = line_chart(scores, width, CHART_HEIGHT)
    return [Text(""), title, *(Text(row, style="green", no_wrap=True) for row in rows)]


def _transitions(entries: Sequence[Entry], width: int, count: int) -> list[Text]:
    lines = [Text(""), Text("last transitions", style="bold")]
    for entry in entries[-count:]:
        line = text_of(entry, is_short=True)
        line.truncate(width, overflow="ellipsis")
        lines.append(line)
    return lines


def scores_wanted(width: int) -> int:
    """How many scores the line has room for."""
    return COLUMNS * width


def size_text(size_bytes: int) -> str:
    """A size with three digits: `904 B`, `64.3 MB`."""
    size, unit = float(size_bytes), 0
    while size >= _UNIT_STEP and unit < len(_UNITS) - 1:
        size, unit = size / _UNIT_STEP, unit + 1
    return f"{size:.0f} {_UNITS[0]}" if unit == 0 else f"{size:.1f} {_UNITS[unit]}"


def _short(seconds: float) -> str:
    """A time of less than a minute with the unit that fits it."""
    if seconds < _MILLISECOND_S:
        return f"{seconds * 1e6:.0f} µs"
    return f"{seconds * 1e3:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"


def _duration(seconds: float) -> str:
    """`12 s`, `3:05`, `1:02:03`, `4 d 1:02:03`."""
    minutes, rest = divmod(int(seconds), 60)
    if minutes == 0:
        return f"{rest} s"
    hours, minutes = divmod(minutes, 60)
    if hours == 0:
        return f"{minutes}:{rest:02d}"
    days, hours = divmod(hours, 24)
    return (f"{days} d " if days else "") + f"{hours}:{minutes:02d}:{rest:02d}"
