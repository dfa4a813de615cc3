"""A file system in memory that loses power, and fails, on command.

It has the interface of `penin.storage.filesystem.FileSystem` and is at least as unkind as POSIX
allows. For each file it keeps what is on the disk and, in order, what was done since; for each
directory the same. Then

- `after_crash(seed)` is the disk as it could look after a power cut: every sector of an unsynced
  file holds what it held after some prefix of the unsynced writes and cuts, the size is that of
  some such prefix or torn in between, and every unsynced change of a directory happened or did not;
- `after_kill()` is what the next process finds after `kill -9`: everything, and nothing of it is
  more on the disk than before;
- a sync that fails has put some sectors on the disk and forgotten the others: they are in the page
  cache, they are clean, and no later sync writes them.

`crash_at` is the number of the operation that the power cut comes in; every call after it raises
`Crash` too, so that no clean-up of the code under test reaches the disk.

Longer than 400 lines: it is one disk, and every operation of the interface works on its state.
"""

from __future__ import annotations

import copy
import errno
import itertools
import os
import random
from collections import Counter
from typing import TYPE_CHECKING, Literal, NamedTuple

from penin.storage.filesystem import SECTOR_BYTES
from penin.storage.keys import Keys

if TYPE_CHECKING:
    from pathlib import Path

Effect = Literal["none", "half", "whole"]
_devices = itertools.count(1)


class Crash(BaseException):
    """The power went, or the process was killed. No handler of errors may take it for one."""


class _Change(NamedTuple):
    """A write of `data` at `offset`, or with None a cut to the size `offset`."""

    offset: int
    data: bytes | None

    def apply(self, content: bytearray) -> None:
        if self.data is None:
            del content[self.offset :]
            content.extend(bytes(self.offset - len(content)))
        else:
            content.extend(bytes(max(0, self.offset - len(content))))
            content[self.offset : self.offset + len(self.data)] = self.data


class _File:
    """What the disk holds, what was done since, and what a reader sees."""

    def __init__(self) -> None:
        self.disk = bytearray()
        self.changes: list[_Change] = []
        self.cache = bytearray()

    def change(self, change: _Change) -> None:
        self.changes.append(change)
        change.apply(self.cache)

    def synced(self) -> None:
        for change in self.changes:
            change.apply(self.disk)
        self.changes.clear()

    def torn(self, rng: random.Random) -> None:
        """Let the disk have any part of what was done since the last sync."""
        versions = [bytearray(self.disk)]
        for change in self.changes:
            version = bytearray(versions[-1])
            change.apply(version)
            versions.append(version)
        last = len(versions) - 1
        # Half of the disks keep or lose nearly everything, the others anything.
        kept = rng.choice((0.0, 0.1, 0.5, 0.9, 1.0))
        mixed = rng.random() < 0.5

        def some_version() -> int:
            if mixed:
                return rng.randint(0, last)
            return last if rng.random() < kept else 0

        at = some_version()
        size = len(versions[at])
        if at < last and rng.random() < 0.5:
            low, high = sorted((size, len(versions[at + 1])))
            size = rng.randint(low, high)
        disk = bytearray(size)
        for start in range(0, size, SECTOR_BYTES):
            end = min(start + SECTOR_BYTES, size)
            sector = versions[some_version()][start:end]
            disk[start : start + len(sector)] = sector
        self.disk = disk
        self.changes.clear()


class _Directory:
    """The names on the disk, the changes since (each atomic), and what a reader sees."""

    def __init__(self) -> None:
        self.disk: dict[str, _File | _Directory] = {}
        self.changes: list[dict[str, _File | _Directory | None]] = []
        self.cache: dict[str, _File | _Directory] = {}

    def change(self, change: dict[str, _File | _Directory | None]) -> None:
        self.changes.append(change)
        _rename(self.cache, change)

    def synced(self) -> None:
        for change in self.changes:
            _rename(self.disk, change)
        self.changes.clear()

    def torn(self, rng: random.Random) -> None:
        kept = rng.choice((0.0, 0.5, 1.0))
        for change in self.changes:
            if rng.random() < kept:
                _rename(self.disk, change)
        self.changes.clear()


def _rename(
    names: dict[str, _File | _Directory], change: dict[str, _File | _Directory | None]
) -> None:
    for name, node in change.items():
        if node is None:
            names.pop(name, None)
        else:
            names[name] = node


class _Fault(NamedTuple):
    call: int
    errno: int
    partial: int | None


class CrashableFileSystem:
    """See the head of this file. Deterministic for a seed and the calls made."""

    def __init__(self, *, seed: int = 0) -> None:
        self.keys: Keys | None = None  # of encrypted stores
        self.crash_at: int | None = None  # the number of an operation, from 1
        self.crash_effect: Effect = "none"  # how much of that operation still happens
        self.operations: list[str] = []  # every operation that changes something, with its name
        self._rng = random.Random(seed)
        self._root = _Directory()
        self._fds: dict[int, _File] = {}
        self._locks: dict[int, int] = {}  # descriptor -> id of the file
        self._next_fd = itertools.count(100)
        self._device = next(_devices)
        self._calls: Counter[str] = Counter()
        self._faults: dict[str, list[_Fault]] = {}
        self._dead = False

    # -- what tests do with it ------------------------------------------------------------------

    def fail(self, operation: str, number: int, *, at: int = 1, partial: int | None = None) -> None:
        """Let the `at`-th call of an operation from now on fail with an errno.

        With `partial`, for a write: that call takes so many bytes, and the one after it fails.
        """
        fault = _Fault(self._calls[operation] + at, number, partial)
        self._faults.setdefault(operation, []).append(fault)

    def after_crash(self, seed: int) -> CrashableFileSystem:
        """Return the file system as the next boot could find it after a power cut now."""
        other = self.after_kill()
        rng = random.Random(seed)
        seen: set[int] = set()
        stack: list[_File | _Directory] = [other._root]
        while stack:
            node = stack.pop()
            if id(node) in seen:
                continue
            seen.add(id(node))
            node.torn(rng)
            if isinstance(node, _Directory):
                node.cache = dict(node.disk)
                stack.extend(node.cache.values())
            else:
                node.cache = bytearray(node.disk)
        return other

    def after_kill(self) -> CrashableFileSystem:
        """Return the file system as the next process finds it; it is a copy, for many tries."""
        other = CrashableFileSystem(seed=self._rng.randint(0, 2**32))
        other._root = copy.deepcopy(self._root)
        if self.keys is not None:  # the next process has the same master key, and read no ring yet
            other.keys = Keys(self.keys.source, self.keys.master)
        return other

    @property
    def open_descriptors(self) -> int:
        """How many descriptors were opened and not closed."""
        return len(self._fds)

    def content(self, path: Path) -> bytes:
        """What a reader sees in a file."""
        return bytes(self._file(path).cache)

    def replace_content(self, path: Path, data: bytes) -> None:
        """Damage a file, in the cache and on the disk."""
        file = self._file(path)
        file.changes.clear()
        file.disk, file.cache = bytearray(data), bytearray(data)

    # -- the interface --------------------------------------------------------------------------

    def open_read(self, path: Path) -> int:
        self._alive()
        return self._opened(self._file(path))

    def open_write(self, path: Path, *, exclusive: bool = False) -> int:
        directory = self._directory(path.parent)
        node = directory.cache.get(path.name)
        if node is None:
            if self._begin("create", path):
                directory.change({path.name: _File()})
            self._end()
            return self._opened(self._file(path))
        self._alive()
        if exclusive:
            raise _error(errno.EEXIST, path)
        return self._opened(self._file(path))

    def read(self, fd: int, size: int, offset: int) -> bytes:
        self._alive()
        return bytes(self._fds[fd].cache[offset : offset + size])

    def write(self, fd: int, data: bytes | memoryview, offset: int) -> int:
        taken = bytes(data)
        fault = self._fault("write")
        if fault is not None:
            if fault.partial is None:
                raise _error(fault.errno)
            taken = taken[: fault.partial]
            self.fail("write", fault.errno)
        if self._crashes("write"):
            taken = {"none": b"", "half": taken[: len(taken) // 2], "whole": taken}[
                self.crash_effect
            ]
        if taken:
            self._fds[fd].change(_Change(offset, taken))
        self._end()
        return len(taken)

    def truncate(self, fd: int, size: int) -> None:
        if self._begin("truncate"):
            self._fds[fd].change(_Change(size, None))
        self._end()

    def size(self, fd: int) -> int:
        self._alive()
        return len(self._fds[fd].cache)

    def identity(self, fd: int) -> tuple[int, int]:
        return self._device, id(self._fds[fd])

    def begin_sync(self, fd: int, offset: int, size: int) -> None:
        """What is not synced may be on the disk anyway."""

    def sync_file(self, fd: int) -> None:
        file = self._fds[fd]
        try:
            begun = self._begin("sync_file")
        except OSError:
            file.torn(self._rng)
            raise
        if begun:
            file.synced()
        self._end()

    def sync_directory(self, path: Path) -> None:
        directory = self._directory(path)
        if self._begin("sync_directory", path):
            directory.synced()
        self._end()

    def map(self, fd: int) -> memoryview:
        self._alive()
        return memoryview(bytes(self._fds[fd].cache))

    def close(self, fd: int) -> None:
        self._alive()
        del self._fds[fd]
        self._locks.pop(fd, None)

    def rename(self, source: Path, target: Path) -> None:
        node, replaced = self._found(source), self._found(target)
        if node is None:
            raise _error(errno.ENOENT, source)
        if isinstance(node, _Directory) and replaced is not None:
            if not isinstance(replaced, _Directory):
                raise _error(errno.ENOTDIR, target)
            if replaced.cache:
                raise _error(errno.ENOTEMPTY, target)
        elif isinstance(replaced, _Directory):
            raise _error(errno.EISDIR, target)
        assert source.parent == target.parent, "only within a directory it is one change"
        if self._begin("rename", target) and replaced is not node:
            self._directory(target.parent).change({source.name: None, target.name: node})
        self._end()

    def link(self, source: Path, target: Path) -> None:
        file = self._file(source)
        if self._found(target) is not None:
            raise _error(errno.EEXIST, target)
        if self._begin("link", target):
            self._directory(target.parent).change({target.name: file})
        self._end()

    def unlink(self, path: Path) -> None:
        self._file(path)
        if self._begin("unlink", path):
            self._directory(path.parent).change({path.name: None})
        self._end()

    def remove_directory(self, path: Path) -> None:
        if self._directory(path).cache:
            raise _error(errno.ENOTEMPTY, path)
        if self._begin("rmdir", path):
            self._directory(path.parent).change({path.name: None})
        self._end()

    def names(self, directory: Path) -> list[str]:
        self._alive()
        return sorted(self._directory(directory).cache)

    def make_directory(self, path: Path) -> None:
        if path == path.parent:
            return
        if not isinstance(self._found(path), _Directory):
            self.make_directory(path.parent)
            parent = self._directory(path.parent)
            if self._begin("mkdir", path):
                parent.change({path.name: _Directory()})
            self._end()
        self.sync_directory(path.parent)

    def exists(self, path: Path) -> bool:
        self._alive()
        return self._found(path) is not None

    def lock(self, fd: int) -> bool:
        self._alive()
        if any(file == id(self._fds[fd]) for other, file in self._locks.items() if other != fd):
            return False
        self._locks[fd] = id(self._fds[fd])
        return True

    # -- how ------------------------------------------------------------------------------------

    def _alive(self) -> None:
        if self._dead:
            raise Crash

    def _fault(self, operation: str) -> _Fault | None:
        self._alive()
        self._calls[operation] += 1
        for fault in self._faults.get(operation, []):
            if fault.call == self._calls[operation]:
                return fault
        return None

    def _crashes(self, operation: str, path: Path | None = None) -> bool:
        """Count an operation, and tell whether the crash comes in it."""
        self.operations.append(operation if path is None else f"{operation} {path.name}")
        self._dead = len(self.operations) == self.crash_at
        return self._dead

    def _begin(self, operation: str, path: Path | None = None) -> bool:
        """Count an operation; tell whether it happens. Raises the fault that is due."""
        fault = self._fault(operation)
        if fault is not None:
            raise _error(fault.errno, path)
        return not self._crashes(operation, path) or self.crash_effect != "none"

    def _end(self) -> None:
        self._alive()

    def _opened(self, file: _File) -> int:
        fd = next(self._next_fd)
        self._fds[fd] = file
        return fd

    def _found(self, path: Path) -> _File | _Directory | None:
        node: _File | _Directory | None = self._root
        for part in path.parts[1:]:
            node = node.cache.get(part) if isinstance(node, _Directory) else None
        return node

    def _directory(self, path: Path) -> _Directory:
        self._alive()
        node = self._found(path)
        if not isinstance(node, _Directory):
            raise _error(errno.ENOENT if node is None else errno.ENOTDIR, path)
        return node

    def _file(self, path: Path) -> _File:
        self._alive()
        node = self._found(path)
        if not isinstance(node, _File):
            raise _error(errno.ENOENT if node is None else errno.EISDIR, path)
        return node


def _error(number: int, path: Path | None = None) -> OSError:
    return OSError(number, os.strerror(number), None if path is None else str(path))
