"""Repair: a new store of what is left of a damaged one, which is never changed.

The newest snapshot that can be read to its last byte, and the journal after it up to where that is
damaged or leads nowhere: this is the longest prefix of the history that can be had. What lies
behind it is cut: its lines may be whole, but they depend on what is missing. The new store has an
id of its own and names in `forked_from` where it goes on from, since a part of the history is gone.
"""

from __future__ import annotations

import os
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
    KeyRequiredError,
    StorageError,
)
from penin.runtime.convert import new_store
from penin.runtime.progress import Progress
from penin.runtime.recovery import apply_commit
from penin.runtime.store import JOURNAL_DIRECTORY, settings_of
from penin.storage.commits import Commit, Header
from penin.storage.compression import suffix_of
from penin.storage.encryption import ENCRYPTED_SUFFIX
from penin.storage.filesystem import FileBlocks, FileSystem, OsFileSystem
from penin.storage.journal_encryption import LineOpener
from penin.storage.reader import JournalReader
from penin.storage.sealed import SealedFiles
from penin.storage.snapshots import FileSnapshotStore
from penin.storage.survey import Damage, Survey

READ_TRIES_MAX: Final = 3
"""How often reading begins anew where a file is missing, which a checkpoint may have taken."""


class DamagedPlace(msgspec.Struct, frozen=True):
    """A place that is damaged: the file, the byte, and why."""

    path: str
    position: int
    reason: str


class Plan(msgspec.Struct, frozen=True):
    """What a repair would keep and what it would cut.

    Kept is the state at `seq`, of the time `at`, from the snapshot at `snapshot_seq` (None: the
    empty state) in `snapshot` and the journal after it. Cut are `cut_bytes` of the journal, and
    with them the transitions from `lost_first_seq` on: up to `lost_last_seq`, where that is known
    (both None: none is lost). `incomplete_bytes` are of a commit that was not finished: they are
    left out, too, and nothing is lost with them. `state` and `envelope` are what is kept.
    """

    dir: str
    is_needed: bool
    seq: int
    at: str | None
    snapshot: str | None
    snapshot_seq: int | None
    damaged_snapshots: list[DamagedPlace]
    damaged_journal: list[DamagedPlace]
    cut_bytes: int
    incomplete_bytes: int
    lost_first_seq: int | None
    lost_last_seq: int | None
    suffix: str
    state: State
    envelope: Envelope


class _Base(msgspec.Struct):
    """The snapshot to begin with, and what the journal after it made of it."""

    state: State
    envelope: Envelope
    path: Path | None
    seq: int | None
    at: str | None
    stop: CorruptionError | None = None
    cut: tuple[Path, int] | None = None
    incomplete_bytes: int = 0


def plan_repair(
    directory: Path, progress: Progress | None = None, fs: FileSystem | None = None
) -> Plan:
    """Find out what can be kept of a store; reads all of it, and changes nothing.

    Raises FileNotFoundError where there is no store, CorruptionError where nothing is left that a
    state could be made of, FormatError for a later version of the journal, and StorageError where
    a file cannot be read.
    """
    planning = _Planning(OsFileSystem() if fs is None else fs, directory, progress or Progress())
    for attempt in range(READ_TRIES_MAX):
        plan, is_disturbed = planning.plan()
        if not is_disturbed or attempt == READ_TRIES_MAX - 1:
            return plan
    raise AssertionError  # the loop returns


def repair(plan: Plan, directory: Path, fs: FileSystem | None = None) -> str:
    """Make a store of what the plan keeps in `directory`, which must hold none; its id.

    Durable on return. Interrupted, it can be called again. Raises LockedError, StorageError, and
    KeyRequiredError where an encrypted store would become a plain one: `fs` has the key.
    """
    if plan.suffix.endswith(ENCRYPTED_SUFFIX) and (fs is None or fs.keys is None):
        raise KeyRequiredError(plan.dir)
    if os.path.realpath(directory) == os.path.realpath(plan.dir):
        raise StorageError(directory, "the damaged store itself is never changed; name another")
    return new_store(directory, settings_of(plan.suffix), plan.state, plan.envelope, fs=fs)


class _Planning:
    """Looks at a store."""

    def __init__(self, fs: FileSystem, directory: Path, progress: Progress) -> None:
        self._fs = fs
        self._directory = directory
        self._progress = progress
        self._snapshots = FileSnapshotStore(fs, directory)
        self._journal = JournalReader(fs, directory / JOURNAL_DIRECTORY)

    def plan(self) -> tuple[Plan, bool]:
        """The plan, and whether a missing file may be due to a checkpoint at this moment."""
        if not self._journal.files() and self._snapshots.latest() is None:
            raise FileNotFoundError(2, "no store here", str(self._directory))
        damaged: list[DamagedPlace] = []
        base = self._base(damaged)
        self._replay(base)
        survey = Survey(self._fs, self._directory / JOURNAL_DIRECTORY)
        self._progress.begin(survey.size_bytes)
        journal: list[DamagedPlace] = []
        last_seq: int | None = base.state.seq
        for line in survey:
            if isinstance(line, Damage):
                journal.append(DamagedPlace(str(line.path), line.position, line.reason))
                if line.last_seq is None:
                    last_seq = None
            self._progress.done = survey.done_bytes
        if base.stop is not None and not journal:
            stop = base.stop
            journal.append(DamagedPlace(str(stop.path), stop.position, stop.reason))
        if last_seq is not None:
            last_seq = max(last_seq, survey.position.seq, self._newest_seq())
        is_lost = last_seq is None or last_seq > base.state.seq
        plan = Plan(
            dir=str(self._directory),
            is_needed=bool(damaged or journal or base.stop),
            seq=base.state.seq,
            at=base.at,
            snapshot=None if base.path is None else str(base.path),
            snapshot_seq=base.seq,
            damaged_snapshots=damaged,
            damaged_journal=journal,
            cut_bytes=self._cut_bytes(base),
            incomplete_bytes=base.incomplete_bytes,
            lost_first_seq=base.state.seq + 1 if is_lost else None,
            lost_last_seq=last_seq if is_lost else None,
            suffix=self._snapshots.suffix,
            state=base.state,
            envelope=base.envelope,
        )
        return plan, isinstance(base.stop, JournalGapError)

    def _newest_seq(self) -> int:
        files = [*self._snapshots.checkpoints(), *self._snapshots.set_aside_checkpoints()]
        return max((file.seq for file in files), default=0)

    def _base(self, damaged: list[DamagedPlace]) -> _Base:
        """The newest snapshot that can be read whole; what could not goes to `damaged`."""
        found: list[_Base] = []
        seen: set[tuple[int, int]] = set()
        newest_first = [file.path for file in reversed(self._snapshots.checkpoints())]
        # A checkpoint can be newer than the newest snapshot, and only the first of them.
        for number, path in enumerate([self._snapshots.path, *newest_first]):
            if found and number > 1:
                break
            try:
                with FileBlocks(self._fs, path) as blocks:
                    if found and blocks.identity in seen:
                        continue
                    seen.add(blocks.identity)
                    found.append(self._read(blocks, path))
            except FileNotFoundError:
                if number == 0 and newest_first:
                    damaged.append(DamagedPlace(str(path), 0, "it is missing, beside checkpoints"))
            except (CorruptionError, FormatError) as error:
                position = getattr(error, "position", 0)
                damaged.append(DamagedPlace(str(path), position, error.reason))
        if found:
            return max(found, key=lambda base: base.state.seq)
        header = self._journal.first_header()
        if header is not None and header.first == 1 and header.forked_from is None:
            return _Base(State(), Envelope(), None, None, None)
        first = damaged[0] if damaged else DamagedPlace(str(self._directory), 0, "no snapshot")
        reason = f"{first.reason}; nothing is left that a state could be made of"
        raise CorruptionError(
            first.path, first.position, reason.removeprefix("damaged at byte 0: ")
        )

    def _read(self, blocks: FileBlocks, path: Path) -> _Base:
        state, envelope = decode_state(blocks, path, suffix_of(path), whole=True)
        if envelope.store is None and self._journal.files():
            raise FormatError(path, "a state that was saved outside a store, beside a journal")
        return _Base(state, envelope, path, state.seq, envelope.at)

    def _replay(self, base: _Base) -> None:
        """Apply the journal as far as it leads, and note what ended that."""
        state, envelope = base.state, base.envelope
        if envelope.store is None and base.seq is not None:
            return
        sealed = SealedFiles(self._fs, self._directory)
        opener = LineOpener(self._fs, self._directory / JOURNAL_DIRECTORY)
        begin = line_end = 0  # of the line, in its file
        try:
            for found in self._journal.lines(state.seq, envelope.journal_hash):
                line = opener.plain(found)
                assert self._journal.position is not None
                begin = 0 if isinstance(line, Header) else line_end
                line_end = self._journal.position.offset
                if isinstance(line, Commit) and line.seq > state.seq and line.seq >= line.first:
                    apply_commit(state, line, self._directory, sealed)
                    base.at = line.at
        except CorruptionError as error:
            base.stop = error
            files = [file for file in self._journal.files() if file.first <= state.seq + 1]
            # Not the journal, but what it says or names: from that line on it is cut.
            is_journal = error.path in [file.path for file in self._journal.files()]
            at = files[-1].path if files else error.path
            base.cut = (error.path, error.position) if is_journal else (at, begin)
        position = self._journal.position
        header = self._journal.first_header()
        end = self._journal.end
        if end is not None and end.tail is not None:
            base.incomplete_bytes = end.tail.size
        is_continued = position is not None and position.seq >= state.seq
        if is_continued and header is not None and not isinstance(base.stop, JournalGapError):
            assert position is not None
            base.envelope = Envelope(header.store, position.epoch, base.at, position.hash)

    def _cut_bytes(self, base: _Base) -> int:
        """How much of the journal comes behind the place where it stopped leading on."""
        if base.cut is None:
            return 0
        path, position = base.cut
        return sum(
            # A position is one of the content, also where the file is compressed.
            max(0, self._journal.file_size(file) - (position if file.path == path else 0))
            for file in self._journal.files()
            if file.path.name >= path.name
        )
