"""Which checkpoints are kept: the union of three rules, as in tools for backups. Pure; no clock.

The time of a checkpoint is that of the last commit in it, and what comes last is told by the seqs,
so that a clock that was set back changes no order. Kept are

1. the newest `keep_last`;
2. for each of the newest `keep_daily` days (UTC) that have a checkpoint at all, its last one: days
   without one do not count, so an idle store loses nothing;
3. all whose time is within the last `keep_within_s` seconds before now (or after now, where the
   clock was set back);
4. whatever the rules say: the checkpoints that are known to be good (`valid`), and everything newer
   than the newest of them. So nothing is deleted for the sake of a newer checkpoint that may be
   damaged, and the newest good one never.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

CHECKPOINTS_KEPT_MIN: Final = 2


class Retention(msgspec.Struct, frozen=True):
    """The rules; 0 is none. `keep_last` counts as CHECKPOINTS_KEPT_MIN where it is less."""

    keep_last: int = CHECKPOINTS_KEPT_MIN
    keep_daily: int = 0
    keep_within_s: int = 0


def kept_seqs(
    checkpoints: Sequence[tuple[int, str | None]],
    *,
    now: str,
    retention: Retention,
    valid: Collection[int],
) -> set[int]:
    """Return the seqs of those that are kept, of checkpoints given as seq and time.

    Times are ISO 8601 in UTC, with a `Z`; one that is not known (None) is of no day and of no age.
    """
    oldest_first = sorted(checkpoints, key=lambda checkpoint: checkpoint[0])
    kept = {seq for seq, _ in oldest_first[-max(retention.keep_last, CHECKPOINTS_KEPT_MIN) :]}
    last_of_day = {at[:10]: seq for seq, at in oldest_first if at is not None}
    days = sorted(last_of_day, reverse=True)[: retention.keep_daily]
    kept.update(last_of_day[day] for day in days)
    if retention.keep_within_s:
        since_s = _seconds(now) - retention.keep_within_s
        kept.update(seq for seq, at in oldest_first if at is not None and _seconds(at) >= since_s)
    newest_valid = max(valid, default=-1)
    kept.update(seq for seq, _ in oldest_first if seq in valid or seq > newest_valid)
    return kept


def _seconds(at: str) -> float:
    return datetime.fromisoformat(at).timestamp()
