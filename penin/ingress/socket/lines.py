"""From what comes over a connection to lines, in bounded memory."""

from __future__ import annotations

from collections import deque
from typing import Final

from penin.ingress.splitting import LINE_BYTES_MAX

LONG_BYTES: Final = 2**16
"""From so many bytes on, a line counts among the long ones."""
LONG_LINES_BYTES_MAX: Final = 64 * 2**20
"""How much the long lines of all connections may hold together while they are incomplete."""
TOO_LONG: Final = f"longer than the {LINE_BYTES_MAX} bytes that a line may have"
TOO_MANY: Final = "too many long lines at a time; send it again"


class LongLines:
    """How many bytes the incomplete long lines of all connections hold."""

    def __init__(self) -> None:
        self.held_bytes = 0


class Discarded:
    """In place of a line that was not kept. `is_busy`: it may be sent again."""

    def __init__(self, *, is_busy: bool) -> None:
        self.is_busy = is_busy


class IncomingLines:
    """The lines of one connection. A line that is too long is dropped as it comes, up to its end.

    `feed` bytes, and take lines from the left of `whole`; `end` makes a line of what is left.
    """

    def __init__(self, long_lines: LongLines) -> None:
        self._long_lines = long_lines
        self.whole: deque[bytes | Discarded] = deque()
        self._parts: list[bytes] = []
        self._size = 0
        self._held = 0  # of `long_lines`
        self._dropped: Discarded | None = None  # the rest of this line is dropped too

    def feed(self, data: bytes) -> None:
        """Take what has come."""
        pieces = data.split(b"\n")
        last = pieces.pop()
        if pieces:
            if self._parts or self._dropped is not None:
                self._append(pieces[0])
                self._finish()
                del pieces[0]
            self.whole.extend(pieces)
        if last:
            self._append(last)

    def end(self) -> None:
        """Nothing more comes; the last line need not end in a line feed."""
        if self._parts or self._dropped is not None:
            self._finish()

    def clear(self) -> None:
        """Let go of everything."""
        self.whole.clear()
        self._drop(Discarded(is_busy=False))

    def _append(self, piece: bytes) -> None:
        if self._dropped is not None:
            return
        self._size += len(piece)
        if self._size > LINE_BYTES_MAX:
            self._drop(Discarded(is_busy=False))
            return
        if self._size > LONG_BYTES:
            self._hold(self._size)
            if self._long_lines.held_bytes > LONG_LINES_BYTES_MAX:
                self._drop(Discarded(is_busy=True))
                return
        self._parts.append(piece)

    def _finish(self) -> None:
        line = b"".join(self._parts) if self._dropped is None else self._dropped
        self.whole.append(line)
        self._drop(None)

    def _drop(self, dropped: Discarded | None) -> None:
        self._parts.clear()
        self._size = 0
        self._hold(0)
        self._dropped = dropped

    def _hold(self, size: int) -> None:
        self._long_lines.held_bytes += size - self._held
        self._held = size
