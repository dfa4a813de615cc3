"""A journal file as lines, as a stream."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from penin.storage.commits import FRAME_BYTES_MAX
from penin.storage.filesystem import READ_BYTES, FileSystem

if TYPE_CHECKING:
    from collections.abc import Iterator


def journal_lines(fs: FileSystem, fd: int, offset: int) -> Iterator[bytes]:
    """Yield the lines from `offset` on, newlines included; the last one may lack it.

    A line longer than a frame can be is yielded in pieces, none of which is a valid line.
    """
    stream = io.BufferedReader(_RawFile(fs, fd, offset), READ_BYTES)
    while line := stream.readline(FRAME_BYTES_MAX + 1):
        yield line


class _RawFile(io.RawIOBase):
    """A file of a `FileSystem`, from an offset on, for the standard library's buffering."""

    def __init__(self, fs: FileSystem, fd: int, offset: int) -> None:
        super().__init__()
        self._fs = fs
        self._fd = fd
        self._offset = offset

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        data = self._fs.read(self._fd, len(buffer), self._offset)
        buffer[: len(data)] = data
        self._offset += len(data)
        return len(data)
