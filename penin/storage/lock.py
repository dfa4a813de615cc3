"""The lock of a store: one writer at a time.

The lock is `flock` on a file that is never replaced or removed, since a second file of the same
name would be a second lock. It goes with the descriptor: when the process ends, however it ends,
the lock is free. The one way to keep it longer is a child that was forked, and not executed anew,
while the store was open: it shares the descriptor and holds the lock until it ends too.

What is written in the file is for people: who took the lock. It proves nothing.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from penin.errors import LockedError, LockHolderPlace
from penin.storage.filesystem import FileSystem, read_file, storage_error, write_all

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

POLL_INTERVAL_S: Final = 0.05

LOCK_NAME: Final = "lock"

_Where = Literal["here", "elsewhere"]  # in this process, or in another

# Who in this process holds a lock file, by the identity of the file. With the id of the process,
# because a forked child inherits the registry and has taken nothing itself.
_held: dict[tuple[int, int], tuple[int, StoreLock]] = {}


class Holder(msgspec.Struct, frozen=True):
    """Who wrote down that it took the lock."""

    pid: int
    host: str


class StoreLock:
    """The lock of the store in a directory. Not held until `acquire` returns."""

    def __init__(self, fs: FileSystem, directory: Path) -> None:
        self._fs = fs
        self._path = directory / LOCK_NAME
        self._fd: int | None = None

    def acquire(
        self,
        wait_s: float,
        *,
        sleep: Callable[[float], object] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take the lock, waiting for it at most `wait_s`.

        Raises `LockedError` with the holder if it is not free by then, `StorageError` if the file
        cannot be used, and `UnsupportedPlatformError` where there are no locks.
        """
        assert self._fd is None, "held already"
        deadline = clock() + wait_s
        try:
            fd = self._fs.open_write(self._path)
        except OSError as error:
            raise storage_error(self._path, error) from error
        where: _Where | None = "elsewhere"
        try:
            while (where := self._taken(fd)) is not None and (left_s := deadline - clock()) > 0:
                sleep(min(left_s, POLL_INTERVAL_S))
        except OSError as error:
            raise storage_error(self._path, error) from error
        finally:
            if where is not None:
                self._fs.close(fd)
        if where is not None:
            raise self._locked(where, wait_s)
        self._fd = fd
        with contextlib.suppress(OSError):  # information only: a full disk does not unlock
            self._fs.truncate(fd, 0)
            write_all(self._fs, fd, _ourselves(), 0)

    def write_holder_again(self) -> None:
        """Write the same bytes once more and sync them: OSError where the disk takes no writes."""
        assert self._fd is not None, "not held"
        write_all(self._fs, self._fd, _ourselves(), 0)
        self._fs.sync_file(self._fd)

    def release(self) -> None:
        """Give the lock up, if it is held."""
        if self._fd is None:
            return
        fd, self._fd = self._fd, None
        with contextlib.suppress(OSError):  # information only
            self._fs.truncate(fd, 0)
        identity = self._fs.identity(fd)
        self._fs.close(fd)
        _held.pop(identity, None)

    def holder(self) -> Holder | None:
        """Return who wrote down that it took the lock and not that it gave it up."""
        try:
            pid, _, host = read_file(self._fs, self._path).decode().strip().partition(" ")
            return Holder(int(pid), host)
        except (OSError, ValueError):
            return None

    def _taken(self, fd: int) -> _Where | None:
        """Try to take the lock; return None if that worked, else where it is held."""
        identity = self._fs.identity(fd)
        mine = (os.getpid(), self)
        holder = _held.setdefault(identity, mine)
        if holder is not mine:
            if holder[0] == mine[0]:
                return "here"
            _held[identity] = mine
        taken = True
        try:
            taken = not self._fs.lock(fd)
        finally:
            if taken:
                del _held[identity]
        return "elsewhere" if taken else None

    def _locked(self, where: _Where, waited_s: float) -> LockedError:
        holder = self.holder()
        pid, host = (None, None) if holder is None else (holder.pid, holder.host)
        found = "here" if where == "here" else _place_of(holder)
        return LockedError(self._path, pid, host, where=found, waited_s=waited_s)


def _place_of(holder: Holder | None) -> LockHolderPlace:
    """Where who wrote itself down is, as far as that can be told from here."""
    if holder is None:
        return "unknown"
    if holder.host != socket.gethostname():
        return "another host"
    return "this host" if _is_running(holder.pid) else "a child"


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    return True


def _ourselves() -> bytes:
    """What is written down about who holds the lock."""
    return f"{os.getpid()} {socket.gethostname()}\n".encode()
