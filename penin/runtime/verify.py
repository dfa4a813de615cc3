"""Everything in a store, checked: digests, chain, and that all of it leads to one state.

Each snapshot is read whole. Then the journal is read once, past what is damaged, and replayed: from
the empty state where it goes back to that, else from the first snapshot on, and wherever a snapshot
lies on the way the state must be the same as the one in it, bit for bit. Nothing takes the lock or
changes a file, also beside a live writer. One state at a time is in memory.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import Literal

import msgspec

from penin.core.formats import decode_state, encode_state
from penin.core.snapshots import Envelope
from penin.core.state import State
from penin.errors import (
    CorruptionError,
    FormatError,
    JournalGapError,
    SealedFileMissingError,
)
from penin.runtime.key_source import files_with
from penin.runtime.ledger import undisturbed
from penin.runtime.progress import Progress
from penin.runtime.recovery import apply_commit
from penin.runtime.store import JOURNAL_DIRECTORY
from penin.runtime.verify_files import Note, noted_files
from penin.storage.commits import Commit, Header, is_anchor
from penin.storage.compression import split_suffix, suffix_of
from penin.storage.filesystem import READ_BYTES, FileBlocks, FileSystem, OsFileSystem
from penin.storage.journal_encryption import LineOpener
from penin.storage.journal_names import JournalFile
from penin.storage.reader import JournalReader
from penin.storage.sealed import SealedFiles
from penin.storage.snapshots import FileSnapshotStore
from penin.storage.survey import Damage, Survey

Verdict = Literal["same", "unchecked", "differs", "damaged"]
"""Of a snapshot: its state is the one that the journal leads to; nothing leads to it (it is the
first, and read whole); it is another one; it cannot be read."""


class Problem(msgspec.Struct, frozen=True):
    """Something that is damaged, or does not agree with the rest. `position` is a byte in `path`.

    In the journal, the transitions `first_seq` to `last_seq` are missing (both None: none is;
    `last_seq` alone None: nobody knows how many).
    """

    path: str
    position: int
    reason: str
    first_seq: int | None = None
    last_seq: int | None = None


class SnapshotReport(msgspec.Struct):
    """A snapshot and what was found of it. `names` are its paths: one file may have two."""

    names: list[str]
    seq: int | None
    at: str | None
    size_bytes: int
    verdict: Verdict


class JournalReport(msgspec.Struct, frozen=True):
    """The journal: its seqs, the hash of its last line, its epochs, and its size.

    `incomplete_bytes` at the end are of a commit that was not finished (yet), which is no damage.
    """

    first_seq: int
    last_seq: int
    head: str
    epochs: tuple[int, int]
    files: int
    size_bytes: int
    incomplete_bytes: int


class StoreReport(msgspec.Struct, frozen=True):
    """What `verify` found. `is_sound` is whether there are no problems; notes are none."""

    dir: str
    store: str | None
    is_sound: bool
    snapshots: list[SnapshotReport]
    journal: JournalReport | None
    problems: list[Problem]
    notes: list[Note]


def verify(
    dir: str | os.PathLike[str],  # the word of the command line
    *,
    key_from: str | None = None,
) -> StoreReport:
    """Check everything in a store; damage is no error here but in the report.

    Digests and chain, that snapshots and journal agree, that each checkpoint leads to the same
    state, what else lies there, and who may read it. Takes no lock and changes nothing, also while
    a worker writes. Reads everything, and has one state in memory: not for an event loop's thread.
    `key_from` is that of the settings; without a key, an encrypted store is refused.

    Raises FileNotFoundError where there is no store, FormatError for a later version of the
    journal, OSError, and another StorageError where a file cannot be read at all.
    """
    return verify_store(Path(os.path.realpath(dir)), Progress(), files_with(key_from))


def verify_store(directory: Path, progress: Progress, fs: FileSystem | None = None) -> StoreReport:
    """See `verify`; `progress` counts the bytes that were read, `fs` has the key."""
    files = OsFileSystem() if fs is None else fs
    return undisturbed(lambda: _Verifying(files, directory, progress).report())


def state_digest(state: State, suffix: str) -> str:
    """The SHA-256 of all that a state is, whatever way it came about; reads all of it.

    Raises CorruptionError where a mapped file is damaged.
    """
    digest = hashlib.sha256()
    for chunk in encode_state(state.view(), Envelope(), suffix):
        digest.update(chunk)
    return digest.hexdigest()


class _Kept(msgspec.Struct):
    """A snapshot that was read, and what is known of it; its state is read again where needed."""

    path: Path
    blocks: FileBlocks
    said: SnapshotReport
    envelope: Envelope
    seq: int
    digest: str
    is_anchored: bool = False
    is_passed: bool = False


class _Verifying:
    """One look at a store; JournalGapError where a checkpoint disturbed it."""

    def __init__(self, fs: FileSystem, directory: Path, progress: Progress) -> None:
        self._fs = fs
        self._directory = directory
        self._progress = progress
        self._snapshots = FileSnapshotStore(self._fs, directory)
        self._suffix, _ = split_suffix(self._snapshots.suffix)
        self._sealed = SealedFiles(self._fs, directory)
        self._opener = LineOpener(fs, directory / JOURNAL_DIRECTORY)
        self._journal_files: list[JournalFile] = []
        self._problems: list[Problem] = []
        self._said: list[SnapshotReport] = []
        self._kept: dict[int, list[_Kept]] = {}
        self._state: State | None = None
        self._store: str | None = None

    def report(self) -> StoreReport:
        """Read everything."""
        survey = Survey(self._fs, self._directory / JOURNAL_DIRECTORY)
        with ExitStack() as stack:
            self._read_snapshots(survey.size_bytes, stack)
            journal = None
            self._journal_files = list(survey.files)
            if survey.files:
                journal = self._walk(survey)
            elif not self._said:
                raise FileNotFoundError(2, "no store here", str(self._directory))
            elif any(kept.envelope.store is not None for kept in self._each_kept()):
                self._problem(self._directory / JOURNAL_DIRECTORY, 0, "there is no journal")
        return StoreReport(
            str(self._directory),
            self._store,
            not self._problems,
            self._said,
            journal,
            self._problems,
            noted_files(self._directory),
        )

    def _is_disturbed(self) -> bool:
        """Whether a checkpoint took files away since the journal was looked at."""
        files = JournalReader(self._fs, self._directory / JOURNAL_DIRECTORY).files()
        return files[:1] != self._journal_files[:1]

    def _each_kept(self) -> Iterator[_Kept]:
        return chain.from_iterable(self._kept.values())

    def _problem(self, path: Path, position: int, reason: str) -> None:
        self._problems.append(Problem(str(path), position, reason))

    # -- snapshots --------------------------------------------------------------------------------

    def _read_snapshots(self, journal_bytes: int, stack: ExitStack) -> None:
        opened: list[tuple[Path, FileBlocks]] = []
        names: dict[tuple[int, int], list[str]] = {}
        checkpoints = {file.path: file.seq for file in self._snapshots.checkpoints()}
        for path in [*checkpoints, self._snapshots.path]:
            try:
                blocks = stack.enter_context(FileBlocks(self._fs, path))
            except FileNotFoundError as error:
                if path in checkpoints:
                    raise JournalGapError(path, 0, "it vanished") from error
                if checkpoints:
                    self._problem(path, 0, "it is missing, beside checkpoints")
                continue
            if blocks.identity not in names:
                opened.append((path, blocks))
            names.setdefault(blocks.identity, []).append(str(path))
        self._progress.begin(journal_bytes + sum(blocks.size_bytes for _, blocks in opened))
        for path, blocks in opened:
            said = self._read_snapshot(path, blocks, names[blocks.identity])
            if said.seq not in (None, checkpoints.get(path, said.seq)):
                reason = f"its name says seq {checkpoints[path]}, its content {said.seq}"
                self._problem(path, 0, reason)

    def _read_snapshot(self, path: Path, blocks: FileBlocks, names: list[str]) -> SnapshotReport:
        said = SnapshotReport(names, None, None, blocks.size_bytes, "damaged")
        self._said.append(said)
        end = self._progress.done + blocks.size_bytes
        try:
            state, envelope = self._decoded(path, blocks, end)
            digest = state_digest(state, self._suffix)
        except (CorruptionError, FormatError) as error:
            position = getattr(error, "position", 0)
            self._problem(
                path, position, error.reason.removeprefix(f"damaged at byte {position}: ")
            )
        else:
            said.seq, said.at, said.verdict = state.seq, envelope.at, "unchecked"
            kept = _Kept(path, blocks, said, envelope, state.seq, digest)
            self._kept.setdefault(state.seq, []).append(kept)
        self._progress.done = end
        return said

    def _decoded(self, path: Path, blocks: FileBlocks, end: int = 0) -> tuple[State, Envelope]:
        def note() -> None:
            self._progress.done = max(
                self._progress.done, min(end, self._progress.done + READ_BYTES)
            )

        return decode_state(blocks, path, suffix_of(path), whole=True, abandoned=note)

    # -- the journal ------------------------------------------------------------------------------

    def _walk(self, survey: Survey) -> JournalReport:
        """Read the journal once, replaying it, and look at each snapshot where it lies."""
        before = self._progress.done
        epochs: list[int] = []
        is_first = True
        for line in survey:
            if isinstance(line, Damage):
                self._damage(line)
                continue
            if isinstance(line, Header):
                self._note_header(line, is_first=is_first)
            else:
                epochs = [epochs[0] if epochs else line.epoch, line.epoch]
            is_first = False
            self._step(line)
            self._progress.done = before + survey.done_bytes
        self._end(survey)
        position = survey.position
        return JournalReport(
            survey.files[0].first,
            position.seq,
            position.hash,
            (epochs[0], epochs[1]) if epochs else (0, 0),
            len(survey.files),
            survey.size_bytes,
            0 if survey.tail is None else survey.tail.size,
        )

    def _damage(self, damage: Damage) -> None:
        missing = damage.last_seq is None or damage.last_seq >= damage.first_seq
        first, last = (damage.first_seq, damage.last_seq) if missing else (None, None)
        problem = Problem(str(damage.path), damage.position, damage.reason, first, last)
        self._problems.append(problem)
        self._state = None  # nothing leads on from here but the next snapshot

    def _note_header(self, header: Header, *, is_first: bool) -> None:
        if is_first and header.first == 1 and header.forked_from is None:
            self._state = State()
        elif is_first and not self._said:
            reason = "it goes on from a snapshot that is not there"
            self._problem(self._directory / JOURNAL_DIRECTORY, 0, reason)
        if self._store is None:
            self._store = header.store

    def _step(self, line: Header | Commit) -> None:
        seq = line.first - 1 if isinstance(line, Header) else line.seq
        try:
            plain = self._opener.plain(line)
            if isinstance(plain, Commit) and plain.seq >= plain.first and self._state is not None:
                apply_commit(self._state, plain, self._directory, self._sealed)
        except CorruptionError as error:
            if isinstance(error, SealedFileMissingError) and self._is_disturbed():
                raise
            self._problem(error.path, 0, error.reason)
            self._state = None
        for kept in self._kept.get(seq, ()):
            kept.is_anchored |= is_anchor(line, seq, kept.envelope.journal_hash or "")
            if not kept.is_passed:
                self._meet(kept)

    def _meet(self, kept: _Kept) -> None:
        """Compare a snapshot with the state that the journal has led to, or go on from it."""
        kept.is_passed = True
        if self._state is None:
            self._state, _ = self._decoded(kept.path, kept.blocks)
        elif state_digest(self._state, self._suffix) == kept.digest:
            kept.said.verdict = "same"
        else:
            kept.said.verdict = "differs"
            reason = "its state is not the one that the journal leads to"
            self._problem(kept.path, 0, reason)

    def _end(self, survey: Survey) -> None:
        """Name the snapshots that the journal did not meet, or not with the hash that they name."""
        is_empty = survey.position.seq < survey.files[0].first
        for kept in self._each_kept():
            if kept.envelope.store is None and is_empty:
                continue  # it is converted, once more, when the store is opened
            if kept.envelope.store != self._store:
                self._problem(kept.path, 0, f"a snapshot of store {kept.envelope.store}")
            elif kept.is_passed and kept.is_anchored:
                continue
            elif not kept.is_passed and not self._is_there(kept):
                raise JournalGapError(kept.path, 0, "a checkpoint retired it")
            else:
                reason = f"no line of the journal at its seq {kept.seq} has the hash that it names"
                self._problem(kept.path, 0, reason)

    def _is_there(self, kept: _Kept) -> bool:
        try:
            with FileBlocks(self._fs, kept.path) as blocks:
                return blocks.identity == kept.blocks.identity
        except FileNotFoundError:
            return False
