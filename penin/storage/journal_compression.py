"""Compressing a journal file that is only kept for what came before.

Such a file is never appended to again: a later one was begun, durably, and a snapshot has all that
is in it. Rules:

1. The compressed file is written and synced under a temporary name, read back and compared, and
   gets its name, durably. Only then the plain one is removed.
2. Where a crash leaves both, the plain one counts, and the other is made again.
3. The newest file is never compressed. So where it is, a file after it is missing.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Final

from penin.errors import CorruptionError
from penin.storage.compression import SUFFIX_OF, Content, compressed
from penin.storage.filesystem import (
    FileBlocks,
    FileSystem,
    removed_on_failure,
    storage_error,
    write_synced,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from penin.settings import Compression

_STAGING_SUFFIX: Final = ".tmp"


def compress_file(
    fs: FileSystem,
    path: Path,
    compression: Compression,
    level: int | None,
    check: Callable[[], None],
) -> tuple[Path, int]:
    """Put a compressed file in the place of a plain one; its path, and its size in bytes.

    `check` is called now and then and before anything is removed, and may raise: then the plain
    file is there. Raises StorageError (StorageFullError where there is no room), too; then the
    plain one is there, or, where only removing it failed, perhaps both.
    """
    target = path.with_name(path.name + SUFFIX_OF[compression])
    temporary = target.with_name(target.name + _STAGING_SUFFIX)
    digest, digest_back = sha256(), sha256()
    try:
        with FileBlocks(fs, path) as plain:
            blocks = _each(plain, check, digest.update)
            size = write_synced(fs, temporary, compressed(blocks, compression, level))
        with removed_on_failure(fs, temporary):
            with FileBlocks(fs, temporary) as file:
                for block in Content(file, temporary, compression, check):
                    digest_back.update(block)
            if digest_back.digest() != digest.digest():
                raise CorruptionError(temporary, 0, "it is not what was written a moment ago")
            fs.rename(temporary, target)
        fs.sync_directory(path.parent)
        check()
        fs.unlink(path)
    except OSError as error:
        raise storage_error(target, error) from error
    return target, size


def remove_temporaries(fs: FileSystem, directory: Path) -> None:
    """Remove what an interrupted `compress_file` has left. Raises OSError."""
    ends = tuple(f".jsonl{suffix}{_STAGING_SUFFIX}" for suffix in SUFFIX_OF.values())
    for name in fs.names(directory):
        if name.endswith(ends):
            fs.unlink(directory / name)


def _each(
    blocks: Iterable[bytes], check: Callable[[], None], look: Callable[[bytes], None]
) -> Iterator[bytes]:
    for block in blocks:
        check()
        look(block)
        yield block
