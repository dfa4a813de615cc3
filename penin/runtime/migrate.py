"""What `penin migrate` does: a store that nobody has open is brought to another schema version."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path

from penin.core.migration import Outcome, Schema, migrated
from penin.runtime.migration import Migrated
from penin.runtime.past import read_state
from penin.runtime.recovery import recover
from penin.runtime.store import JOURNAL_DIRECTORY, store_at
from penin.settings import Settings
from penin.storage.filesystem import FileSystem, OsFileSystem
from penin.storage.reader import JournalReader
from penin.storage.snapshots import FileSnapshotStore


def preview(directory: Path, schema: Schema, fs: FileSystem | None = None) -> Outcome | None:
    """What `migrate` would make of the store as it is on disk now; None where there is nothing.

    Takes no lock and writes nothing, also beside a live writer. Raises FileNotFoundError where
    there is no store, and what `migrated` and `read_state` raise.
    """
    return migrated(read_state(directory, fs), schema, str(directory))


def migrate(
    directory: Path, schema: Schema, settings: Settings, fs: FileSystem | None = None
) -> Migrated | None:
    """Bring the store in a directory to a schema version; None where it is of that one already.

    Durable on return. Interrupted at any moment, the store is of the version before or of the new
    one, and calling it again is safe. `fs` has the key, where it is encrypted. Raises
    FileNotFoundError where there is no store; LockedError and what `recover` raises.
    """
    files = OsFileSystem() if fs is None else fs
    _check_there(directory, files)
    store = store_at(directory, settings, files)
    store.prepare(settings.lock_wait_s, time.sleep)
    try:
        return recover(store, settings, lambda: False, schema).migrated
    finally:
        store.release()


def _check_there(directory: Path, fs: FileSystem) -> None:
    """Raise FileNotFoundError where there is no store: opening it would make one."""
    latest = FileSnapshotStore(fs, directory).latest()
    if latest is not None:
        with latest:
            return
    journal = directory / JOURNAL_DIRECTORY
    if not fs.exists(journal) or JournalReader(fs, journal).is_empty():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(directory))
