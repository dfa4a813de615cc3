"""Making a new store of a snapshot file: another one's, an original file, or an edited one."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

import msgspec

from penin.core.snapshots import decode_snapshot
from penin.errors import StorageError
from penin.runtime.clock import now_text
from penin.runtime.recovery import begin_store
from penin.runtime.store import resolved, store_at
from penin.settings import Settings
from penin.storage.filesystem import OsFileSystem, read_file


class Converted(msgspec.Struct, frozen=True):
    """What was made: the id of the new store, and the seq that its state is at."""

    store: str
    seq: int
    knowledge_base_size: int


def convert(source: Path, directory: Path, *, accept_edited: bool = False) -> Converted:
    """Make a store in `directory`, which must hold none, of the snapshot file `source`.

    The new store has an id of its own and names in `forked_from` what it came from; seq goes on
    from that of the snapshot. What a journal beside `source` holds after it is not taken. With
    `accept_edited` a version 2 file is read although its digest is wrong. When it returns, the
    new store is durable. Interrupted, it can be called again.

    Raises FileNotFoundError, CorruptionError, FormatError; LockedError, or StorageError where
    `directory` holds a store already.
    """
    data = read_file(OsFileSystem(), source.resolve())
    state, envelope = decode_snapshot(data, source, accept_edited=accept_edited)
    store = store_at(resolved(directory), Settings())
    store.prepare(0.0, time.sleep)
    try:
        if store.snapshots.latest() is not None or (
            not store.journal.is_empty() and store.journal.holds_transitions()
        ):
            raise StorageError(directory, "there is a store already; name another directory")
        at = envelope.at or now_text()
        digest = hashlib.sha256(data).hexdigest()
        store_id = begin_store(store, state, at, envelope, digest)
    finally:
        store.release()
    return Converted(store_id, state.seq, len(state.knowledge_base))
