"""`penin.rekey`: another master key for an encrypted store, whose data is not written again."""

from __future__ import annotations

import os
import time
from pathlib import Path

import msgspec

from penin.errors import RefusedValueError
from penin.runtime.key_source import files_with, keys_from
from penin.settings import Settings
from penin.storage.filesystem import FileSystem, OsFileSystem
from penin.storage.keys import Keys, check_encryption, write_ring
from penin.storage.lock import StoreLock


class Rekeyed(msgspec.Struct, frozen=True):
    """What was done: the id of the store, its data keys, and the one that is new."""

    store: str
    data_keys: int
    new_key: str


def rekey(
    dir: str | os.PathLike[str],  # the word of the command line
    *,
    key_from: str,
    new_key_from: str,
) -> Rekeyed:
    """Let another master key open the store in `dir`, which nobody has open.

    Both are places as in the setting `key_from`. Only `keys.json` is written: the data keys are
    wrapped by the new master key, and a new data key is added, with which files are encrypted that
    are begun from then on. What was written before stays encrypted with the keys that it has. When
    it returns, the new key is needed, durably; interrupted, one of the two opens the store. Reads
    files: not for an event loop's thread.

    Raises RefusedValueError for what names no place and UsageError where no key is there;
    FileNotFoundError where there is no store, NotEncryptedError, WrongKeyError, CorruptionError,
    LockedError, or another StorageError. Then the old key opens the store, or, where the last sync
    failed, perhaps the new one.
    """
    new = keys_from(new_key_from)
    return rekey_at(Path(os.path.realpath(dir)), new, files_with(key_from))


def rekey_at(directory: Path, new: Keys, fs: FileSystem | None = None) -> Rekeyed:
    """The same of an absolute path; `fs` has the old key, and tests give one that crashes."""
    files = OsFileSystem() if fs is None else fs
    if not files.exists(directory):
        raise FileNotFoundError(2, "no store here", str(directory))
    check_encryption(files, directory)
    if files.keys is None:
        raise RefusedValueError("key_from", "the store is not encrypted, and has no key")
    master = new.master()
    lock = StoreLock(files, directory)
    lock.acquire(Settings().lock_wait_s, sleep=time.sleep)
    try:
        ring = files.keys.ring(files, directory).extended()
        write_ring(files, directory, ring, master)
    finally:
        lock.release()
    return Rekeyed(ring.store, len(ring.keys), ring.current.id)
