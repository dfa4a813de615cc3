"""How far something that takes long has come: written by it, read by whoever shows it."""

from __future__ import annotations


class Progress:
    """So many bytes of so many. The numbers may be read from another thread at any time."""

    def __init__(self) -> None:
        self.done = 0
        self.total: int | None = None

    def begin(self, total: int) -> None:
        """Begin, or begin anew."""
        self.done, self.total = 0, total

    def reading(self) -> tuple[int, int | None, str]:
        """What a progress bar shows."""
        total = "" if self.total is None else f" of {self.total / 2**20:,.1f}"
        return self.done, self.total, f"{self.done / 2**20:,.1f}{total} MiB"
