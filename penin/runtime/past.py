"""The states that a store has gone through, as far as it keeps them: read beside a live writer.

Any of them is a kept snapshot (or the empty state, where the journal goes back to the beginning)
and the journal after it, up to the end of some message. Nothing here takes the lock or changes a
file. A snapshot that is damaged is passed over for an older one, with the same state at the end
(`penin.runtime.ladder`).
"""

from __future__ import annotations

from contextlib import closing
from functools import cached_property
from pathlib import Path
from typing import Final

import msgspec

from penin.core.formats import decode_state
from penin.core.snapshots import Envelope
from penin.core.state import State
from penin.errors import (
    CorruptionError,
    FormatError,
    JournalGapError,
    NotKeptError,
    RefusedValueError,
    StorageError,
)
from penin.runtime.clock import time_of
from penin.runtime.ladder import newest_readable, replaying
from penin.runtime.recovery import apply_commit, check_store, no_snapshot
from penin.runtime.store import JOURNAL_DIRECTORY
from penin.storage.compression import suffix_of
from penin.storage.filesystem import FileBlocks, FileSystem, OsFileSystem, storage_error
from penin.storage.journal_names import JournalFile
from penin.storage.reader import JournalReader
from penin.storage.sealed import SealedFiles
from penin.storage.snapshots import CheckpointFile, FileSnapshotStore

READ_TRIES_MAX: Final = 10
"""How often a reader without the lock starts anew because a checkpoint took files from under it."""


class Past(msgspec.Struct, frozen=True):
    """A state of a store at the end of some message, and how it was found.

    `envelope` is what a snapshot of it would say about itself: `at` and `epoch` are those of the
    last commit that the state has something of, and `journal_hash` is the hash of the line of that
    commit. Where the state ends within that commit, between two of its messages, the hash is of
    the whole commit all the same: it names where the state was taken from, and the seq how far.
    """

    state: State
    envelope: Envelope
    checkpoint_seq: int | None
    """The seq of the snapshot that the journal was replayed after; None: the empty state."""
    inside_message: bool = False
    """Whether the seq that was asked for is inside a message, and the state ends before that."""
    passed_over: tuple[StorageError, ...] = ()
    """The errors of damaged snapshots that an older one took the place of."""


def state_at(
    directory: Path,
    *,
    seq: int | None = None,
    checkpoint: int | None = None,
    at: str | None = None,
    whole: bool = False,
    fs: FileSystem | None = None,
) -> Past:
    """The state at a place in the kept past of a store; without one, as it is on disk now.

    At most one of these: `seq`, which rounds down to the end of a message; `checkpoint`, the seq of
    a kept checkpoint, which is read by itself, without the journal; `at`, a time in ISO 8601 (UTC
    where it names no offset): the last commit before the first one that is later, which is the
    last one of all where none is. With `whole`, snapshots in tensors are checked to the last byte
    before they are taken.

    An incomplete last line of the journal is ignored, and what comes after the place is not read.
    Raises NotKeptError, which names the kept range, for a place outside; RefusedValueError for a
    time that is none; FileNotFoundError where there is no store; CorruptionError, FormatError or
    another StorageError for what a crash does not explain.
    """
    if sum(place is not None for place in (seq, checkpoint, at)) > 1:
        raise RefusedValueError("seq", "only one of seq, checkpoint and at names a place")
    time = None if at is None else time_of(at, "at")
    for attempt in range(READ_TRIES_MAX):
        kept = _Kept(OsFileSystem() if fs is None else fs, directory, whole=whole)
        try:
            if checkpoint is not None:
                return kept.at_checkpoint(checkpoint)
            if time is not None:
                return kept.at_time(time)
            return kept.now() if seq is None else kept.at_seq(seq)
        except JournalGapError:
            if attempt == READ_TRIES_MAX - 1:
                raise
    raise AssertionError  # the loop returns or raises


def read_checkpoint(
    fs: FileSystem, file: CheckpointFile, *, whole: bool = False
) -> tuple[State, Envelope]:
    """The state in a kept checkpoint, and what it says about itself.

    With `whole`, tensors are checked to the last byte. Raises FileNotFoundError where it is not
    there any more; CorruptionError, FormatError or another StorageError.
    """
    try:
        blocks = FileBlocks(fs, file.path)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise storage_error(file.path, error) from error
    with blocks:
        state, envelope = decode_state(blocks, file.path, suffix_of(file.path), whole=whole)
    if state.seq != file.seq:
        raise FormatError(file.path, f"its name says seq {file.seq}, its content {state.seq}")
    return state, envelope


def read_store(directory: Path, fs: FileSystem | None = None) -> tuple[State, Envelope]:
    """The state as it is on disk now, and what a snapshot of it would say; see `state_at`."""
    past = state_at(directory, fs=fs)
    return past.state, past.envelope


def read_state(directory: Path, fs: FileSystem | None = None) -> State:
    """The state as it is on disk now; see `state_at`."""
    return state_at(directory, fs=fs).state


class _Kept:
    """What a store keeps of its past, at one look; JournalGapError where the look was disturbed."""

    def __init__(self, fs: FileSystem, directory: Path, *, whole: bool) -> None:
        self._fs = fs
        self._directory = directory
        self._whole = whole
        self._snapshots = FileSnapshotStore(fs, directory)
        self._journal = JournalReader(fs, directory / JOURNAL_DIRECTORY)
        self._sealed = SealedFiles(fs, directory)

    @cached_property
    def _journal_files(self) -> list[JournalFile]:
        return self._journal.files()

    @cached_property
    def _checkpoints(self) -> list[CheckpointFile]:
        """Not read for the state as it is now: what is wrong with them is no hindrance there."""
        return self._snapshots.checkpoints()

    def now(self) -> Past:
        """The newest snapshot that can be read, and all of the journal after it."""
        rung = newest_readable(self._snapshots, whole=self._whole)
        if rung is None:
            self._check_beginning()
            return self._replayed(State(), Envelope(), None, None)
        if rung.digest is not None:
            return Past(rung.state, rung.envelope, rung.seq)
        if not rung.damaged:
            return self._replayed(rung.state, rung.envelope, rung.seq, None)
        if rung.seq is None and self._journal.is_empty():
            raise rung.damaged[0]
        state, snapshot_at = rung.state, rung.envelope.at
        with replaying(
            self._snapshots,
            rung,
            str(self._directory),
            at=lambda: snapshot_at if state.seq == rung.seq else None,
            locked=False,
        ):
            past = self._replayed(state, rung.envelope, rung.seq, None)
        return msgspec.structs.replace(past, passed_over=rung.damaged)

    def at_checkpoint(self, seq: int) -> Past:
        """A kept checkpoint as it is, of this store."""
        found = [file for file in self._checkpoints if file.seq == seq]
        if not found:
            seqs = sorted({file.seq for file in self._checkpoints})
            names = ", ".join(map(str, seqs)) or "none"
            raise self._not_kept("checkpoint", f"{seq} is not there (there are: {names})")
        state, envelope = self._loaded(found[-1])
        return Past(state, envelope, state.seq)

    def at_seq(self, seq: int) -> Past:
        """The newest snapshot up to `seq` that can be read, and the journal after it."""
        passed_over: list[StorageError] = []
        files = [
            file
            for file in self._checkpoints
            if file.seq == seq or (file.seq < seq and self._is_continued(file.seq))
        ]
        for file in [*reversed(files), None]:
            try:
                # The newest snapshot is one of the checkpoints, unless somebody took those away.
                loaded = self._latest() if file is None else self._loaded(file)
            except JournalGapError:
                raise
            except (CorruptionError, FormatError) as error:
                passed_over.append(error)
            else:
                if loaded is not None and self._leads_to(seq, *loaded):
                    past = self._replayed(*loaded, loaded[0].seq, seq)
                    return msgspec.structs.replace(past, passed_over=tuple(passed_over))
        if seq >= 0 and self._begins_empty():
            past = self._replayed(State(), Envelope(), None, seq)
            return msgspec.structs.replace(past, passed_over=tuple(passed_over))
        if passed_over:
            raise passed_over[0]
        raise self._not_kept("seq", f"{seq} is before what is kept")

    def at_time(self, at: str) -> Past:
        """The last commit before the first one that is later than `at`."""
        first_seq = seq = self._first_seq()
        if not self._is_continued(first_seq):
            raise self._not_kept("at", f"{at} cannot be told without a journal")
        with closing(self._journal.read(first_seq)) as commits:
            for commit in commits:
                if commit.at > at:
                    break
                seq = commit.seq
        past = self.at_seq(seq)
        if seq == first_seq and (past.envelope.at is None or past.envelope.at > at):
            first = f", of {past.envelope.at}" if past.envelope.at else ""
            raise self._not_kept("at", f"{at} is before seq {first_seq}{first}")
        return past

    def _replayed(
        self, state: State, envelope: Envelope, checkpoint_seq: int | None, upto_seq: int | None
    ) -> Past:
        """Apply the journal to a snapshot, up to a seq or to the end."""
        if state.seq == upto_seq and checkpoint_seq is not None:
            return Past(state, envelope, checkpoint_seq)
        header, said = self._journal.first_header(), envelope
        if header is not None:
            if checkpoint_seq is None and header.forked_from is not None:
                raise no_snapshot(self._directory)
            said = msgspec.structs.replace(envelope, store=header.store)
        with closing(self._journal.read(state.seq, envelope.journal_hash)) as commits:
            for commit in commits:
                before = state.seq
                if said.journal_hash is None:  # of the empty state: its line is the one before
                    said = msgspec.structs.replace(
                        said, epoch=commit.epoch, journal_hash=commit.prev
                    )
                apply_commit(state, commit, self._directory, self._sealed, upto_seq)
                if state.seq > before:
                    at, digest = commit.at, commit.hash
                    said = msgspec.structs.replace(
                        said, epoch=commit.epoch, at=at, journal_hash=digest
                    )
                if upto_seq is not None and commit.seq >= upto_seq:
                    return Past(state, said, checkpoint_seq, inside_message=state.seq < upto_seq)
        end = self._journal.end
        if end is not None and end.header is not None:
            epoch, digest = end.position.epoch, end.position.hash
            said = msgspec.structs.replace(said, epoch=epoch, journal_hash=digest)
        if upto_seq is not None and state.seq < upto_seq:
            raise self._not_kept("seq", f"{upto_seq} is not there yet")
        return Past(state, said, checkpoint_seq)

    # -- what there is ----------------------------------------------------------------------------

    def _check_beginning(self) -> None:
        """Raise FileNotFoundError where there is no store at all."""
        if not self._fs.exists(self._directory / JOURNAL_DIRECTORY) or self._journal.is_empty():
            raise FileNotFoundError(2, "no store here", str(self._directory))

    def _begins_empty(self) -> bool:
        """Whether the journal goes back to the first transition after the empty state."""
        header = self._journal.first_header()
        return header is not None and header.first == 1 and header.forked_from is None

    def _is_continued(self, seq: int) -> bool:
        """Whether the journal goes back to the transition after `seq`."""
        return bool(self._journal_files) and self._journal_files[0].first <= seq + 1

    def _leads_to(self, seq: int, state: State, envelope: Envelope) -> bool:
        """Whether the journal leads from a snapshot to `seq`; to none from outside a store."""
        return state.seq == seq or (state.seq < seq and envelope.store is not None)

    def _first_seq(self) -> int:
        """The seq of the oldest snapshot that the journal continues, or 0 for the empty state."""
        if self._begins_empty():
            return 0
        seqs = [file.seq for file in self._checkpoints if self._is_continued(file.seq)]
        if seqs:
            return seqs[0]
        latest = self._latest()
        if latest is None:
            self._check_beginning()
            raise no_snapshot(self._directory)
        return latest[0].seq

    def _not_kept(self, field: str, reason: str) -> NotKeptError:
        first_seq = last_seq = self._first_seq()
        if self._is_continued(first_seq):
            self._journal.read_to_end(first_seq)
            if self._journal.end is not None:
                last_seq = self._journal.end.position.seq
        return NotKeptError(field, reason, first_seq, last_seq)

    def _latest(self) -> tuple[State, Envelope] | None:
        blocks = self._snapshots.latest()
        if blocks is None:
            return None
        path = self._snapshots.path
        with blocks:
            return self._of_this_store(
                decode_state(blocks, path, suffix_of(path), whole=self._whole)
            )

    def _loaded(self, file: CheckpointFile) -> tuple[State, Envelope]:
        try:
            return self._of_this_store(read_checkpoint(self._fs, file, whole=self._whole))
        except FileNotFoundError as error:
            raise JournalGapError(file.path, 0, "it vanished while it was read") from error

    def _of_this_store(self, loaded: tuple[State, Envelope]) -> tuple[State, Envelope]:
        header = self._journal.first_header()
        if header is not None:
            check_store(loaded[1], header.store, self._directory)
        return loaded
