"""A place in a journal file, found without reading what is before it.

Every commit begins with its numbers and its time. So the beginning of any line tells on which side
of it the place is, and the file is bisected: a few short reads, whatever its size. Nothing is
trusted that is found so: it is where reading begins, and reading judges every line.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, NamedTuple

from penin.storage.filesystem import READ_BYTES, FileSystem

NEAR_BYTES: Final = 2**16
"""So near to a place it is cheaper to read on than to look for a nearer line."""
_LOOK_BYTES: Final = 2**12
_BEGINNING_BYTES_MAX: Final = 256
_BEGINNING: Final = re.compile(
    rb'\{"epoch":[0-9]{1,20},"first":[0-9]{1,20},"seq":([0-9]{1,20}),"synced":[0-9]{1,20},'
    rb'"at":"([ !#-\[\]-~]{1,64})"'
)


class Beginning(NamedTuple):
    """What the beginning of a commit says, unchecked: its last seq and its time."""

    seq: int
    at: str


IsBefore = Callable[[Beginning], bool]
"""Whether a commit lies before the place. Those for which it is true come first."""


def line_before(fs: FileSystem, fd: int, is_before: IsBefore) -> int:
    """The offset of a line at most `NEAR_BYTES` and a line before the place, or 0.

    A line that has not the beginning of a commit counts as behind the place: so of damage on the
    way the reading that begins here is told. Raises OSError.
    """
    begin, end = 0, fs.size(fd)
    while end - begin > NEAR_BYTES:
        middle = (begin + end) // 2
        start = _line_from(fs, fd, middle, end)
        line = None if start is None else _beginning(fs, fd, start)
        if start is not None and line is not None and is_before(line):
            begin = start
        else:
            end = middle
    return begin


def _line_from(fs: FileSystem, fd: int, offset: int, end: int) -> int | None:
    """The offset of the first line that begins after `offset` and before `end`."""
    size = _LOOK_BYTES
    while offset < end:
        piece = fs.read(fd, min(size, end - offset), offset)
        if not piece:
            return None  # it was cut meanwhile
        found = piece.find(b"\n")
        if found >= 0:
            start = offset + found + 1
            return start if start < end else None
        offset += len(piece)
        size = min(2 * size, READ_BYTES)
    return None


def _beginning(fs: FileSystem, fd: int, offset: int) -> Beginning | None:
    found = _BEGINNING.match(fs.read(fd, _BEGINNING_BYTES_MAX, offset))
    return None if found is None else Beginning(int(found[1]), found[2].decode())
