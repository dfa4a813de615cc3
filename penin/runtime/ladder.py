"""The recovery ladder: from the newest snapshot that can be read to the same state.

The rungs, from above: the newest snapshot, the older checkpoints, and the empty state, where the
journal goes back to the first transition. A rung is taken only where the one above it is damaged,
and only where the journal leads from it to the same seq and beyond: else nothing is changed, and
`UnrecoverableError` says what there is and what is lost. A newer version or a foreign file is no
damage, and is refused.

Readers without the lock go down the same ladder and rename nothing. Recovery, once the state is
back, gives what is damaged another name (`*.corrupt-<time>`) and puts the rung in its place
(`step_down`). Interrupted anywhere, it can be done again: the damaged newest snapshot keeps its
name until the rung replaces it, atomically.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from penin.core.formats import decode_state, encode_state
from penin.core.snapshots import Envelope
from penin.core.state import State
from penin.errors import (
    CorruptionError,
    FormatError,
    JournalGapError,
    StorageError,
    UnrecoverableError,
)
from penin.runtime.clock import now_text
from penin.storage.commits import ZERO_HASH
from penin.storage.compression import suffix_of
from penin.storage.snapshot_port import SnapshotStore
from penin.storage.snapshots import CheckpointFile, SnapshotBlocks, digest_of

EMPTY_SEQ: Final = 0
"""The seq of the empty state."""


@contextmanager
def advised(place: str) -> Iterator[None]:
    """Say what to do, as a note on a CorruptionError, about the store in `place`."""
    try:
        yield
    except UnrecoverableError:
        raise  # it says so itself
    except CorruptionError as error:
        error.add_note(
            f"penin verify --dir {place} tells all that is damaged; "
            f"penin repair --dir {place} --to DIR makes a new store of what is left"
        )
        raise


class Rung(msgspec.Struct, frozen=True):
    """A state to replay the journal after, and what could not be read above it.

    `seq` is that of its snapshot; None for the empty state. `checkpoint` is the file of an older
    snapshot, None for the newest one. `digest` is the SHA-256 of a snapshot that was saved outside
    a store. `damaged` has the errors of what lies above, newest first, each with its path.
    """

    state: State
    envelope: Envelope
    seq: int | None = None
    size_bytes: int = 0
    checkpoint: CheckpointFile | None = None
    digest: str | None = None
    damaged: tuple[StorageError, ...] = ()


class SetAside(msgspec.Struct, frozen=True):
    """A damaged snapshot: where it was, where it is now, and what is wrong with it."""

    path: Path
    aside: Path
    cause: str


def newest_readable(
    snapshots: SnapshotStore,
    *,
    whole: bool = False,
    abandoned: Callable[[], None] = lambda: None,
) -> Rung | None:
    """The newest snapshot that can be read, down to the empty state; None where there is none.

    `whole` and `abandoned` are those of `decode_state`. Raises FormatError where the newest one is
    of a later version or not ours, `JournalGapError` where a checkpoint vanished (a reader without
    the lock begins anew), and StorageError where one cannot be read for another reason.
    """
    latest = snapshots.latest()
    if latest is None:
        return None
    try:
        return _decoded(latest, snapshots.path, None, whole=whole, abandoned=abandoned)
    except CorruptionError as error:
        damaged: list[StorageError] = [error]
    for file in reversed(snapshots.checkpoints()):
        blocks = snapshots.open_checkpoint(file)
        try:
            rung = _decoded(blocks, file.path, file, whole=whole, abandoned=abandoned)
        except (CorruptionError, FormatError) as error:
            damaged.append(error)
        else:
            return msgspec.structs.replace(rung, damaged=tuple(damaged))
    return Rung(State(), Envelope(), damaged=tuple(damaged))


def _decoded(
    snapshot: SnapshotBlocks,
    path: Path,
    file: CheckpointFile | None,
    *,
    whole: bool,
    abandoned: Callable[[], None],
) -> Rung:
    with snapshot as blocks:
        state, envelope = decode_state(
            blocks, path, suffix_of(path), whole=whole, abandoned=abandoned
        )
        if file is not None and (envelope.store is None or state.seq != file.seq):
            raise FormatError(path, "no checkpoint of a store at the seq of its name")
        digest = digest_of(blocks) if envelope.store is None else None
        return Rung(state, envelope, state.seq, blocks.size_bytes, file, digest)


@contextmanager
def replaying(
    snapshots: SnapshotStore,
    rung: Rung,
    place: str,
    *,
    at: Callable[[], str | None],
    locked: bool,
) -> Iterator[None]:
    """The replay of the journal after a rung; raises where that is a lower one and leads nowhere.

    It must lead to the newest seq that any checkpoint of the store has in its name: else, and for
    damage and a hole on the way, UnrecoverableError is raised. `place` is the directory of the
    store, `at` gives the time of the state so far. Without the lock a `JournalGapError` is passed
    on, since a checkpoint may be the cause.
    """
    if not rung.damaged:
        yield
        return
    try:
        yield
    except (CorruptionError, FormatError) as error:
        if isinstance(error, JournalGapError) and not locked:
            raise
        raise _unrecoverable(snapshots, rung, place, at(), str(error)) from error
    if rung.state.seq < _seq_of_names(snapshots):
        raise _unrecoverable(snapshots, rung, place, at(), "the journal ends there")


def _unrecoverable(
    snapshots: SnapshotStore, rung: Rung, place: str, at: str | None, reason: str
) -> UnrecoverableError:
    """The error for a ladder that ends at the state of the rung as it is now; `reason` says why."""
    first, seq, last = rung.damaged[0], rung.state.seq, _seq_of_names(snapshots)
    is_something = rung.seq is not None or seq > EMPTY_SEQ
    return UnrecoverableError(
        first.path,
        getattr(first, "position", 0),
        first.reason,
        place=place,
        why=reason,
        reachable_seq=seq if is_something else None,
        reachable_at=at if is_something else None,
        lost_first_seq=seq + 1,
        lost_last_seq=last if last > seq else None,
    )


def _seq_of_names(snapshots: SnapshotStore) -> int:
    """The newest seq that any checkpoint had: the journal went there, at least."""
    files = [*snapshots.checkpoints(), *snapshots.set_aside_checkpoints()]
    return max((file.seq for file in files), default=EMPTY_SEQ)


def step_down(snapshots: SnapshotStore, rung: Rung, store: str) -> list[SetAside]:
    """Set aside what is damaged and put the rung in place of the newest snapshot; durably.

    For recovery, which has the lock, once the journal was replayed after the rung; `store` is the
    id of the store. Nothing is done where nothing is damaged. Raises StorageError.
    """
    if not rung.damaged:
        return []
    at = now_text()
    paths = [error.path for error in rung.damaged]
    aside = snapshots.set_aside(paths, at)
    if rung.checkpoint is not None:
        snapshots.adopt(rung.checkpoint)
    else:
        # A snapshot again, since it is what tells the format of the store.
        envelope = Envelope(store, 0, at, ZERO_HASH)
        blocks = encode_state(State().view(), envelope, snapshots.suffix)
        snapshots.put(EMPTY_SEQ, 0, at, blocks)
    return [
        SetAside(error.path, path, error.reason)
        for error, path in zip(rung.damaged, aside, strict=True)
    ]
