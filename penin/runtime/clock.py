"""The time of day, as journals and snapshots write it."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from functools import lru_cache

from penin.errors import RefusedValueError


def now_text() -> str:
    """The time as `2026-01-31T12:00:00.000123Z`, UTC. For people; nothing is ordered by it."""
    seconds, rest = divmod(time.time_ns(), 1_000_000_000)
    return f"{_second_text(seconds)}.{rest // 1000:06d}Z"


@lru_cache(maxsize=1)  # there is a commit every some 100 microseconds
def _second_text(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


def time_of(text: str, field: str) -> str:
    """A time in ISO 8601 (UTC where it names no offset) as journals write it, to compare as text.

    Raises RefusedValueError, which names `field`, for a text that is none.
    """
    try:
        time_then = datetime.fromisoformat(text)
        if time_then.tzinfo is None:
            time_then = time_then.replace(tzinfo=UTC)
        iso = time_then.astimezone(UTC).isoformat(timespec="microseconds")
    except (ValueError, OverflowError) as error:
        reason = f"{text[:100]!r} is no time such as 2026-01-31 or 2026-01-31T12:00:00Z"
        raise RefusedValueError(field, reason) from error
    return iso.replace("+00:00", "Z")
