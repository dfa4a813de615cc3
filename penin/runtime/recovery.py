"""Recovery: the newest snapshot, then the journal after it, through the same `apply` as live.

Everything here runs on the journal's thread, where nothing else has the state yet.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from itertools import accumulate
from pathlib import Path
from typing import Final

import msgspec

from penin.core.formats import encode_state
from penin.core.migration import Schema
from penin.core.replay import ready
from penin.core.snapshots import Envelope
from penin.core.state import State
from penin.core.transitions import (
    AnyBody,
    SetHistoryMaxlen,
    SetMessageIdsMax,
    decode_messages,
    encode_body,
    transition_count,
)
from penin.errors import (
    CorruptionError,
    FormatError,
    JournalGapError,
    NotEncryptedError,
    PeninError,
    SealedFileMissingError,
    StorageError,
)
from penin.runtime.clock import now_text
from penin.runtime.ladder import (
    Rung,
    SetAside,
    advised,
    newest_readable,
    replaying,
    step_down,
)
from penin.runtime.migration import Migrated, Upgrade
from penin.runtime.store import JOURNAL_DIRECTORY, Store, first_suffix, settings_of
from penin.settings import Settings, compression_of
from penin.storage.commits import Commit, ForkedFrom
from penin.storage.compression import require, split_suffix
from penin.storage.journal import Journal
from penin.storage.mapped import MappedFile
from penin.storage.repair import Repairs
from penin.storage.sealed import SealedFiles
from penin.storage.snapshots import JSON_SUFFIX

_RUN_MESSAGES: Final = 128
"""So many messages are applied at once; what is copied for that stays small."""


class RecoveryAbandonedError(PeninError):
    """The stop came while recovering; nothing was written."""

    def __init__(self) -> None:
        super().__init__("recovery was abandoned")


class Recovered(msgspec.Struct):
    """A state that is open for writing, and how it came about."""

    state: State
    at: str
    repairs: Repairs
    snapshot_seq: int | None = None
    snapshot_bytes: int = 0
    first_replayed_seq: int | None = None
    last_replayed_seq: int | None = None
    original: Path | None = None
    set_aside: list[SetAside] = []
    migrated: Migrated | None = None

    @property
    def is_new(self) -> bool:
        """Whether there was nothing to load: no snapshot and no transition."""
        return self.snapshot_seq is None and self.last_replayed_seq is None


def recover(
    store: Store,
    settings: Settings,
    abandoned: Callable[[], bool],
    schema: Schema | None = None,
) -> Recovered:
    """Bring the state back and open the journal for writing; the store is locked already.

    With `schema`, the state is of that version when it returns; see `penin.runtime.migration`.
    When it returns, all of the state is durable and the next epoch is claimed. Nothing is written
    before the reading is done and the owner's migrations have run, so that until then it can be
    abandoned (RecoveryAbandonedError). Raises CorruptionError, FormatError, MigrationError,
    StorageFullError or another StorageError, OSError.
    """
    check_format(store, settings)
    with advised(store.name):
        return _recovered(store, settings, abandoned, schema)


def _recovered(
    store: Store, settings: Settings, abandoned: Callable[[], bool], schema: Schema | None
) -> Recovered:
    journal, snapshots = store.journal, store.snapshots
    rung = newest_readable(snapshots, abandoned=lambda: _check(abandoned))
    _check(abandoned)
    if rung is None:
        recovered, envelope = Recovered(State(), now_text(), Repairs()), Envelope()
    else:
        envelope = rung.envelope
        at = envelope.at or now_text()
        recovered = Recovered(rung.state, at, Repairs(), rung.seq, rung.size_bytes)
    is_store = _is_store(store, rung)
    if is_store:
        _replay_from(store, recovered, rung, abandoned)
    upgrade = Upgrade(recovered.state, schema, store.name)
    _check(abandoned)
    if not is_store:
        _begin(store, recovered, envelope, None if rung is None else rung.digest)
    elif rung is not None:
        recovered.set_aside = step_down(snapshots, rung, journal.store)
    snapshots.remove_leftovers()
    if store.sealed is not None:
        store.sealed.open(journal.last_seq)
    journal.open(now_text(), epoch_seen=envelope.epoch or 0, store=envelope.store)
    recovered.repairs = journal.repairs
    recovered.migrated = upgrade.store_it(store, recovered.at)
    if recovered.migrated is not None:
        recovered.at = recovered.migrated.at
    _set_bounds(journal, recovered, settings)
    return recovered


def _is_store(store: Store, rung: Rung | None) -> bool:
    """Whether there is a store already, and not only a file that was saved outside one."""
    if rung is not None:
        return rung.digest is None
    return store.snapshots.suffix == JSON_SUFFIX and not store.journal.is_empty()


def _begin(store: Store, recovered: Recovered, envelope: Envelope, digest: str | None) -> None:
    """Make the store that is not there yet; `digest` is that of a file saved outside of one."""
    if digest is not None:
        _convert(store, recovered, envelope, digest)
    elif store.snapshots.suffix != JSON_SUFFIX:
        _begin_with_snapshot(store, recovered)
    else:
        store.journal.create(str(uuid.uuid4()), seq=0, forked_from=None)


def _check(abandoned: Callable[[], bool]) -> None:
    if abandoned():
        raise RecoveryAbandonedError


def check_format(store: Store, settings: Settings) -> None:
    """Raise FormatError where the settings ask for another format than that of the store.

    How it is compressed is part of it; UsageError where what that needs is not installed.
    """
    suffix = store.snapshots.suffix
    require(split_suffix(suffix)[1])
    ours, asked = settings_of(suffix), first_suffix(settings)
    is_other = settings.format not in (None, ours.format)
    if is_other or compression_of(settings.compress)[0] not in (None, ours.compress):
        if settings.format is None:
            asked = asked.replace(".json", f".{ours.format}")
        raise _another_format(store, suffix, asked)


def _another_format(store: Store, ours: str, asked: str) -> FormatError:
    wanted = settings_of(asked)
    compress = "" if wanted.compress is None else f" --compress {wanted.compress}"
    return FormatError(
        store.name,
        f"the format of this store is {ours.removeprefix('.')}, not {asked.removeprefix('.')}; a "
        f"new store of that format is made by penin convert {store.name} --to DIR --format "
        f"{wanted.format}{compress}",
    )


def _begin_with_snapshot(store: Store, recovered: Recovered) -> None:
    """Make a new store whose format stands in its first snapshot, that of an empty state.

    A JSON store has none before its first checkpoint. Interrupted, this is done again.
    """
    journal, suffix = store.journal, store.snapshots.suffix
    if not journal.is_empty() and store.key_from is not None and not store.is_encrypted:
        raise NotEncryptedError(store.name)
    if not journal.is_empty() and journal.holds_transitions():
        kept = store.snapshots.checkpoints()
        if store.is_encrypted or any(file.path.name.endswith(suffix) for file in kept):
            raise no_snapshot(Path(store.name))
        raise _another_format(store, JSON_SUFFIX, suffix)
    begin_store(store, recovered.state, recovered.at, Envelope(), None)


def _replay(
    store: Store, recovered: Recovered, envelope: Envelope, abandoned: Callable[[], bool]
) -> None:
    state, journal, place = recovered.state, store.journal, Path(store.name)
    try:
        for commit in journal.read(state.seq, envelope.journal_hash):
            if abandoned():
                raise RecoveryAbandonedError
            if recovered.first_replayed_seq is None:
                recovered.first_replayed_seq = commit.first
            apply_commit(state, commit, place, store.sealed)
            recovered.last_replayed_seq = commit.seq
            recovered.at = commit.at
    except SealedFileMissingError:
        raise
    except JournalGapError as error:
        if envelope.store is None:
            raise no_snapshot(place) from error
        raise
    if envelope.store is None and journal.forked_from is not None:
        raise no_snapshot(place)
    check_store(envelope, journal.store, place)


def _replay_from(
    store: Store, recovered: Recovered, rung: Rung | None, abandoned: Callable[[], bool]
) -> None:
    """Replay the journal; UnrecoverableError where a lower rung does not lead far enough."""
    if rung is None or not rung.damaged:
        _replay(store, recovered, Envelope() if rung is None else rung.envelope, abandoned)
        return
    if rung.seq is None and store.journal.is_empty():
        raise rung.damaged[0]
    with replaying(store.snapshots, rung, store.name, at=lambda: recovered.at, locked=True):
        _replay(store, recovered, rung.envelope, abandoned)


def check_store(envelope: Envelope, store: str, place: Path) -> None:
    """Raise FormatError where a snapshot and a journal are not of one store."""
    if envelope.store is not None and store != envelope.store:
        raise FormatError(
            place, f"a snapshot of store {envelope.store} beside a journal of {store}"
        )


def no_snapshot(place: Path) -> FormatError:
    """The error where a journal goes on from a snapshot that is not there."""
    return FormatError(
        place,
        "no snapshot beside a journal that goes on from one: it was removed, or a conversion was "
        "interrupted (then do it again); penin repair makes a new store of what is left",
    )


def apply_commit(
    state: State,
    commit: Commit,
    place: Path,
    sealed: SealedFiles | None = None,
    upto_seq: int | None = None,
) -> None:
    """Apply the messages of one commit that was read from the store `place`.

    With `upto_seq`, none that ends beyond it. Raises what `bodies_of` raises.
    """
    bodies = bodies_of(commit, place, sealed)
    if upto_seq is not None:
        ends = accumulate(map(transition_count, bodies), initial=state.seq)
        next(ends)
        bodies = [body for body, end in zip(bodies, ends, strict=True) if end <= upto_seq]
    for start in range(0, len(bodies), _RUN_MESSAGES):
        state.apply_all(bodies[start : start + _RUN_MESSAGES], state.seq + 1)


def bodies_of(commit: Commit, place: Path, sealed: SealedFiles | None) -> list[AnyBody]:
    """The messages of a commit, ready to apply.

    `sealed` are the files that it may name; None where there cannot be any. Raises CorruptionError
    where one is damaged, SealedFileMissingError where one is not there, and CorruptionError where
    the commit does not hold messages of ours or they do not fill its seqs: its hash is right, so
    it was written so.
    """
    get_sealed = _no_sealed if sealed is None else sealed.get
    try:
        bodies = decode_messages(commit.messages)
        bodies = ready(bodies, get_sealed)
    except StorageError:
        raise
    except (msgspec.MsgspecError, PeninError, ValueError) as error:
        reason = f"the commit of seq {commit.first} to {commit.seq} holds no messages: {error}"
        raise CorruptionError(place / JOURNAL_DIRECTORY, 0, reason) from error
    if sum(map(transition_count, bodies)) != commit.seq - commit.first + 1:
        reason = f"the commit of seq {commit.first} to {commit.seq} holds another number of them"
        raise CorruptionError(place / JOURNAL_DIRECTORY, 0, reason)
    return bodies


def _no_sealed(name: str) -> MappedFile:
    raise ValueError(f"it names the file {name!r}, and there are none here")


def _convert(store: Store, recovered: Recovered, envelope: Envelope, digest: str) -> None:
    """Make a store of a snapshot that was saved outside one; an interrupted try is done again."""
    journal, snapshots = store.journal, store.snapshots
    if not journal.is_empty() and journal.holds_transitions():
        raise FormatError(
            snapshots.path,
            "a state saved outside a store lies beside a journal that holds transitions; "
            "open it in a directory of its own",
        )
    recovered.original = snapshots.keep_original()
    begin_store(store, recovered.state, recovered.at, envelope, digest)


def begin_store(store: Store, state: State, at: str, before: Envelope, digest: str | None) -> str:
    """Make a store that goes on from a state of another one, or of none; its id.

    `before` is the envelope that the state had, `digest` the SHA-256 of its file, for one that
    no journal led to, or None for an empty state that comes from nowhere. The snapshot is the last
    thing to come: until then, all can be done again.
    """
    origin = before.journal_hash or digest
    fork = None
    if origin is not None:
        fork = ForkedFrom(store=before.store, seq=state.seq, hash=origin)
    store_id = store.new_id()
    store.journal.create(store_id, seq=state.seq, forked_from=fork)
    ours = Envelope(store_id, 0, at, store.journal.head_hash)
    blocks = encode_state(state.view(), ours, store.snapshots.suffix, store.level)
    store.snapshots.put(state.seq, 0, at, blocks)
    return store_id


def _set_bounds(journal: Journal, recovered: Recovered, settings: Settings) -> None:
    """Journal the bounds that the settings ask for, where they are others than the stored ones."""
    state = recovered.state
    bounds: list[AnyBody] = []
    if settings.history_maxlen not in (None, state.history_maxlen):
        bounds.append(SetHistoryMaxlen(maxlen=settings.history_maxlen))
    if settings.message_ids_max not in (None, state.message_ids.maxlen):
        bounds.append(SetMessageIdsMax(maxlen=settings.message_ids_max))
    if not bounds:
        return
    recovered.at = now_text()
    raws = [encode_body(bound) for bound in bounds]
    journal.append(state.seq + 1, state.seq + len(bounds), recovered.at, raws)
    journal.sync()
    for bound in bounds:
        state.apply(bound, state.seq + 1)
