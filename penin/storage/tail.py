"""The rule that tells a torn tail from corruption.

The damaged region runs from the start of the first line that is not valid in its place to the end
of the newest file. A crash leaves one when commits were written and not yet synced: the disk may
have kept any of their sectors, in any order, and any size of the file in between. A sector that it
did not keep reads as zeros, or is beyond the end of the file.

So the region is a torn tail if nothing in it proves that it was whole on the disk once, and if it
shows a mark of being torn. It is a torn tail if and only if

1. no line in it that is valid by itself states a `synced` at or beyond the first missing seq
   (whoever wrote that line knew the missing ones to be durable), and
2. no line in it that is valid by itself is of a later epoch than the last good line (an epoch
   begins only after everything before it has been made durable), and
3. it lacks the final newline, or its part in some sector is all zero.

Everything else is corruption. A header is durable before anything is written after it: a broken
one with something after it is corruption, and a file that holds nothing but a broken one was being
made when the crash came (`is_bare`).
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from penin.storage.commits import (
    HEADER_BYTES_MAX,
    Commit,
    Header,
    InvalidLineError,
    Position,
    parse_line,
)
from penin.storage.filesystem import SECTOR_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator

_COMMIT_START = b'{"epoch":'


class Torn(msgspec.Struct, frozen=True):
    """A torn tail: `size` bytes from `offset` on are what a crash left of unfinished writes."""

    offset: int
    size: int


class Corrupt(msgspec.Struct, frozen=True):
    """Damage that no crash explains, beginning at byte `position` of the file."""

    position: int
    reason: str


def classify(region: bytes, offset: int, last: Position) -> Torn | Corrupt:
    """Judge the damaged region at `offset`; `last` is the last good line before it."""
    for line in _valid_lines(region):
        synced = line.synced if isinstance(line, Commit) else line.first - 1
        if synced > last.seq:
            return Corrupt(
                offset, f"damage before a line that knew seq {last.seq + 1} to be durable"
            )
        if line.epoch > last.epoch:
            return Corrupt(offset, f"damage before a line of a later epoch, {line.epoch}")
    if region.endswith(b"\n") and not has_zero_sector(region, offset):
        return Corrupt(offset, "damage that is not a torn write: nothing of it is missing")
    return Torn(offset, len(region))


def is_bare(region: bytes) -> bool:
    """Tell whether a file holds nothing but its header, be it whole or broken.

    A commit in it, behind a newline that is damaged, was written after the header was durable.
    """
    is_one_line = len(region) <= HEADER_BYTES_MAX and b"\n" not in region[:-1]
    return is_one_line and _COMMIT_START not in region


def has_zero_sector(region: bytes, offset: int) -> bool:
    """Tell whether some sector of the disk holds nothing but zeros where the region lies in it."""
    start = 0
    end = SECTOR_BYTES - offset % SECTOR_BYTES
    while start < len(region):
        if not any(region[start:end]):
            return True
        start, end = end, end + SECTOR_BYTES
    return False


def _valid_lines(region: bytes) -> Iterator[Header | Commit]:
    """Yield what is valid by itself; the last line, without its newline, never is."""
    start = 0
    while end := region.find(b"\n", start) + 1:
        with suppress(InvalidLineError):
            yield parse_line(region[start:end])
        start = end
