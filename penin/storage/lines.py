"""The lines of one journal file, which may be compressed."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from penin.errors import CorruptionError
from penin.storage.commits import LINE_BYTES_MAX
from penin.storage.compression import Content, split_suffix
from penin.storage.filesystem import READ_BYTES, FileSystem

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path


def journal_lines(fs: FileSystem, fd: int, path: Path, offset: int = 0) -> Iterator[bytes]:
    """Yield the lines from `offset` on, newlines included; the last one may lack it.

    A line longer than a frame can be is yielded in pieces, none of which is a valid line. The file
    is compressed where its name says so, and `offset` is one of its content. Raises OSError, and of
    a compressed file what `Content` raises, with the place of the first line that is not whole.
    """
    _, compression = split_suffix(path.suffix)
    blocks: Iterator[bytes]
    if compression is None:
        blocks = _blocks(fs, fd, offset)
    else:
        blocks = _behind(Content(_OpenFile(fs, fd), path, compression), offset)
    stream = io.BufferedReader(_RawBlocks(blocks), READ_BYTES)
    try:
        while line := stream.readline(LINE_BYTES_MAX + 1):
            yield line
            offset += len(line)
    except CorruptionError as error:
        reason = error.reason.removeprefix(f"damaged at byte {error.position}: ")
        raise CorruptionError(path, offset, reason) from error


def _blocks(fs: FileSystem, fd: int, offset: int) -> Iterator[bytes]:
    while block := fs.read(fd, READ_BYTES, offset):
        yield block
        offset += len(block)


def _behind(blocks: Iterable[bytes], offset: int) -> Iterator[bytes]:
    """What comes from byte `offset` on."""
    for block in blocks:
        if offset < len(block):
            yield block[offset:]
        offset = max(0, offset - len(block))


class _OpenFile:
    """A file that is open, as blocks from its beginning."""

    def __init__(self, fs: FileSystem, fd: int) -> None:
        self._fs = fs
        self._fd = fd

    @property
    def size_bytes(self) -> int:
        return self._fs.size(self._fd)

    def __iter__(self) -> Iterator[bytes]:
        return _blocks(self._fs, self._fd, 0)


class _RawBlocks(io.RawIOBase):
    """Blocks, for the standard library's buffering."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        super().__init__()
        self._blocks = blocks
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        if not self._rest:
            self._rest = memoryview(next(self._blocks, b""))
        size = min(len(buffer), len(self._rest))
        buffer[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size
