"""What a store holds, read beside a live writer: no lock is taken and nothing is changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from penin.cli.access import ask_worker
from penin.cli.locks import LockState, lock_state
from penin.core.reader import StateReader
from penin.core.snapshots import FORMAT, VERSION, Envelope
from penin.core.state import State
from penin.core.tensors import TENSORS_FORMAT, TENSORS_VERSION
from penin.core.values import from_wire
from penin.errors import JournalGapError, UsageError
from penin.ingress.rejected import REJECTED_NAME
from penin.runtime.bounds import NEAR_SHARE
from penin.runtime.index_files import IndexFiles
from penin.runtime.ladder import Rung, advised, newest_readable, replaying
from penin.runtime.recovery import apply_commit
from penin.runtime.status import HistoryStatus, WorkerStatus
from penin.runtime.store import JOURNAL_DIRECTORY
from penin.storage.commits import JOURNAL_FORMAT, JOURNAL_VERSION
from penin.storage.compression import split_suffix
from penin.storage.encryption import ENCRYPTED_SUFFIX
from penin.storage.filesystem import FileSystem
from penin.storage.reader import JournalReader
from penin.storage.sealed import SEALED_DIRECTORY, SealedFiles
from penin.storage.snapshots import CHECKPOINTS_DIRECTORY, TENSORS_SUFFIX, FileSnapshotStore

READ_TRIES_MAX: Final = 10
"""How often it starts anew because a checkpoint took files from under it."""


class Checkpoint(msgspec.Struct, frozen=True):
    """The newest snapshot. `at` is the time of the last commit in it."""

    seq: int
    at: str | None
    size_bytes: int
    kept: int  # checkpoints that are kept, this one among them
    format: str


class JournalStatus(msgspec.Struct, frozen=True):
    """The journal: the size of its files, and bytes at the end that no commit holds (yet)."""

    size_bytes: int
    files: int
    incomplete_bytes: int
    format: str = f"{JOURNAL_FORMAT} {JOURNAL_VERSION}"


class IndexStatus(msgspec.Struct, frozen=True):
    """An approximate index: what it is of, and the last transition that it covers."""

    metric: str
    dimension: int
    seq: int
    vectors: int
    size_bytes: int


class Damaged(msgspec.Struct, frozen=True):
    """A snapshot that cannot be read, and why; the state was read from an older one."""

    path: str
    cause: str


class WorkerAnswer(msgspec.Struct, frozen=True):
    """What the worker that serves the store has said of itself.

    All that is said of the state is from it then, and not from the files.
    """

    pid: int
    phase: str
    fsync: str
    durable_seq: int
    mailbox_messages: int
    mailbox_messages_max: int


class BoundStatus(msgspec.Struct, frozen=True):
    """How a bound stands that was asked for: `near` from nine tenths of it on."""

    bound: Literal["max_knowledge", "max_store_bytes"]
    used: int
    limit: int
    stands: Literal["within", "near", "reached"]


class StoreStatus(msgspec.Struct, frozen=True):
    """What `penin status --json` writes."""

    dir: str
    store: str | None
    epoch: int | None
    seq: int
    last_commit_at: str | None
    schema_version: int
    statistics: dict[str, Any]
    histories: dict[str, HistoryStatus]
    documents: int
    message_ids: HistoryStatus
    checkpoint: Checkpoint | None
    journal: JournalStatus
    indexes: list[IndexStatus]
    rejected_bytes: int
    store_bytes: int
    bounds: list[BoundStatus]
    damaged: list[Damaged]
    set_aside: list[str]
    lock: LockState
    worker: WorkerAnswer | None = None


def read_status(directory: Path, fs: FileSystem) -> StoreStatus:
    """The store in a directory as it is now; `fs` has the key, where it is encrypted.

    The worker that serves it is asked, and where none does, the files are read.

    Raises UsageError where there is no store, CorruptionError or FormatError for what a crash does
    not explain, and OSError.
    """
    answer = ask_worker(directory, lambda orchestrator: orchestrator.ask("status"))
    if answer is not None:
        return _of_worker(msgspec.json.decode(answer.value, type=WorkerStatus), directory, fs)
    for attempt in range(READ_TRIES_MAX):
        try:
            with advised(str(directory)):
                return _read_once(directory, fs)
        except JournalGapError:
            if attempt == READ_TRIES_MAX - 1:
                raise
    raise AssertionError  # the loop returns or raises


def _read_once(directory: Path, fs: FileSystem) -> StoreStatus:
    snapshots = FileSnapshotStore(fs, directory)
    journal = JournalReader(fs, directory / JOURNAL_DIRECTORY)
    rung = newest_readable(snapshots)
    if rung is None and journal.is_empty():
        raise UsageError(f"there is no store in {directory}")
    sealed = SealedFiles(fs, directory)
    if rung is not None and rung.damaged and rung.seq is None and journal.is_empty():
        raise rung.damaged[0]
    rung = rung or Rung(State(), Envelope())
    state, envelope = rung.state, rung.envelope
    at, epoch, store, tail_bytes = envelope.at, envelope.epoch, envelope.store, 0
    if rung.digest is None:
        with replaying(snapshots, rung, str(directory), at=lambda: at, locked=False):
            for commit in journal.read(state.seq, envelope.journal_hash):
                apply_commit(state, commit, directory, sealed)
                at = commit.at
        end = journal.end
        if end is not None:
            epoch = max(epoch or 0, end.position.epoch)
            store = end.header.store if end.header is not None else store
            tail_bytes = end.tail.size if end.tail is not None else 0
    reader = StateReader(state)
    return StoreStatus(
        dir=str(directory),
        store=store,
        epoch=epoch,
        seq=state.seq,
        last_commit_at=at,
        schema_version=state.schema_version,
        statistics=reader.get_statistics(),
        histories={
            name: HistoryStatus(len(history), history.maxlen)
            for name, history in reader.histories.items()
        },
        documents=len(reader.documents),
        message_ids=HistoryStatus(len(state.message_ids), state.message_ids.maxlen),
        checkpoint=_checkpoint(rung, snapshots),
        journal=JournalStatus(journal.size_bytes(), len(journal.files()), tail_bytes),
        indexes=_indexes(fs, directory),
        rejected_bytes=_size(directory / REJECTED_NAME),
        store_bytes=journal.size_bytes() + _bounded_bytes(directory),
        bounds=[],
        damaged=[Damaged(str(error.path), error.reason) for error in rung.damaged],
        set_aside=[str(path) for path in snapshots.set_aside_files()],
        lock=lock_state(directory),
    )


def _of_worker(told: WorkerStatus, directory: Path, fs: FileSystem) -> StoreStatus:
    """What a worker has told, and of the files what their names and sizes tell."""
    snapshots = FileSnapshotStore(fs, directory)
    journal = JournalReader(fs, directory / JOURNAL_DIRECTORY)
    kept = snapshots.checkpoints()
    checkpoint = None
    if kept:
        size_bytes, form = _size(kept[-1].path), _format(snapshots.suffix)
        checkpoint = Checkpoint(kept[-1].seq, kept[-1].at, size_bytes, len(kept), form)
    named = {name: getattr(told, name) for name in WorkerAnswer.__struct_fields__}
    found = StoreStatus(
        dir=str(directory),
        store=told.store,
        epoch=told.epoch,
        seq=told.applied_seq,
        last_commit_at=told.at,
        schema_version=told.schema_version,
        statistics=from_wire(told.statistics),
        histories=told.histories,
        documents=told.documents,
        message_ids=told.message_ids,
        checkpoint=checkpoint,
        journal=JournalStatus(journal.size_bytes(), len(journal.files()), 0),
        indexes=_indexes(fs, directory),
        rejected_bytes=_size(directory / REJECTED_NAME),
        store_bytes=journal.size_bytes() + _bounded_bytes(directory),
        bounds=[],
        damaged=[],
        set_aside=[str(path) for path in snapshots.set_aside_files()],
        lock=lock_state(directory),
        worker=WorkerAnswer(**named),
    )
    return with_bounds(found, told.max_knowledge, told.max_store_bytes)


def _indexes(fs: FileSystem, directory: Path) -> list[IndexStatus]:
    """Those that are there; a cache that cannot be read is none."""
    try:
        found = IndexFiles(fs, directory).found()
    except OSError:
        return []
    return [
        IndexStatus(card.metric, card.dimension, card.seq, card.rows, size_bytes)
        for _, card, size_bytes in found
    ]


def _checkpoint(rung: Rung, snapshots: FileSnapshotStore) -> Checkpoint | None:
    """What there is to say of the snapshot that the state was read from."""
    if rung.seq is None:
        return None
    form = _format(snapshots.suffix, rung.envelope.version)
    kept = len(snapshots.checkpoints())
    return Checkpoint(rung.seq, rung.envelope.at, rung.size_bytes, kept, form)


def _format(suffix: str, version: int | None = None) -> str:
    """What a snapshot of a suffix is, of a version: the one that is written, where it is None."""
    content, compression = split_suffix(suffix)
    if content == TENSORS_SUFFIX:
        form = f"{TENSORS_FORMAT} {version or TENSORS_VERSION}"
    else:
        version = version or VERSION
        form = f"{FORMAT} {version}" if version > 1 else "original"
    if compression is not None:
        form += f", {compression}"
    return f"{form}, encrypted" if suffix.endswith(ENCRYPTED_SUFFIX) else form


def with_bounds(
    found: StoreStatus, max_knowledge: int | None, max_store_bytes: int | None
) -> StoreStatus:
    """The same beside bounds, in place of those that its worker has told; None for no bound."""
    size = found.statistics["knowledge_base_size"]
    asked = [
        _bound("max_knowledge", size, max_knowledge),
        _bound("max_store_bytes", found.store_bytes, max_store_bytes),
    ]
    bounds = [each for each in asked if each is not None]
    return msgspec.structs.replace(found, bounds=bounds) if bounds else found


def _bound(
    bound: Literal["max_knowledge", "max_store_bytes"], used: int, limit: int | None
) -> BoundStatus | None:
    if limit is None:
        return None
    is_near = used >= NEAR_SHARE * limit
    stands: Literal["within", "near", "reached"] = "near" if is_near else "within"
    return BoundStatus(bound, used, limit, "reached" if used >= limit else stands)


def _bounded_bytes(directory: Path) -> int:
    """What `max_store_bytes` bounds beside the journal."""
    parts = (directory / CHECKPOINTS_DIRECTORY, directory / SEALED_DIRECTORY)
    return sum(_size(path) for part in parts if part.is_dir() for path in part.iterdir())


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
