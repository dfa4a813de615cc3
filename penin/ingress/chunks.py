"""Bytes of a file or a stream, in blocks, read without ever blocking the event loop.

A regular file is read with aiofiles. Anything else (stdin, a pipe, a terminal, a device) can keep
a reader waiting for ever, and a thread of a pool that waits would keep the process from ending: it
is read on a daemon thread of its own, which waits in `poll` for the stream or for being told to
stop. Non-blocking mode is no way there: it belongs to the open file, which a terminal shares with
the shell and with our own stdout and stderr.
"""

from __future__ import annotations

import asyncio
import os
import select
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import aiofiles

from penin.runtime.storage_thread import StorageThread

CHUNK_BYTES: Final = 2**16
STDIN_FD: Final = 0


class Input:
    """Where lines come from: stdin, or a file of any kind.

    `source` is `stdin` or `file`; `name` is the path as it was given, and None for stdin.
    """

    def __init__(self, path: str | None = None) -> None:
        self.source = "stdin" if path is None else "file"
        self.name = path

    def __str__(self) -> str:
        return self.name or self.source

    def check(self) -> int | None:
        """The size in bytes of a regular file that can be read, None for anything else.

        Raises OSError for what cannot be read. It opens no stream, which would be a reader.
        """
        status = os.fstat(STDIN_FD) if self.name is None else Path(self.name).stat()
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(21, "it is a directory", str(self))
        if self.name is not None and not os.access(self.name, os.R_OK):
            raise PermissionError(13, "permission denied", self.name)
        if not stat.S_ISREG(status.st_mode):
            return None
        return max(0, status.st_size - (_offset(STDIN_FD) if self.name is None else 0))

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[AsyncIterator[bytes]]:
        """The blocks of bytes until the end. Raises OSError, at entering or while iterating."""
        if self.name is not None and await asyncio.to_thread(Path(self.name).is_file):
            async with aiofiles.open(self.name, "rb", buffering=0) as file:
                yield _blocks_of(file)
            return
        stream = _Stream(self.name)
        try:
            yield stream.blocks()
        finally:
            stream.close()


async def _blocks_of(file: aiofiles.threadpool.binary.AsyncFileIO) -> AsyncIterator[bytes]:
    while block := await file.read(CHUNK_BYTES):
        yield block


class _Stream:
    """A stream and the thread that reads it."""

    def __init__(self, path: str | None) -> None:
        self._path = path
        self._fd: int | None = None
        self._stop_receiver, self._stop_sender = os.pipe()
        os.set_blocking(self._stop_sender, False)  # it is written on the loop
        self._thread = StorageThread(f"penin-{'stdin' if path is None else 'input'}")

    async def blocks(self) -> AsyncIterator[bytes]:
        while block := await self._thread.call(self._read):
            yield block

    def close(self) -> None:
        """End the thread, also out of its waiting; returns at once."""
        os.write(self._stop_sender, b"\0")
        self._thread.close(self._release)

    def _read(self) -> bytes:
        """On the thread: the next block; nothing at the end, or when it is to stop."""
        if self._fd is None:
            self._fd = STDIN_FD if self._path is None else _open(self._path)
        poll = select.poll()
        poll.register(self._stop_receiver, select.POLLIN)
        poll.register(self._fd, select.POLLIN)
        while True:
            if any(fd == self._stop_receiver for fd, _ in poll.poll()):
                return b""
            try:
                return os.read(self._fd, CHUNK_BYTES)
            except BlockingIOError:
                continue  # another reader of the same stream was quicker

    def _release(self) -> None:
        if self._fd is not None and self._path is not None:
            os.close(self._fd)
        os.close(self._stop_receiver)
        os.close(self._stop_sender)


def _open(path: str) -> int:
    """Open without waiting for a named pipe's writer; `poll` waits for it."""
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)


def _offset(fd: int) -> int:
    try:
        return os.lseek(fd, 0, os.SEEK_CUR)
    except OSError:
        return 0
