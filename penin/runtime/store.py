"""The store that a supervisor runs on: lock, journal and snapshots, on disk or in memory."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Final

from penin.errors import RefusedValueError
from penin.runtime.index_files import IndexFiles
from penin.runtime.key_source import files_with
from penin.runtime.signing import HeadSigner
from penin.settings import Format, Settings, compression_of
from penin.storage.compression import SUFFIX_OF, split_suffix
from penin.storage.filesystem import FileSystem, OsFileSystem
from penin.storage.journal import FileJournal, Journal
from penin.storage.keys import is_encrypted
from penin.storage.lock import Holder, StoreLock
from penin.storage.memory import MemoryJournal, MemorySnapshotStore
from penin.storage.sealed import SealedFiles
from penin.storage.snapshot_port import SnapshotStore
from penin.storage.snapshots import TENSORS_SUFFIX, FileSnapshotStore

MEMORY: Final = ":memory:"
JOURNAL_DIRECTORY: Final = "journal"


class Store:
    """The ports and the lock of one store. Nothing is touched before `prepare`.

    `sealed` is None in memory, where the journal holds everything itself. `level` is that of the
    compression (None: its default), of which the suffix of the snapshots tells whether there is
    one. `signer` signs heads, None where none are signed.
    """

    def __init__(
        self,
        directory: Path | None,
        journal: Journal,
        snapshots: SnapshotStore,
        *,
        lock: StoreLock | None,
        fs: FileSystem | None,
        sealed: SealedFiles | None,
        level: int | None,
        signer: HeadSigner | None = None,
    ) -> None:
        self.directory = directory
        self.journal = journal
        self.snapshots = snapshots
        self.sealed = sealed
        self.level = level
        self.signer = signer
        self._lock = lock
        self._fs = fs

    @property
    def name(self) -> str:
        """The absolute path of the store, or `:memory:`."""
        return MEMORY if self.directory is None else str(self.directory)

    @property
    def fs(self) -> FileSystem | None:
        """Where its files are, with the key where it is encrypted; None in memory."""
        return self._fs

    def index_files(self) -> IndexFiles | None:
        """Its approximate indexes: another process builds them, so on the real disk only."""
        if self.directory is None or not isinstance(self._fs, OsFileSystem):
            return None
        return IndexFiles(self._fs, self.directory)

    @property
    def key_from(self) -> str | None:
        """Where the key comes from that it is encrypted with; None where it is not."""
        return None if self._fs is None or self._fs.keys is None else self._fs.keys.source

    @property
    def is_encrypted(self) -> bool:
        """Whether there is a ring of keys in its directory."""
        if self._fs is None or self.directory is None:
            return False
        return is_encrypted(self._fs, self.directory)

    def new_id(self) -> str:
        """The id for a store that is being made; with a key, its ring is made first, durably.

        Raises what `Keys.begin` raises.
        """
        if self._fs is None or self.directory is None or self._fs.keys is None:
            return str(uuid.uuid4())
        return self._fs.keys.begin(self._fs, self.directory).store

    def prepare(self, wait_s: float, sleep: Callable[[float], None]) -> None:
        """Make the directories and take the lock, waiting for it with `sleep` for `wait_s`.

        Raises LockedError, OSError, UsageError where the key to sign with cannot be had, and
        whatever `sleep` raises to end the waiting.
        """
        if self.signer is not None:
            self.signer.prepare()
        if self._fs is not None and self.directory is not None and self._lock is not None:
            self._fs.make_directory(self.directory)
            self._lock.acquire(wait_s, sleep=sleep)
            self._fs.make_directory(self.directory / JOURNAL_DIRECTORY)

    def size_bytes(self, after_seq: int) -> int:
        """The size of what holds the transitions after `after_seq`: journal and sealed files."""
        sealed = 0 if self.sealed is None else self.sealed.size_bytes(after_seq)
        return self.journal.size_bytes(after_seq) + sealed

    def probe(self) -> None:
        """Write to the disk and sync it, changing nothing; OSError where that fails."""
        if self._lock is not None:
            self._lock.write_holder_again()

    def checkpoint_bytes(self) -> int:
        """The size of the kept checkpoints. Raises StorageError, OSError."""
        total = 0
        for file in self.snapshots.checkpoints():
            with self.snapshots.open_checkpoint(file) as blocks:
                total += blocks.size_bytes
        return total

    def holder(self) -> Holder | None:
        """Who wrote down that it has the store open; information, not proof."""
        return None if self._lock is None else self._lock.holder()

    def release(self) -> None:
        """Close the journal and give up the lock; the last thing that is done with a store."""
        try:
            self.journal.close()
        finally:
            if self._lock is not None:
                self._lock.release()


def store_at(
    directory: str | os.PathLike[str], settings: Settings, fs: FileSystem | None = None
) -> Store:
    """The store in a directory (see `resolved`), which need not exist, or in memory (`:memory:`).

    `fs` is the file system, and then also what has the key; tests give one that crashes. Raises
    RefusedValueError for a key in memory, where nothing is encrypted.
    """
    suffix, level = first_suffix(settings), compression_of(settings.compress)[1]
    if os.fspath(directory) == MEMORY:
        if settings.key_from is not None:
            raise RefusedValueError("key_from", "a store in memory is not written, nor encrypted")
        if settings.sign_key_from is not None:
            raise RefusedValueError("sign_key_from", "a store in memory has no file for heads")
        memory = MemorySnapshotStore(suffix)
        return Store(None, MemoryJournal(), memory, lock=None, fs=None, sealed=None, level=level)
    path = Path(directory)
    files = files_with(settings.key_from) if fs is None else fs
    return Store(
        path,
        FileJournal(files, path / JOURNAL_DIRECTORY, fsync=settings.fsync),
        FileSnapshotStore(files, path, suffix),
        lock=StoreLock(files, path),
        fs=files,
        sealed=SealedFiles(files, path),
        level=level,
        signer=_signer(files, path, settings.sign_key_from),
    )


def _signer(fs: FileSystem, directory: Path, sign_key_from: str | None) -> HeadSigner | None:
    return None if sign_key_from is None else HeadSigner(fs, directory, sign_key_from)


def first_suffix(settings: Settings) -> str:
    """The suffix of the first snapshot of a store that is made with these settings."""
    compression, _ = compression_of(settings.compress)
    end = "" if compression is None else SUFFIX_OF[compression]
    return f".{settings.format or 'json'}{end}"


def settings_of(suffix: str) -> Settings:
    """The settings that make a store with snapshots of this suffix."""
    content, compression = split_suffix(suffix)
    form: Format = "safetensors" if content == TENSORS_SUFFIX else "json"
    return Settings(format=form, compress=compression)


def resolved(directory: str | os.PathLike[str]) -> str:
    """The directory without symbolic links, which nothing in a store follows; reads the disk."""
    return MEMORY if os.fspath(directory) == MEMORY else os.path.realpath(directory)
