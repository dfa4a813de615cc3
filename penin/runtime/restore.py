"""`penin.restore`: a state of the past of a store as a new store."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from penin.errors import FormatError, RefusedValueError, StorageError
from penin.runtime.clock import now_text
from penin.runtime.key_source import files_with
from penin.runtime.past import Past, state_at
from penin.runtime.recovery import begin_store
from penin.runtime.store import resolved, settings_of, store_at
from penin.storage.filesystem import FileSystem, OsFileSystem
from penin.storage.snapshots import FileSnapshotStore
from penin.storage.staging import check_new, staged


class Place(msgspec.Struct, frozen=True):
    """A place in the past of a store: exactly one of these, see `state_at`."""

    seq: int | None = None
    checkpoint: int | None = None
    at: str | None = None


class Restored(msgspec.Struct, frozen=True):
    """What was restored, or with `dry_run` what would be.

    `seq` is the exact seq of the state and `at` the time of the commit that it ends with or in;
    `inside_message` tells that the seq that was asked for is inside a message, so that the state
    ends before it. `checkpoint_seq` is the snapshot that the journal was replayed after (None: the
    empty state), and `passed_over` says which newer ones are damaged. `store` is the id of the new
    store (None: nothing was made), `forked_from` the store that it came from.
    """

    seq: int
    at: str | None
    inside_message: bool
    checkpoint_seq: int | None
    passed_over: tuple[str, ...]
    knowledge_base_size: int
    forked_from: str | None
    store: str | None


def restore(
    dir: str | os.PathLike[str],  # the word of the command line
    to: str | os.PathLike[str],
    *,
    seq: int | None = None,
    checkpoint: int | None = None,
    at: str | None = None,
    dry_run: bool = False,
    key_from: str | None = None,
) -> Restored:
    """Make a new store in `to` of a state that the store in `dir` has gone through.

    Exactly one of these names it: `seq`, which rounds down to the end of a message; `checkpoint`,
    the seq of a kept checkpoint; `at`, a time in ISO 8601 (UTC where it names no offset), for the
    last commit before the first one that is later. The store in `dir` is only read, also while a
    worker writes to it. The new one has an id of its own and the format of the old one, names that
    in `forked_from`, and goes on from the seq. `to` must not be there, or be an empty directory.
    When it returns, the new store is durable. Interrupted, it leaves nothing in `to` and can be
    called again. With `dry_run` nothing is written. Of an encrypted store, of which `key_from` is
    that of the settings, the new one is encrypted with data keys of its own and the same master
    key. Reads files: not for an event loop's thread.

    Raises RefusedValueError where not one place is named; NotKeptError, which names the kept
    range; FileNotFoundError where there is no store; CorruptionError, FormatError; LockedError
    where another process restores to `to`, and StorageError.
    """
    place = Place(seq, checkpoint, at)
    source, target = Path(os.path.realpath(dir)), Path(resolved(to))
    return restore_at(source, target, place, dry_run=dry_run, fs=files_with(key_from))


def restore_at(
    directory: Path,
    target: Path,
    place: Place,
    *,
    dry_run: bool = False,
    fs: FileSystem | None = None,
) -> Restored:
    """The same with absolute paths; tests give a file system that crashes."""
    files = OsFileSystem() if fs is None else fs
    named = msgspec.structs.asdict(place)
    if sum(value is not None for value in named.values()) != 1:
        raise RefusedValueError("seq", "exactly one of seq, checkpoint and at names the state")
    check_outside(directory, target)
    check_new(files, target)
    past = state_at(directory, **named, whole=True, fs=files)
    if past.envelope.journal_hash is None:
        raise FormatError(
            directory,
            "no store yet, but a state that was saved outside one; penin convert, or opening it, "
            "makes a store of it",
        )
    if dry_run:
        return _restored(past, None)
    suffix = FileSnapshotStore(files, directory).suffix
    chosen = settings_of(suffix)
    with staged(files, target) as partial:
        at = past.envelope.at or now_text()
        made = begin_store(store_at(partial, chosen, files), past.state, at, past.envelope, None)
    return _restored(past, made)


def check_outside(directory: Path, target: Path) -> None:
    """Raise StorageError where a new directory would lie in the store that it is made of."""
    if directory == target or directory in target.parents:
        raise StorageError(target, f"it is in the store {directory}; name a directory outside")


def _restored(past: Past, store: str | None) -> Restored:
    return Restored(
        seq=past.state.seq,
        at=past.envelope.at,
        inside_message=past.inside_message,
        checkpoint_seq=past.checkpoint_seq,
        passed_over=tuple(str(error) for error in past.passed_over),
        knowledge_base_size=len(past.state.knowledge_base),
        forked_from=past.envelope.store,
        store=store,
    )
