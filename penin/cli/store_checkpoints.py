"""The kept checkpoints of a store, read beside a live writer: no lock, and nothing is changed."""

from __future__ import annotations

from pathlib import Path

import msgspec

from penin.errors import StorageError, UsageError
from penin.runtime.past import read_checkpoint
from penin.runtime.progress import Progress
from penin.runtime.recovery import check_store
from penin.runtime.store import JOURNAL_DIRECTORY
from penin.storage.filesystem import FileBlocks, FileSystem, storage_error
from penin.storage.reader import JournalReader
from penin.storage.snapshots import CheckpointFile, FileSnapshotStore


class Checkpoint(msgspec.Struct, frozen=True):
    """A kept checkpoint, as `penin checkpoints --json` writes it.

    `at` is the time of the last commit in it, to the second. `verified` is None where it was not
    checked, and False with the `reason` where it is damaged or cannot be opened.
    """

    seq: int
    at: str | None
    size_bytes: int
    verified: bool | None
    reason: str | None
    file: str


def read_checkpoints(
    directory: Path, fs: FileSystem, *, verify: bool, progress: Progress
) -> list[Checkpoint]:
    """The checkpoints of the store in a directory, oldest first, as they are on disk now.

    One that the writer deletes meanwhile is left out. With `verify`, each is read whole, and its
    digests, its name and its store are checked, and `progress` is told how many bytes there are to
    read. Raises UsageError where there is no store, and
    StorageError where the directories cannot be read.
    """
    journal = JournalReader(fs, directory / JOURNAL_DIRECTORY)
    snapshots = FileSnapshotStore(fs, directory)
    files = snapshots.checkpoints()
    if not files and not fs.exists(snapshots.path) and journal.is_empty():
        raise UsageError(f"there is no store in {directory}")
    header = journal.first_header() if verify else None
    progress.begin(sum(_size(fs, file.path) for file in files))
    found = []
    for file in files:
        try:
            store = None if header is None else header.store
            found.append(_checkpoint(fs, file, store, verify=verify))
        except FileNotFoundError:
            continue  # it was superfluous, and is gone
    return found


def _checkpoint(
    fs: FileSystem, file: CheckpointFile, store: str | None, *, verify: bool
) -> Checkpoint:
    size, verified, reason = 0, None, None
    try:
        with FileBlocks(fs, file.path) as blocks:
            size = blocks.size_bytes
    except FileNotFoundError:
        raise
    except OSError as error:  # a symbolic link, or a disk that does not read it
        verified, reason = False, str(storage_error(file.path, error))
    if verify and reason is None:
        try:
            _, envelope = read_checkpoint(fs, file, whole=True)
            if store is not None:
                check_store(envelope, store, file.path)
            verified = True
        except StorageError as error:
            verified, reason = False, str(error)
    return Checkpoint(file.seq, file.at, size, verified, reason, file.path.name)


def _size(fs: FileSystem, path: Path) -> int:
    try:
        with FileBlocks(fs, path) as blocks:
            return blocks.size_bytes
    except OSError:
        return 0  # it is gone, or cannot be read, which is told of it later
