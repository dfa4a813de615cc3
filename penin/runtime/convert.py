"""Making a new store of a snapshot file: another one's, an original file, or an edited one."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec

from penin.core.formats import decode_state
from penin.core.snapshots import Envelope
from penin.core.state import State
from penin.errors import StorageError
from penin.runtime.clock import now_text
from penin.runtime.key_source import files_with
from penin.runtime.past import read_store
from penin.runtime.recovery import begin_store
from penin.runtime.store import Store, resolved, store_at
from penin.settings import Format, Settings, compression_of
from penin.storage.compression import require, suffix_of
from penin.storage.filesystem import FileBlocks, FileSystem, OsFileSystem
from penin.storage.keys import is_encrypted, store_of
from penin.storage.snapshots import FileSnapshotStore, digest_of


class Converted(msgspec.Struct, frozen=True):
    """What was made: the id of the new store, and the seq that its state is at."""

    store: str
    seq: int
    knowledge_base_size: int


def convert(
    source: Path,
    directory: Path,
    *,
    accept_edited: bool = False,
    format: Format | None = None,  # noqa: A002  # the word of the settings
    compress: str | None = None,
    key_from: str | None = None,
    source_key_from: str | None = None,
) -> Converted:
    """Make a store in `directory`, which must hold none, of a snapshot file or of a store.

    The new store has an id of its own, snapshots of `format` (None: json), compressed as the
    setting `compress` says (None: not), encrypted where `key_from` names a key, and names in
    `forked_from` what it came from; seq goes on from there. An encrypted source is read with the
    key that `source_key_from` names, or without that with the one of `key_from`. Of a store, which
    may be in use, all is taken that is on disk now; of a snapshot file what a journal beside it
    holds after it is not taken. A file of the suffix `.safetensors` is read as that, every other
    one as JSON; `.gz` or `.zst` behind it says that it is compressed, and `.enc` that it is
    encrypted. With `accept_edited` a version 2 file is read although its digest is wrong. When it
    returns, the new store is durable. Interrupted, it can be called again.

    Raises RefusedValueError for another `compress` or no place of a key, FileNotFoundError,
    CorruptionError, FormatError; LockedError, or StorageError where `directory` holds a store
    already.
    """
    chosen = Settings(format=format or "json", compress=compress, key_from=key_from)
    require(compression_of(compress)[0])
    fs = _files_of(source, key_from, source_key_from)
    state, envelope, digest = _read(source, fs, accept_edited=accept_edited)
    store_id = new_store(directory, chosen, state, envelope, digest=digest)
    return Converted(store_id, state.seq, len(state.knowledge_base))


def new_store(
    directory: Path,
    settings: Settings,
    state: State,
    envelope: Envelope,
    *,
    digest: str | None = None,
    fs: FileSystem | None = None,
) -> str:
    """Make a store of a state in `directory`, which must hold none; its id. See `begin_store`.

    `settings` say how its snapshots are written, `fs` is the file system; tests give one that
    crashes. Durable on return; interrupted, it can be called again. Raises LockedError,
    StorageError.
    """
    store = store_at(resolved(directory), settings, fs)
    store.prepare(0.0, time.sleep)
    try:
        if _holds_store(store):
            raise StorageError(directory, "there is a store already; name another directory")
        return begin_store(store, state, envelope.at or now_text(), envelope, digest)
    finally:
        store.release()


def _files_of(source: Path, key_from: str | None, source_key_from: str | None) -> FileSystem:
    """What the source is read with: a key, where one is named for it or it is encrypted."""
    path = source.resolve()
    place = path if path.is_dir() else store_of(path)
    if source_key_from is None and not is_encrypted(OsFileSystem(), place):
        return OsFileSystem()
    return files_with(key_from if source_key_from is None else source_key_from)


def _read(
    source: Path, fs: FileSystem, *, accept_edited: bool
) -> tuple[State, Envelope, str | None]:
    """The state of a store, or of a file; with the digest of a file."""
    if source.is_dir():
        directory = source.resolve()
        state, envelope = read_store(directory, fs)
        if envelope.store is not None:
            return state, envelope, None
        # No store yet: what a file there holds that was saved outside one.
        source = FileSnapshotStore(fs, directory).path
    with FileBlocks(fs, source.resolve()) as blocks:
        state, envelope = decode_state(
            blocks, source, suffix_of(source), accept_edited=accept_edited
        )
        return state, envelope, digest_of(blocks)


def _holds_store(store: Store) -> bool:
    latest = store.snapshots.latest()
    if latest is None:
        return not store.journal.is_empty() and store.journal.holds_transitions()
    with latest:
        return True
