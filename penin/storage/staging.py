"""A new directory that is there whole or not at all.

It is built under another name beside its place, `.<name>.partial`, and gets its own name when all
in it is durable. A crash leaves nothing under the own name; what it leaves under the other one is
removed by the next try.
"""

from __future__ import annotations

import contextlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from penin.errors import StorageError
from penin.storage.filesystem import FileSystem, storage_error
from penin.storage.lock import LOCK_NAME, StoreLock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PARTIAL_SUFFIX: Final = ".partial"


def check_new(fs: FileSystem, directory: Path) -> None:
    """Raise StorageError unless there is nothing of that name, or an empty directory."""
    if not fs.exists(directory):
        return
    try:
        is_empty = not fs.names(directory)
    except NotADirectoryError as error:
        raise StorageError(directory, "it is not a directory; name another one") from error
    except OSError as error:
        raise storage_error(directory, error) from error
    if not is_empty:
        raise StorageError(directory, "it is there and not empty; name a new directory")


@contextmanager
def staged(fs: FileSystem, directory: Path) -> Iterator[Path]:
    """Let the block build a directory (absolute) where it is given, and then put it in place.

    Files must be synced by who writes them; directories are synced here. When the block has ended,
    the directory and all in it is durable under its own name. If anything raises before that, what
    was built is removed again. Raises StorageError where there is something of that name already,
    and LockedError where another process builds it at this moment.
    """
    check_new(fs, directory)
    partial = directory.with_name(f".{directory.name}{PARTIAL_SUFFIX}")
    lock = StoreLock(fs, partial)
    with _told_of(directory):
        fs.make_directory(partial)
    try:
        lock.acquire(0.0)
    except StorageError:
        with contextlib.suppress(OSError):  # not empty: another process is building there
            fs.remove_directory(partial)
        raise
    try:
        try:
            with _told_of(directory):
                _remove_content(fs, partial, but=LOCK_NAME)
            yield partial
            with _told_of(directory):
                _sync(fs, partial)
                fs.rename(partial, directory)
        except BaseException:
            # The first error is the one to tell; what is left is removed by the next try.
            with contextlib.suppress(OSError):
                _remove_content(fs, partial)
                fs.remove_directory(partial)
            raise
        with _told_of(directory):
            fs.sync_directory(directory.parent)
    finally:
        lock.release()


@contextmanager
def _told_of(directory: Path) -> Iterator[None]:
    """Turn errors of the operating system into ours."""
    try:
        yield
    except OSError as error:
        raise storage_error(directory, error) from error


def _remove_content(fs: FileSystem, directory: Path, but: str | None = None) -> None:
    for name in fs.names(directory):
        if name == but:
            continue
        path = directory / name
        try:
            fs.unlink(path)
        except (IsADirectoryError, PermissionError):  # the second is what macOS says
            _remove_content(fs, path)
            fs.remove_directory(path)


def _sync(fs: FileSystem, directory: Path) -> None:
    """Make the names in a directory durable, and those in the directories in it."""
    for name in fs.names(directory):
        with contextlib.suppress(NotADirectoryError):
            _sync(fs, directory / name)
    fs.sync_directory(directory)
