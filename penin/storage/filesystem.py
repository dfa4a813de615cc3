"""The one door from the store to the operating system.

Everything that the storage layer asks of a disk goes through `FileSystem`, so that a test can put
a disk behind it that loses power. What the layer above counts on:

1. `write` may be short and puts data into the page cache only; `sync_file` makes the data and
   the size of that one file durable, but not the name that it is found under.
2. `sync_directory` makes the names in that one directory durable.
3. After `sync_file` has failed, nothing is known about the file and asking again proves nothing:
   the kernel may have marked as clean what never reached the disk.
4. `rename` within a directory is atomic.
5. A disk writes sectors of `SECTOR_BYTES` whole or not at all, in any order.
"""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol, Self

from penin.errors import StorageError, StorageFullError, UnsupportedPlatformError

try:
    import fcntl
except ImportError:  # Windows has no fcntl: reading and saving work there, the lock does not
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from penin.storage.keys import Keys

SECTOR_BYTES = 512
READ_BYTES = 2**20
# So the disk works while the rest of a large file is made, and the sync at the end waits less.
BEGIN_SYNC_BYTES = 8 * 2**20

FILE_MODE = 0o600
DIRECTORY_MODE = 0o700

# The errors that mean "no room": nothing is wrong with the file, and later there may be room.
FULL_ERRNOS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
# What file systems answer that have no hard links.
LINK_REFUSED_ERRNOS = frozenset(
    {errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EMLINK, errno.EXDEV}
)

# Flags that not every platform has; a descriptor made by `os.open` is close-on-exec by itself.
_BINARY = getattr(os, "O_BINARY", 0)
_CLOEXEC = getattr(os, "O_CLOEXEC", 0)
_DIRECTORY = getattr(os, "O_DIRECTORY", 0)
_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)


class FileSystem(Protocol):
    """What the store needs of a file system. Paths are absolute; errors are `OSError`s."""

    @property
    def keys(self) -> Keys | None:
        """What opens the encrypted stores on it; None: only plain ones are opened."""

    def open_read(self, path: Path) -> int:
        """Open an existing file for reading. A symlink is refused."""

    def open_write(self, path: Path, *, exclusive: bool = False) -> int:
        """Open a file for reading and writing, creating it (0600) where there is none.

        With `exclusive` it must not exist yet. A symlink is refused. A name that is new is
        durable only after `sync_directory`.
        """

    def read(self, fd: int, size: int, offset: int) -> bytes:
        """Read at most `size` bytes at `offset`; nothing at the end of the file."""

    def write(self, fd: int, data: bytes | memoryview, offset: int) -> int:
        """Write at `offset` and return how many bytes were taken: it may be fewer than given."""

    def truncate(self, fd: int, size: int) -> None:
        """Set the size of the file."""

    def size(self, fd: int) -> int:
        """Return the size of the file in bytes."""

    def identity(self, fd: int) -> tuple[int, int]:
        """Return what tells this file from all others, whatever path it was opened by."""

    def begin_sync(self, fd: int, offset: int, size: int) -> None:
        """Let the disk begin with these bytes, if it can; nothing is promised or waited for."""

    def sync_file(self, fd: int) -> None:
        """Return when the data and the size of the file are on the disk."""

    def sync_directory(self, path: Path) -> None:
        """Return when the names in the directory are on the disk."""

    def map(self, fd: int) -> memoryview:
        """Return the file as read-only memory that is read from the disk when it is used.

        It stays after the descriptor is closed and the name is gone, until nothing refers to it.
        The file must not be cut meanwhile.
        """

    def close(self, fd: int) -> None:
        """Close the descriptor; with it goes a lock taken through it."""

    def rename(self, source: Path, target: Path) -> None:
        """Give another name, atomically replacing a file; a directory replaces an empty one."""

    def link(self, source: Path, target: Path) -> None:
        """Give a file a second name, which must not exist yet."""

    def unlink(self, path: Path) -> None:
        """Remove a name."""

    def remove_directory(self, path: Path) -> None:
        """Remove an empty directory."""

    def names(self, directory: Path) -> list[str]:
        """Return the names in the directory, sorted. A symlink to a directory is refused."""

    def make_directory(self, path: Path) -> None:
        """Make the directory (0700), with its parents where they do not exist.

        Its name is durable on return, also where it existed: it may have been made a moment ago
        by a process that was killed.
        """

    def exists(self, path: Path) -> bool:
        """Tell whether there is something of that name (a dangling symlink is something)."""

    def lock(self, fd: int) -> bool:
        """Lock the file for this descriptor alone, without waiting; False where it is taken."""


class OsFileSystem:
    """The real file system: Linux. macOS and Windows (no lock there) are untested."""

    def __init__(self, keys: Keys | None = None) -> None:
        self.keys = keys

    def open_read(self, path: Path) -> int:
        return os.open(path, os.O_RDONLY | _BINARY | _CLOEXEC | _NOFOLLOW)

    def open_write(self, path: Path, *, exclusive: bool = False) -> int:
        flags = os.O_RDWR | os.O_CREAT | _BINARY | _CLOEXEC | _NOFOLLOW
        if exclusive:
            flags |= os.O_EXCL
        return os.open(path, flags, FILE_MODE)

    def read(self, fd: int, size: int, offset: int) -> bytes:
        if hasattr(os, "pread"):
            return os.pread(fd, size, offset)
        os.lseek(fd, offset, os.SEEK_SET)
        return os.read(fd, size)

    def write(self, fd: int, data: bytes | memoryview, offset: int) -> int:
        if hasattr(os, "pwrite"):
            return os.pwrite(fd, data, offset)
        os.lseek(fd, offset, os.SEEK_SET)
        return os.write(fd, data)

    def truncate(self, fd: int, size: int) -> None:
        os.ftruncate(fd, size)

    def size(self, fd: int) -> int:
        return os.fstat(fd).st_size

    def identity(self, fd: int) -> tuple[int, int]:
        status = os.fstat(fd)
        return status.st_dev, status.st_ino

    def begin_sync(self, fd: int, offset: int, size: int) -> None:
        # What is dirty is not dropped by this advice: Linux begins to write it, and keeps it.
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(fd, offset, size, os.POSIX_FADV_DONTNEED)

    def sync_file(self, fd: int) -> None:
        full_sync = getattr(fcntl, "F_FULLFSYNC", None)
        if full_sync is not None:
            _sync_fully(fd, full_sync)
        elif hasattr(os, "fdatasync"):
            os.fdatasync(fd)
        else:
            os.fsync(fd)

    def sync_directory(self, path: Path) -> None:
        if os.name == "nt":
            return  # directories cannot be opened there; NTFS journals its own metadata
        fd = os.open(path, os.O_RDONLY | _CLOEXEC | _DIRECTORY)
        try:
            os.fsync(fd)
        except OSError as error:
            if error.errno != errno.EINVAL:  # a file system that has no sync of directories
                raise
        finally:
            os.close(fd)

    def map(self, fd: int) -> memoryview:
        if self.size(fd) == 0:
            return memoryview(b"")  # which cannot be mapped
        return memoryview(mmap.mmap(fd, 0, access=mmap.ACCESS_READ))

    def close(self, fd: int) -> None:
        os.close(fd)

    def rename(self, source: Path, target: Path) -> None:
        os.replace(source, target)

    def link(self, source: Path, target: Path) -> None:
        os.link(source, target, follow_symlinks=False)

    def unlink(self, path: Path) -> None:
        os.unlink(path)

    def remove_directory(self, path: Path) -> None:
        os.rmdir(path)

    def names(self, directory: Path) -> list[str]:
        if os.name == "nt":
            return sorted(os.listdir(directory))
        fd = os.open(directory, os.O_RDONLY | _CLOEXEC | _DIRECTORY | _NOFOLLOW)
        try:
            return sorted(os.listdir(fd))
        finally:
            os.close(fd)

    def make_directory(self, path: Path) -> None:
        if not path.is_dir():
            self.make_directory(path.parent)
            # Another process may make it at the same time; the parent is synced either way.
            with contextlib.suppress(FileExistsError):
                os.mkdir(path, DIRECTORY_MODE)
        # Also where it exists: whoever made it may have been killed before it was durable. Where
        # the parent cannot be opened, it was made by somebody who can, and long ago.
        with contextlib.suppress(PermissionError):
            self.sync_directory(path.parent)

    def exists(self, path: Path) -> bool:
        return os.path.lexists(path)

    def lock(self, fd: int) -> bool:
        if fcntl is None:
            raise UnsupportedPlatformError("this platform has no flock: a store cannot be opened")
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def _sync_fully(fd: int, full_sync: int) -> None:
    """Sync through the drive's own cache; some file systems refuse that and take a plain fsync."""
    try:
        fcntl.fcntl(fd, full_sync)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOTTY):
            raise
        os.fsync(fd)


def storage_error(path: Path, error: OSError) -> StorageError:
    """Turn an error of the operating system into one of ours, "no room" told from the rest."""
    kind = StorageFullError if error.errno in FULL_ERRNOS else StorageError
    return kind(path, error.strerror or str(error))


def write_all(fs: FileSystem, fd: int, data: bytes | memoryview, offset: int) -> None:
    """Write all of `data` at `offset`; on an `OSError` a part of it may have been written."""
    rest = memoryview(data)
    while rest:
        written = fs.write(fd, rest, offset)
        if written == 0:
            raise OSError(errno.EIO, "the file takes no more bytes and does not say why")
        rest = rest[written:]
        offset += written


def read_all(fs: FileSystem, fd: int, offset: int = 0) -> bytes:
    """Read from `offset` to the end of the file."""
    pieces = []
    while piece := fs.read(fd, READ_BYTES, offset):
        pieces.append(piece)
        offset += len(piece)
    return b"".join(pieces)


def read_file(fs: FileSystem, path: Path) -> bytes:
    """Read a whole file; `FileNotFoundError` where there is none."""
    fd = fs.open_read(path)
    try:
        return read_all(fs, fd)
    finally:
        fs.close(fd)


class FileBlocks:
    """A file that is open for reading, as blocks of at most `READ_BYTES`, to be closed after use.

    Each iteration begins at the start of the file. It shows the file that was opened, also after
    another one took its name. Raises `OSError` where it cannot be opened (`FileNotFoundError`
    where there is none), and `StorageError` where reading fails.
    """

    def __init__(self, fs: FileSystem, path: Path) -> None:
        self.fs = fs
        self.path = path
        self._fd = fs.open_read(path)

    @property
    def size_bytes(self) -> int:
        """How long the file is."""
        return self.fs.size(self._fd)

    @property
    def identity(self) -> tuple[int, int]:
        """What tells this file from all others."""
        return self.fs.identity(self._fd)

    def map(self) -> memoryview:
        """The whole file as `FileSystem.map` gives it; raises `StorageError`."""
        try:
            return self.fs.map(self._fd)
        except OSError as error:
            raise storage_error(self.path, error) from error

    def __iter__(self) -> Iterator[bytes]:
        offset = 0
        try:
            while block := self.fs.read(self._fd, READ_BYTES, offset):
                yield block
                offset += len(block)
        except OSError as error:
            raise storage_error(self.path, error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.fs.close(self._fd)


def write_synced(fs: FileSystem, path: Path, chunks: Iterable[bytes | memoryview]) -> int:
    """Write a file anew, sync it, and return its size in bytes.

    What was in it is gone at once, and the name is durable only after `sync_directory`: meant for
    temporary names. If anything fails, an exception out of `chunks` too, the file is removed.
    """
    with removed_on_failure(fs, path):
        fd = fs.open_write(path)
        try:
            fs.truncate(fd, 0)
            size = begun = 0
            for chunk in chunks:
                write_all(fs, fd, chunk, size)
                size += len(chunk)
                if size - begun >= BEGIN_SYNC_BYTES:
                    fs.begin_sync(fd, begun, size - begun)
                    begun = size
            fs.sync_file(fd)
        finally:
            fs.close(fd)
    return size


def write_file_durably(
    fs: FileSystem, path: Path, chunks: Iterable[bytes | memoryview], temporary: Path | None = None
) -> int:
    """Put a file in place, atomically and durably, and return its size in bytes.

    `temporary` is its name until it is whole, in the same directory; by default that of `path`
    with `.tmp` behind it, which a later try writes anew.

    After a crash there is the old file or the new one, whole. Raises `OSError`; then the old one
    is there, or, where only the last sync failed, perhaps the new one.
    """
    if temporary is None:
        temporary = path.with_name(path.name + ".tmp")
    size = write_synced(fs, temporary, chunks)
    with removed_on_failure(fs, temporary):
        fs.rename(temporary, path)
    fs.sync_directory(path.parent)
    return size


@contextmanager
def removed_on_failure(fs: FileSystem, path: Path) -> Iterator[None]:
    """Remove a temporary file if what is done with it raises."""
    try:
        yield
    except BaseException:
        # The first error is the one to tell; what cannot be removed is removed at the next open.
        with contextlib.suppress(OSError):
            fs.unlink(path)
        raise
