"""The journal as a ledger: its transitions one by one, its head, and whether its chain is whole.

Everything here takes no lock and changes nothing, also beside a live writer. Where a checkpoint
takes a journal file away meanwhile, reading goes on behind it or begins anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from penin.core.transitions import Origin, Transaction
from penin.errors import CorruptionError, JournalGapError, UsageError
from penin.runtime.progress import Progress
from penin.runtime.signing import SignedHeads, SignedReport
from penin.runtime.store import JOURNAL_DIRECTORY
from penin.storage.commits import Commit, Header, is_anchor
from penin.storage.filesystem import FileSystem, OsFileSystem
from penin.storage.reader import JournalReader
from penin.storage.survey import Damage, Survey

T = TypeVar("T")

READ_TRIES_MAX: Final = 10
"""How often reading begins anew because a checkpoint took files from under it."""
PYTHON: Final = "python"
_OF_MESSAGE: Final = frozenset({"id", "digest", "from"})
"""The source of a message that says none."""


class Head(msgspec.Struct, frozen=True):
    """A line of the chain: the last seq up to it, and its hash. `store` is the id of the store."""

    seq: int
    hash: str
    store: str | None = None


class Entry(msgspec.Struct, frozen=True):
    """One transition in the ledger.

    `at`, `epoch` and `hash` are those of the commit that it lies in; `message` is the first and
    the last seq of its message, with the `id` of that and `origin` (in JSON `from`), who sent it.
    `transition` is the JSON object as it is in the journal, without `id` and `from`.
    """

    seq: int
    at: str
    epoch: int
    hash: str
    message: tuple[int, int]
    id: str | None
    origin: Origin | None = msgspec.field(name="from")
    transition: msgspec.Raw


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """Which entries are wanted: those that fit everything that is not None.

    Seqs from `from_seq` to `to_seq`, both included; times from `since` to before `until`, in the
    form of commits; the `type` of the transition; `key`, the key or the name that it is about;
    `source`, who sent it (`python` where a message says nothing). Of these the first `limit`.
    """

    from_seq: int | None = None
    to_seq: int | None = None
    since: str | None = None
    until: str | None = None
    type: str | None = None
    key: str | None = None
    source: str | None = None
    limit: int | None = None


class Subject(msgspec.Struct):
    """What is looked at of a message or a transition, whatever its type."""

    type: str
    id: str | None = None
    origin: Origin | None = msgspec.field(name="from", default=None)
    key: str | None = None
    name: str | None = None
    keys: list[str] = []
    transitions: list[msgspec.Raw] = []


class ChainReport(msgspec.Struct, frozen=True):
    """What a look at the whole chain found.

    `head` is its last line. `kept_head` is the one that was to be in it, or None, and `kept_found`
    tells whether it is. `signed` is of the signed heads, where these were looked at.
    `incomplete_bytes` at the end are of a commit that was being written.
    """

    store: str | None
    first_seq: int
    head: Head
    epochs: tuple[int, int]
    files: int
    lines: int
    size_bytes: int
    incomplete_bytes: int
    damage: list[Damage]
    kept_head: Head | None = None
    kept_found: bool | None = None
    signed: SignedReport | None = None

    @property
    def is_whole(self) -> bool:
        """Whether nothing is damaged, the head that was to be there is, and the signed ones are."""
        is_signed = self.signed is None or self.signed.is_right
        return not self.damage and self.kept_found is not False and is_signed


_decode_subject: Final = msgspec.json.Decoder(Subject).decode
_decode_raws: Final = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_members: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_encode: Final = msgspec.json.Encoder().encode


def journal_of(directory: Path) -> Path:
    """Where a store has its journal."""
    return directory / JOURNAL_DIRECTORY


def first_kept(reader: JournalReader, directory: Path) -> int:
    """The first seq that the journal is kept from; FileNotFoundError where there is none."""
    if reader.is_empty():
        raise FileNotFoundError(2, "no journal here", str(directory))
    return reader.files()[0].first


def read_head(directory: Path, fs: FileSystem | None = None) -> Head:
    """The last line of the ledger. Reads the newest journal file.

    Raises FileNotFoundError where there is no journal, CorruptionError, FormatError, or another
    StorageError.
    """
    reader = JournalReader(OsFileSystem() if fs is None else fs, journal_of(directory))

    def once() -> Head:
        first_kept(reader, directory)
        reader.read_to_end(reader.files()[-1].first - 1)
        end = reader.end
        assert end is not None
        store = None if end.header is None else end.header.store
        return Head(end.position.seq, end.position.hash, store)

    return undisturbed(once)


def undisturbed(read: Callable[[], T]) -> T:
    """Read, and again where a checkpoint took a file away meanwhile."""
    for attempt in range(READ_TRIES_MAX):
        try:
            return read()
        except JournalGapError:
            if attempt == READ_TRIES_MAX - 1:
                raise
    raise AssertionError  # the loop returns or raises


def read_entries(
    directory: Path, wanted: Selection, fs: FileSystem | None = None
) -> Iterator[Entry]:
    """The wanted transitions, in order. What is before `from_seq` is not read.

    Raises UsageError for a `from_seq` before what is kept, and otherwise as `read_head`, when it
    comes to the place; what was yielded before that is right.
    """
    fitting = (entry for entry in _entries(directory, wanted, fs) if fits(entry, wanted))
    return islice(fitting, wanted.limit)


def _entries(directory: Path, wanted: Selection, fs: FileSystem | None) -> Iterator[Entry]:
    for commit in _commits(directory, wanted.from_seq, fs):
        if wanted.to_seq is not None and commit.first > wanted.to_seq:
            return
        if wanted.since is not None and commit.at < wanted.since:
            continue
        if wanted.until is not None and commit.at >= wanted.until:
            continue
        yield from entries_of(commit, journal_of(directory))


def _commits(directory: Path, from_seq: int | None, fs: FileSystem | None) -> Iterator[Commit]:
    """The commits from a seq on, or from the first kept one; past files that are taken away."""
    reader = JournalReader(OsFileSystem() if fs is None else fs, journal_of(directory))
    first = first_kept(reader, directory)
    if from_seq is not None and from_seq < first:
        raise UsageError(f"the journal is kept from seq {first} on, and not from {from_seq}")
    after_seq = (first if from_seq is None else from_seq) - 1
    tries = READ_TRIES_MAX
    while True:
        try:
            for commit in reader.read_from(after_seq + 1):
                after_seq, tries = commit.seq, READ_TRIES_MAX
                yield commit
        except JournalGapError:
            tries -= 1
            if tries == 0:
                raise
        else:
            return


def entries_of(commit: Commit, journal: Path) -> Iterator[Entry]:
    """The transitions of one commit; CorruptionError where they do not fill its seqs."""
    seq = commit.first
    try:
        for message in _decode_raws(commit.messages):
            subject = _decode_subject(message)
            inner = subject.transitions if subject.type == Transaction.TYPE else [_bare(message)]
            bounds = seq, seq + len(inner) - 1
            for transition in inner:
                yield Entry(
                    seq,
                    commit.at,
                    commit.epoch,
                    commit.hash,
                    bounds,
                    subject.id,
                    subject.origin,
                    transition,
                )
                seq += 1
    except msgspec.MsgspecError as error:
        reason = f"the commit of seq {commit.first} to {commit.seq} holds no messages: {error}"
        raise CorruptionError(journal, 0, reason) from error
    if seq != commit.seq + 1:
        reason = f"the commit of seq {commit.first} to {commit.seq} holds another number of them"
        raise CorruptionError(journal, 0, reason)


def _bare(message: msgspec.Raw) -> msgspec.Raw:
    """A transition without what it says as a message."""
    members = _decode_members(message)
    if members.keys().isdisjoint(_OF_MESSAGE):
        return message
    bare = {name: value for name, value in members.items() if name not in _OF_MESSAGE}
    return msgspec.Raw(_encode(bare))


def fits(entry: Entry, wanted: Selection) -> bool:
    """Whether an entry is of the wanted seqs, type, key and source; times are not looked at."""
    if wanted.from_seq is not None and entry.seq < wanted.from_seq:
        return False
    if wanted.to_seq is not None and entry.seq > wanted.to_seq:
        return False
    source = PYTHON if entry.origin is None else entry.origin.source
    if wanted.source is not None and wanted.source != source:
        return False
    if wanted.type is None and wanted.key is None:
        return True
    subject = _decode_subject(entry.transition)
    if wanted.type is not None and wanted.type != subject.type:
        return False
    return wanted.key is None or wanted.key in (subject.key, subject.name, *subject.keys)


def verify_chain(
    directory: Path,
    kept_head: Head | None = None,
    progress: Progress | None = None,
    fs: FileSystem | None = None,
    signed: Callable[[], SignedHeads] | None = None,
) -> ChainReport:
    """Check the chain of the whole journal, and that a line that was seen once is in it still.

    `kept_head` is such a line; a seq of -1 stands for any. `signed` gives the signed heads, read
    before the journal is, so that this goes on at least as far. Damage is no error here but in the
    report. Memory is bounded by a line, and by the damaged end of the newest file. Raises
    FileNotFoundError where there is no journal, FormatError, or another StorageError.
    """
    files = OsFileSystem() if fs is None else fs

    def once() -> ChainReport:
        first_kept(JournalReader(files, journal_of(directory)), directory)
        heads = None if signed is None else signed()
        survey = Survey(files, journal_of(directory))
        report = _verify_once(survey, kept_head, progress or Progress(), heads)
        if heads is None:
            return report
        found = heads.report(directory, report.store, report.first_seq)
        return msgspec.structs.replace(report, signed=found)

    return undisturbed(once)


def _verify_once(
    survey: Survey, kept_head: Head | None, progress: Progress, heads: SignedHeads | None
) -> ChainReport:
    files = survey.files
    damage: list[Damage] = []
    epochs: list[int] = []
    store, lines, found = None, 0, False
    progress.begin(survey.size_bytes)
    for line in survey:
        if isinstance(line, Damage):
            damage.append(line)
            continue
        lines += 1
        if heads is not None:
            heads.note(line)
        if isinstance(line, Header):
            store = line.store
        elif not epochs:
            epochs = [line.epoch, line.epoch]
        else:
            epochs[1] = max(epochs[1], line.epoch)
        if kept_head is not None and not found:
            seq = line.first - 1 if isinstance(line, Header) else line.seq
            asked = seq if kept_head.seq < 0 else kept_head.seq
            found = is_anchor(line, asked, kept_head.hash)
        progress.done = survey.done_bytes
    position = survey.position
    return ChainReport(
        store,
        files[0].first,
        Head(position.seq, position.hash, store),
        (epochs[0], epochs[1]) if epochs else (0, 0),
        len(files),
        lines,
        survey.size_bytes,
        0 if survey.tail is None else survey.tail.size,
        damage,
        kept_head,
        None if kept_head is None else found,
    )
