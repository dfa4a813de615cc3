"""`penin.backup`: a consistent, verified copy of a store, also while a worker writes to it.

Copied are the kept checkpoints, the journal and the sealed files; all of them only ever grow at the
end or go as whole files. So a copy is consistent if all files that were listed could be copied: the
journal is listed first and copied after the checkpoints, and goes on at least as far as the newest
of them; the sealed files that it names were there before it names them. Where a file went
meanwhile, what is missing is copied anew, and what is superfluous goes, until it is one moment. An
incomplete last line is cut off. Then the copy is read back whole: nothing is trusted that was not.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Final

import msgspec

from penin.errors import CorruptionError, StorageError
from penin.runtime.key_source import files_with
from penin.runtime.past import Past, read_checkpoint, state_at
from penin.runtime.progress import Progress
from penin.runtime.recovery import bodies_of
from penin.runtime.restore import check_outside
from penin.runtime.store import JOURNAL_DIRECTORY, resolved
from penin.storage.filesystem import (
    FileBlocks,
    FileSystem,
    OsFileSystem,
    storage_error,
    write_synced,
)
from penin.storage.heads import HEADS_NAME
from penin.storage.keys import KEYS_NAME
from penin.storage.reader import JournalEnd, JournalReader
from penin.storage.sealed import SEALED_DIRECTORY, SealedFiles
from penin.storage.snapshots import CHECKPOINTS_DIRECTORY, FileSnapshotStore, give_second_name
from penin.storage.staging import check_new, staged

TRIES_MAX: Final = 10
"""How often what a checkpoint took away, or a writer changed, is copied again."""
COPY_PASSES: Final = 3
"""Each byte of a copy is read, written, and read back."""


class BackedUp(msgspec.Struct, frozen=True):
    """What a backup holds: the state up to `seq`, whose last commit is of the time `at`.

    `store` is the id that it shares with the original (None: a file of the original format).
    """

    store: str | None
    seq: int
    at: str | None
    checkpoints: int
    size_bytes: int


def backup(
    dir: str | os.PathLike[str], to: str | os.PathLike[str], *, key_from: str | None = None
) -> BackedUp:
    """Copy the store in `dir` to `to`, which must not be there, or be an empty directory.

    The copy holds the kept checkpoints and the journal as they were at one moment, all that was
    acknowledged before the call among it, and opens by itself. It keeps the id of the store: only
    one of the two may be written to from then on. It was read back whole, and is durable. The
    store is only read, without its lock, also while a worker writes to it. Interrupted, it leaves
    nothing in `to` and can be called again. An encrypted store is copied as it is, with its ring of
    keys, and `key_from`, that of the settings, is what it is read back with. Reads files: not for
    an event loop's thread.

    Raises FileNotFoundError where there is no store; CorruptionError or FormatError, naming the
    file, where something in it is damaged; LockedError where another process makes a backup to
    `to`, and StorageError. Then nothing is in `to`.
    """
    return backup_at(Path(os.path.realpath(dir)), Path(resolved(to)), files_with(key_from))


def backup_at(
    directory: Path,
    target: Path,
    fs: FileSystem | None = None,
    progress: Progress | None = None,
) -> BackedUp:
    """The same with absolute paths; tests give a file system that crashes.

    `progress` is told about how many bytes will be read and written in all.
    """
    files = OsFileSystem() if fs is None else fs
    check_outside(directory, target)
    check_new(files, target)
    has_snapshot = files.exists(FileSnapshotStore(files, directory).path)
    if not has_snapshot and JournalReader(files, directory / JOURNAL_DIRECTORY).is_empty():
        raise FileNotFoundError(2, "no store here", str(directory))
    with staged(files, target) as partial:
        return _Copy(files, directory, partial, progress or Progress()).make()


class _Listing(msgspec.Struct, frozen=True):
    """The files of a store at one look, by their paths in it, in the order to copy them in."""

    journal: tuple[Path, ...]
    checkpoints: tuple[Path, ...]

    @property
    def paths(self) -> tuple[Path, ...]:
        return self.checkpoints + self.journal


class _Copy:
    """The copy that is being made of one store in another directory."""

    def __init__(self, fs: FileSystem, source: Path, target: Path, progress: Progress) -> None:
        self._fs = fs
        self._source = source
        self._target = target
        self._progress = progress
        self._snapshots = FileSnapshotStore(fs, target)
        self._journal = JournalReader(fs, target / JOURNAL_DIRECTORY)
        self._sealed = SealedFiles(fs, source)
        self._sizes: dict[Path, int] = {}  # of what need not be copied again

    def make(self) -> BackedUp:
        """Copy and verify until it is one moment of the store."""
        for attempt in range(TRIES_MAX):
            listing = self._listing()
            try:
                if not attempt:
                    self._progress.begin(self._work(listing))
                self._copy(listing)
                past = self._verified()
            except (CorruptionError, FileNotFoundError) as error:
                # A look at a file that is written to may mix two moments of it.
                newest = self._target / listing.journal[-1] if listing.journal else None
                is_disturbed = self._listing() != listing
                is_newest = isinstance(error, CorruptionError) and error.path == newest
                if not (is_disturbed or is_newest) or attempt == TRIES_MAX - 1:
                    raise self._of_source(error) from error
            except StorageError as error:
                raise self._of_source(error) from error
            except OSError as error:
                raise storage_error(Path(error.filename or self._target), error) from error
            else:
                kept = self._snapshots.checkpoints()
                files = [file.path for file in kept]
                files += [
                    self._target / path for path in self._sizes if path.parts[0] == SEALED_DIRECTORY
                ]
                size = sum(map(self._size, files)) + self._journal.size_bytes()
                said = past.envelope
                return BackedUp(said.store, past.state.seq, said.at, len(kept), size)
        raise AssertionError  # the loop returns or raises

    # -- copying ----------------------------------------------------------------------------------

    def _listing(self) -> _Listing:
        journal = JournalReader(self._fs, self._source / JOURNAL_DIRECTORY).files()
        checkpoints = FileSnapshotStore(self._fs, self._source).checkpoints()
        return _Listing(
            tuple(file.path.relative_to(self._source) for file in journal),
            tuple(file.path.relative_to(self._source) for file in checkpoints),
        )

    def _work(self, listing: _Listing) -> int:
        """About how many bytes will be read and written: all is read, written and read back.

        And the newest snapshot is read back once more, with the journal after it.
        """
        sealed = [Path(SEALED_DIRECTORY) / name for name in self._sealed.names()]
        newest = [*listing.checkpoints[-1:], *listing.journal[-1:]]
        paths = [*(listing.paths + tuple(sealed)) * COPY_PASSES, *newest]
        return sum(self._size(self._source / path) for path in paths)

    def _copy(self, listing: _Listing) -> None:
        for directory in (JOURNAL_DIRECTORY, CHECKPOINTS_DIRECTORY):
            self._fs.make_directory(self._target / directory)
        # First: of what was signed until now the journal has everything.
        self._copy_anew(Path(HEADS_NAME))
        for path in listing.paths:
            self._copy_file(path)
        if listing.journal:
            self._sizes[listing.journal[-1]] = -1  # it may change, and is copied again each time
        self._copy_anew(Path(KEYS_NAME))
        # Last: what was copied of the journal names none that is made later.
        sealed = [Path(SEALED_DIRECTORY) / name for name in self._sealed.names()]
        for path in sealed:
            self._copy_file(path)
        wanted = {*listing.paths, *sealed, Path(HEADS_NAME), Path(KEYS_NAME)}
        for superfluous in self._sizes.keys() - wanted:
            with contextlib.suppress(FileNotFoundError):
                self._fs.unlink(self._target / superfluous)
            del self._sizes[superfluous]

    def _copy_anew(self, path: Path) -> None:
        """A file that is not in every store, and may be another one in each look."""
        if self._fs.exists(self._source / path):
            self._sizes.pop(path, None)
            self._copy_file(path)

    def _copy_file(self, path: Path) -> None:
        with FileBlocks(self._fs, self._source / path) as blocks:
            if self._sizes.get(path) != blocks.size_bytes:
                self._fs.make_directory(self._target / path.parent)
                self._sizes[path] = write_synced(self._fs, self._target / path, blocks)

    # -- verifying --------------------------------------------------------------------------------

    def _verified(self) -> Past:
        """Read the copy whole, complete it with its newest snapshot, and replay it to the end."""
        header = self._journal.first_header()
        if self._journal.files():
            sealed = SealedFiles(self._fs, self._target)
            for commit in self._journal.read(self._journal.files()[0].first - 1):
                bodies_of(commit, self._target, sealed)
            assert self._journal.end is not None
            self._cut(self._journal.end)
        newest = None
        for file in self._snapshots.checkpoints():
            _, envelope = read_checkpoint(self._fs, file, whole=True)
            if header is not None and envelope.store != header.store:
                self._fs.unlink(file.path)  # what an interrupted conversion left: of no store
                continue
            with contextlib.closing(self._journal.read(file.seq, envelope.journal_hash)) as after:
                next(after, None)  # raises where the journal does not continue it
            newest = file.path
        self._put_snapshot(newest)
        return state_at(self._target, whole=True, fs=self._fs)

    def _cut(self, end: JournalEnd) -> None:
        """Take off what is not part of the chain: half a line, a file without a line of its own."""
        newest = end.files[-1].path
        if end.leftover is not None:
            self._fs.unlink(end.leftover.path)
        if end.header_broken and len(end.files) > 1:
            self._fs.unlink(newest)
        elif end.tail is not None:
            fd = self._fs.open_write(newest)
            try:
                self._fs.truncate(fd, end.tail.offset)
                self._fs.sync_file(fd)
            finally:
                self._fs.close(fd)

    def _put_snapshot(self, newest: Path | None) -> None:
        """Let the newest checkpoint be the snapshot; without one, that of the store, if it has."""
        path = self._target / FileSnapshotStore(self._fs, self._source).path.name
        if self._fs.exists(path):
            self._fs.unlink(path)
        if newest is not None:
            give_second_name(self._fs, newest, path)
        else:
            with (
                contextlib.suppress(FileNotFoundError),
                FileBlocks(self._fs, self._source / path.name) as blocks,
            ):
                write_synced(self._fs, path, blocks)

    def _size(self, path: Path) -> int:
        with FileBlocks(self._fs, path) as blocks:
            return blocks.size_bytes

    def _of_source(self, error: StorageError | FileNotFoundError) -> Exception:
        """The same error with the path of the file in the store, for it was copied as it is."""
        if isinstance(error, FileNotFoundError):
            return StorageError(error.filename or self._source, "it went while it was copied")
        if not error.path.is_relative_to(self._target):
            return error
        path = self._source / error.path.relative_to(self._target)
        if isinstance(error, CorruptionError):
            reason = error.reason.removeprefix(f"damaged at byte {error.position}: ")
            return CorruptionError(path, error.position, reason)
        return type(error)(path, error.reason)
