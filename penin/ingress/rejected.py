"""`rejected.jsonl`: the lines that were refused, kept as they came.

Rules:

1. Every refused line is appended with exactly its bytes, whatever they are: not valid JSON, not
   valid UTF-8, longer than a line may be. A line feed ends it, also where the input ended without
   one. So the file can be mended with an editor and sent again; why each line was refused is in
   the log, as `message.refused` with file and line.
2. The file only grows. It is 0600 and never reached through a symlink.
3. In an encrypted store each line, or piece of one, is a record of its own that is encrypted
   (`penin.storage.record_encryption`); `penin rejected` gives them as they came.
4. A line is with the kernel before the next line of the input is read, and on the disk when the
   input has ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import aiofiles
from aiofiles.threadpool.binary import AsyncFileIO
from anyio import CancelScope

from penin.errors import StorageError
from penin.storage.filesystem import FILE_MODE, FileBlocks, FileSystem, OsFileSystem, storage_error
from penin.storage.keys import KeyRing, check_encryption
from penin.storage.record_encryption import RecordCipher, opened_record

REJECTED_NAME: Final = "rejected.jsonl"


class RejectedLines:
    """Appends to `rejected.jsonl` of a store directory, which must be there and be locked.

    An async context manager; the file is made when the first line is refused. Raises StorageError
    (StorageFullError where there is no room) where a line cannot be kept. In an encrypted store,
    of which `fs` has the key, what is appended is encrypted; KeyRequiredError where it has none.
    """

    def __init__(self, directory: Path, fs: FileSystem | None = None) -> None:
        self.path = directory / REJECTED_NAME
        self._fs: FileSystem = OsFileSystem() if fs is None else fs
        self._cipher: RecordCipher | None = None
        self._file: AsyncFileIO | None = None
        self._inside_line = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._file is None:
            return
        with CancelScope(shield=True):  # a stop is no reason to leave the file unsynced
            try:
                if self._inside_line:
                    await self.append(b"")
                await asyncio.to_thread(os.fsync, self._file.fileno())
            except OSError as failure:
                raise storage_error(self.path, failure) from failure
            finally:
                file, self._file = self._file, None
                await file.close()

    async def append(self, data: bytes, *, ends_line: bool = True) -> None:
        """Append a line, or a piece of one that is too long to be in memory as a whole.

        All of it or nothing: where it raises, it can be tried again. A cancelled scope does not
        end it, so that what was written is known.
        """
        with CancelScope(shield=True):
            try:
                if self._file is None:
                    self._cipher = await asyncio.to_thread(self._new_cipher)
                    self._file = await self._open()
                await asyncio.to_thread(self._write, self._file.fileno(), data, ends_line)
            except OSError as error:
                if error.errno == errno.ELOOP:
                    reason = "it is a symlink, which is not followed"
                    raise StorageError(self.path, reason) from error
                raise storage_error(self.path, error) from error
            self._inside_line = not ends_line

    def _new_cipher(self) -> RecordCipher | None:
        check_encryption(self._fs, self.path.parent)
        if self._fs.keys is None:
            return None
        return RecordCipher(self._fs.keys.ring(self._fs, self.path.parent))

    def _write(self, fd: int, data: bytes, ends_line: bool) -> None:  # noqa: FBT001  # a thread
        if self._cipher is None:
            _write_all(fd, data + b"\n" if ends_line else data)
        else:
            _write_all(fd, self._cipher.seal(data, ends_line=ends_line) + b"\n")

    async def _open(self) -> AsyncFileIO:
        file = await aiofiles.open(self.path, "ab", buffering=0, opener=_open_appending)
        if await asyncio.to_thread(_ends_inside_line, self.path):
            # A process was killed while it appended: its piece must not become part of this line.
            await file.write(b"\n")
        return file


def read_rejected(directory: Path, fs: FileSystem) -> Iterator[bytes]:
    """The lines that were refused, byte for byte as they came, in pieces.

    Of an encrypted store they are decrypted; a last record that was not finished is left out.
    Raises KeyRequiredError, NotEncryptedError, CorruptionError where a record does not
    authenticate, or another StorageError.
    """
    check_encryption(fs, directory)
    path = directory / REJECTED_NAME
    try:
        with FileBlocks(fs, path) as blocks:
            if fs.keys is None:
                yield from blocks
                return
            yield from _opened(blocks, fs.keys.ring(fs, directory), path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise storage_error(path, error) from error


def _opened(blocks: Iterable[bytes], ring: KeyRing, path: Path) -> Iterator[bytes]:
    rest = b""
    position = 0
    for block in blocks:
        *lines, rest = (rest + block).split(b"\n")
        for line in lines:
            data, ends_line = opened_record(ring, line, path, position)
            position += len(line) + 1
            yield data + b"\n" if ends_line else data


def _write_all(fd: int, data: bytes) -> None:
    size = os.fstat(fd).st_size
    rest = memoryview(data)
    try:
        while rest:
            rest = rest[os.write(fd, rest) :]
    except OSError:
        with contextlib.suppress(OSError):  # a device has no size
            os.ftruncate(fd, size)
        raise


def _open_appending(path: str, _flags: int) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
    return os.open(path, flags, FILE_MODE)


def _ends_inside_line(path: Path) -> bool:
    with path.open("rb") as file:
        if file.seek(0, os.SEEK_END) == 0:
            return False
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"
