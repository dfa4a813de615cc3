"""A file that is only ever appended to, and that stops for good when nobody knows what is in it.

1. No room, said by `write`, is not a failure: the file is cut back to where it was and synced, and
   the next append is tried like any other.
2. Any other failed write, and any failed sync or cut, is final. The file is not synced again: after
   a failed sync the kernel may call clean what never reached the disk, and a second one would only
   seem to succeed.
"""

from __future__ import annotations

import contextlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from penin.errors import JournalFailedError
from penin.storage.filesystem import FULL_ERRNOS, FileSystem, storage_error, write_all

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


_BROKEN_OFF: Final = "writing was broken off and the outcome is unknown"


class AppendFile:
    """An open file with everything in it synced, taken over together with its descriptor."""

    def __init__(self, fs: FileSystem, path: Path, fd: int, size: int) -> None:
        self.path = path
        self.size = size  # in bytes; where the next append goes
        self.unsynced = False  # whether anything was appended since the last sync
        self._fs = fs
        self._fd = fd
        self._failure: str | None = None
        self._closed = False

    def append(self, data: bytes) -> None:
        """Write at the end; on return it is in the kernel, and durable after `sync`.

        Raises `StorageFullError`: then everything before is synced and nothing of `data` is there.
        Raises `JournalFailedError` for anything else, now and ever after.
        """
        self.check()
        try:
            write_all(self._fs, self._fd, data, self.size)
        except OSError as error:
            if error.errno not in FULL_ERRNOS:
                raise self._fail(error) from error
            with self._final_failure():
                self._fs.truncate(self._fd, self.size)
                self._fs.sync_file(self._fd)
            self.unsynced = False
            raise storage_error(self.path, error) from error
        except BaseException:
            self._failure = _BROKEN_OFF
            raise
        self.size += len(data)
        self.unsynced = True

    def sync(self) -> None:
        """Make durable what was appended. Raises `JournalFailedError`, now and ever after."""
        self.check()
        if not self.unsynced:
            return
        try:
            self._fs.sync_file(self._fd)
        except OSError as error:
            raise self._fail(error) from error
        except BaseException:
            self._failure = _BROKEN_OFF
            raise
        self.unsynced = False

    def check(self) -> None:
        """Raise `JournalFailedError` if this file has failed."""
        if self._failure is not None:
            raise JournalFailedError(self.path, self._failure)

    def close(self) -> None:
        """Sync what is unsynced, unless the file has failed, and close it, once."""
        if self._closed:
            return
        self._closed = True
        try:
            if self._failure is None:
                self.sync()
        finally:
            # What close could report of a synced file changes nothing that was promised.
            with contextlib.suppress(OSError):
                self._fs.close(self._fd)

    def _fail(self, error: OSError) -> JournalFailedError:
        """Stop for good, because of `error`; what to raise."""
        reason = error.strerror or str(error)
        self._failure = f"writing failed and the outcome is unknown: {reason}"
        return JournalFailedError(self.path, self._failure)

    @contextmanager
    def _final_failure(self) -> Iterator[None]:
        """Make whatever is raised inside final."""
        try:
            yield
        except OSError as error:
            raise self._fail(error) from error
        except BaseException:
            self._failure = _BROKEN_OFF
            raise
