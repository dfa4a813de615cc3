"""How long something took, each time: a histogram in constant memory."""

from __future__ import annotations

from bisect import bisect_left
from typing import Final

import msgspec

BOUNDS_S: Final = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05),
    *(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0),
)
"""The upper bounds of the buckets, in seconds; the last bucket has none."""


class TimingsView(msgspec.Struct, frozen=True):
    """Timings at one moment: how many were in each bucket, their sum, and the last one."""

    counts: list[int]
    sum_s: float
    last_s: float | None
    bounds_s: tuple[float, ...] = BOUNDS_S

    @property
    def count(self) -> int:
        """How many there were."""
        return sum(self.counts)

    def since(self, earlier: TimingsView) -> TimingsView:
        """Those that came after an earlier view of the same timings."""
        counts = [now - then for now, then in zip(self.counts, earlier.counts, strict=True)]
        return TimingsView(counts, self.sum_s - earlier.sum_s, self.last_s, self.bounds_s)

    def quantile_s(self, share: float) -> float | None:
        """The bound that so large a share of them stayed within; None without any.

        Those beyond the last bound count as that.
        """
        wanted = share * self.count
        seen = 0
        for bound_s, count in zip(self.bounds_s, self.counts, strict=False):
            seen += count
            if count and seen >= wanted:
                return bound_s
        return self.bounds_s[-1] if self.count else None


class Timings:
    """Is told by one thread, and can be looked at from any."""

    def __init__(self) -> None:
        self._counts = [0] * (len(BOUNDS_S) + 1)
        self._sum_s = 0.0
        self._last_s: float | None = None

    def observe(self, seconds: float) -> None:
        """Count one that took so long."""
        self._counts[bisect_left(BOUNDS_S, seconds)] += 1
        self._sum_s += seconds
        self._last_s = seconds

    def view(self) -> TimingsView:
        """How it is now."""
        return TimingsView(list(self._counts), self._sum_s, self._last_s)
