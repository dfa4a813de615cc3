"""The time of day, as journals and snapshots write it."""

from __future__ import annotations

import time


def now_text() -> str:
    """The time as `2026-01-31T12:00:00.000123Z`, UTC. For people; nothing is ordered by it."""
    nanoseconds = time.time_ns()
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{rest // 1000:06d}Z"
