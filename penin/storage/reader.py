"""Reading the journal: one pass along the chain, from a snapshot to the end.

Rules:

1. Reading takes no lock and changes nothing. It streams: a line at a time, whatever the size of
   the file; only a damaged region is read whole.
2. Older files were synced before the next one was made: damage in them is corruption. The newest
   file may end in a torn tail (`penin.storage.tail`), where reading stops.
3. A newest file that holds nothing but its header is doubted. If its predecessor went on past the
   place where it begins, making it had failed and it is a leftover: it is not part of the chain.
   If its header is broken and its predecessor ends where it begins, it is to be made anew.
4. An older file may be compressed (`penin.storage.journal_compression`). Chain, hashes and offsets
   are those of its lines.
5. Without the lock a writer may be at work. What changes between two looks is looked at again, and
   a file that a checkpoint took away is a `JournalGapError`.
6. Reading may begin inside a file (`read_from`, `seq_since`): at a line that is valid by itself, of
   which the place in the chain is taken as it is stated.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import msgspec

from penin.errors import CorruptionError, FormatError, JournalGapError
from penin.storage.commits import (
    HASH_TAIL_BYTES,
    HEADER_BYTES_MAX,
    ZERO_HASH,
    Commit,
    Header,
    InvalidLineError,
    Position,
    UnknownVersionError,
    parse_line,
    stated_hash,
)
from penin.storage.filesystem import FileSystem, storage_error
from penin.storage.journal_encryption import LineOpener
from penin.storage.journal_names import JournalFile, journal_file
from penin.storage.lines import journal_lines
from penin.storage.places import IsBefore, line_before
from penin.storage.scan import Scan, no_continuation
from penin.storage.tail import Torn, is_bare

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path


class JournalEnd(msgspec.Struct, frozen=True):
    """What a whole reading found at the end: all that opening the journal for writing needs."""

    files: tuple[JournalFile, ...]  # every file of the chain, oldest first
    header: Header | None  # the last good one; None only where the sole file has a broken one
    position: Position  # the end of the last good line, in the newest file
    durable: Position  # what follows it in the newest file may only be in the page cache
    tail: Torn | None  # in the newest file
    header_broken: bool  # the newest file is to be made anew
    leftover: JournalFile | None  # a file beside the chain, to be removed


class _Doubted(msgspec.Struct, frozen=True):
    """A newest file that holds nothing but its header; `header` is None where that is broken."""

    file: JournalFile
    header: Header | None
    size: int


class JournalReader:
    """The journal as it is on disk now. Takes no lock and touches nothing."""

    def __init__(self, fs: FileSystem, directory: Path) -> None:
        self._fs = fs
        self._directory = directory
        self._opener = LineOpener(fs, directory)
        self.end: JournalEnd | None = None  # set by a reading that was exhausted
        self._scan: Scan | None = None
        self._entered: Header | None = None  # of the file that a reading began inside

    @property
    def position(self) -> Position | None:
        """The end of the line that a reading under way yielded last."""
        return None if self._scan is None else self._scan.position

    def files(self) -> list[JournalFile]:
        """Return the journal files, oldest first; none where there is no journal."""
        try:
            names = self._fs.names(self._directory)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise storage_error(self._directory, error) from error
        # Where one was being compressed both may be there, the plain one first, which counts.
        found = (journal_file(self._directory / name) for name in reversed(names))
        by_first = {file.first: file for file in found if file is not None}
        return [by_first[first] for first in sorted(by_first)]

    def is_empty(self) -> bool:
        """Tell whether no journal was made yet (or making the first file of all was cut short)."""
        files = self.files()
        if len(files) != 1 or files[0].first != 1:
            return not files
        doubted = self._doubted(files)
        return doubted is not None and doubted.header is None

    def holds_transitions(self) -> bool:
        """Tell whether there is any transition in the journal, beside headers and openings.

        Raises `CorruptionError` like `read`.
        """
        files = self.files()
        if not files:
            return False
        return any(_has_transitions(line) for line in self.lines(files[0].first - 1))

    def first_header(self) -> Header | None:
        """Return the header of the oldest file; None where there is no file or it is broken."""
        files = self.files()
        if not files:
            return None
        try:
            with self.opened(files[0]) as fd:
                parsed = parse_line(next(journal_lines(self._fs, fd, files[0].path), b""))
        except UnknownVersionError as error:
            raise FormatError(files[0].path, error.reason) from error
        except JournalGapError:
            raise
        except (InvalidLineError, CorruptionError):
            return None
        return parsed if isinstance(parsed, Header) else None

    def size_bytes(self) -> int:
        """Return the size of all journal files."""
        return sum(self.file_size(file) for file in self.files())

    def file_size(self, file: JournalFile) -> int:
        """Return the size of one journal file in bytes, as it is on disk."""
        with self.opened(file) as fd:
            return self._fs.size(fd)

    def read(self, after_seq: int, anchor_hash: str | None = None) -> Generator[Commit, None, None]:
        """Yield, in order, every commit that holds transitions after `after_seq`; see `lines`.

        Their messages are in plain; raises also what `LineOpener` raises.
        """
        for line in self.lines(after_seq, anchor_hash):
            plain = self._opener.plain(line)
            if isinstance(plain, Commit) and after_seq < plain.seq >= plain.first:
                yield plain

    def lines(self, after_seq: int, anchor_hash: str | None = None) -> Iterator[Header | Commit]:
        """Yield, in order, every line of the chain from the file that holds `after_seq` + 1 on.

        The lines are as they are in the files: without a key, encrypted ones can be checked, too.

        `anchor_hash` is the snapshot's `journal_hash`: some line at `after_seq` has that hash, or
        the header of the file that begins after it names it as `prev`. Without one (no snapshot)
        the journal is taken from `after_seq` on as it is. Reading begins at the newest file that
        holds the transition after `after_seq`; older files are not read.

        Stops at a torn tail; then, or at the end, `end` tells what was found. Raises
        `CorruptionError` for damage, `JournalGapError` where the journal does not continue the
        snapshot or a file vanishes, `FormatError` for a later version, and `StorageError` where a
        file cannot be read. What was yielded before is then not all.
        """
        return self._lines(after_seq, anchor_hash, None)

    def read_from(self, seq: int) -> Iterator[Commit]:
        """Yield, in order, every commit that holds transitions from `seq` on.

        As `read`, but what lies before in the same file is not read either, unless that file is
        compressed: it begins in a time that does not grow with the journal. Exhausted, it has set
        `end`, of which `durable` is at or before the one that a whole reading finds.
        """
        for line in self._lines(seq - 1, None, lambda before: before.seq < seq):
            if self._entered is not None:
                self._opener.begin(self._entered)
                self._entered = None
            plain = self._opener.plain(line)
            if isinstance(plain, Commit) and seq <= plain.seq >= plain.first:
                yield plain

    def seq_since(self, at: str) -> int:
        """Return the first seq of the first commit of the time `at` or later.

        It is the next one to come where there is none. The place is bisected, so where a clock was
        set back it may be another one of that time. Raises as `read`.
        """
        files = self.files()
        later = bisect_left(files, at, key=self._first_at)
        after_seq = files[max(0, later - 1)].first - 1 if files else 0
        with closing(self._lines(after_seq, None, lambda before: before.at < at)) as lines:
            for line in lines:
                if isinstance(line, Commit) and line.at >= at and line.seq >= line.first:
                    return line.first
        assert self.end is not None  # that was all
        return self.end.position.seq + 1

    def _first_at(self, file: JournalFile) -> str:
        """The time of the first commit in a file; of a file without one, after all others."""
        with self.opened(file) as fd:
            lines = journal_lines(self._fs, fd, file.path)
            next(lines, b"")
            try:
                commit = parse_line(next(lines, b""))
            except InvalidLineError:
                return "~"
        return commit.at if isinstance(commit, Commit) else "~"

    def _lines(
        self, after_seq: int, anchor_hash: str | None, is_before: IsBefore | None
    ) -> Generator[Header | Commit, None, None]:
        """As `lines`; where `is_before` is given, from a line before that place on."""
        self.end, self._scan, self._entered = None, None, None
        files = self.files()
        doubted = self._doubted(files) if files else None
        if doubted is not None:
            files.pop()
            if not files:
                self.end = self._end_of_nothing(doubted, after_seq, anchor_hash)
                return
        start = sum(file.first <= after_seq + 1 for file in files) - 1
        if start < 0:
            raise JournalGapError(self._directory, 0, f"no file holds seq {after_seq + 1}")
        self._scan = scan = Scan(self._fs, after_seq, anchor_hash)
        for file in files[start:]:
            with self.opened(file) as fd:
                offset = self._place(fd, file, is_before) if file is files[start] else 0
                yield from scan.follow(fd, file, newest=file is files[-1], offset=offset)
        if not scan.anchored:
            raise no_continuation(files[start].path, after_seq)
        if files[-1].is_compressed and doubted is None:
            assert scan.position is not None
            reason = "it is compressed, so there was a file after it, which is missing"
            raise CorruptionError(files[-1].path, scan.position.offset, reason)
        self.end = _end(files, scan, doubted)

    def _place(self, fd: int, file: JournalFile, is_before: IsBefore | None) -> int:
        """The offset to begin at: of a line that is valid by itself, or 0."""
        if is_before is None or file.is_compressed:
            return 0
        offset = line_before(self._fs, fd, is_before)
        try:
            parse_line(next(journal_lines(self._fs, fd, file.path, offset), b""))
            header = parse_line(next(journal_lines(self._fs, fd, file.path), b""))
        except InvalidLineError:
            return 0  # where all of what is before it tells what it is: torn, or damaged
        if offset == 0 or not isinstance(header, Header):
            return 0
        self._entered = header
        return offset

    def read_to_end(self, after_seq: int, anchor_hash: str | None = None) -> None:
        """Read for the sake of `end` alone."""
        deque(self.lines(after_seq, anchor_hash), maxlen=0)

    def _doubted(self, files: list[JournalFile]) -> _Doubted | None:
        """Return the newest file if it holds only its header and may not be part of the chain."""
        if files[-1].is_compressed:
            return None
        with self.opened(files[-1]) as fd:
            start = self._fs.read(fd, HEADER_BYTES_MAX + 1, 0)
        if not is_bare(start):
            return None
        try:
            header = parse_line(start)
        except UnknownVersionError:
            return None
        except InvalidLineError:
            return _Doubted(files[-1], None, len(start))
        if not isinstance(header, Header) or len(files) == 1:
            return None
        # A predecessor whose last line is the one that the header goes on from was not outrun, nor
        # was one that is compressed.
        if files[-2].is_compressed or self._last_hash(files[-2]) == header.prev:
            return None
        return _Doubted(files[-1], header, len(start))

    def _last_hash(self, file: JournalFile) -> str | None:
        with self.opened(file) as fd:
            size = self._fs.size(fd)
            return stated_hash(self._fs.read(fd, HASH_TAIL_BYTES, max(0, size - HASH_TAIL_BYTES)))

    def _end_of_nothing(
        self, doubted: _Doubted, after_seq: int, anchor_hash: str | None
    ) -> JournalEnd:
        """Judge a journal whose only file has a broken header."""
        if doubted.file.first != after_seq + 1:
            raise no_continuation(doubted.file.path, after_seq)
        position = Position(after_seq, 0, anchor_hash or ZERO_HASH, 0)
        tail = Torn(0, doubted.size) if doubted.size else None
        return JournalEnd(
            (doubted.file,), None, position, position, tail, header_broken=True, leftover=None
        )

    @contextmanager
    def opened(self, file: JournalFile) -> Iterator[int]:
        """Open a journal file for reading; errors in the block are told as `lines` tells them."""
        try:
            fd = self._fs.open_read(file.path)
            try:
                yield fd
            finally:
                self._fs.close(fd)
        except FileNotFoundError as error:
            raise JournalGapError(file.path, 0, "it vanished while it was read") from error
        except OSError as error:
            raise storage_error(file.path, error) from error


def _has_transitions(line: Header | Commit) -> bool:
    return isinstance(line, Commit) and line.seq >= line.first


def _end(files: list[JournalFile], scan: Scan, doubted: _Doubted | None) -> JournalEnd:
    """Sum up a pass, and judge a doubted file by where its predecessor ended."""
    assert scan.position is not None
    assert scan.durable is not None
    end = JournalEnd(
        tuple(files),
        scan.header,
        scan.position,
        scan.durable,
        scan.tail,
        header_broken=False,
        leftover=None,
    )
    if doubted is None:
        return end
    last_before = doubted.file.first - 1
    if scan.position.seq < last_before:
        raise CorruptionError(
            files[-1].path,
            scan.position.offset,
            f"it ends at seq {scan.position.seq}, and the next file goes on after {last_before}",
        )
    if scan.position.seq == last_before:
        if doubted.header is not None and doubted.header.prev != scan.position.hash:
            reason = "its prev is not the hash of the last line of the file before"
            raise CorruptionError(doubted.file.path, 0, reason)
        if scan.tail is None:
            position = msgspec.structs.replace(scan.position, offset=0)
            return msgspec.structs.replace(
                end,
                files=(*files, doubted.file),
                position=position,
                durable=position,
                tail=Torn(0, doubted.size) if doubted.size else None,
                header_broken=True,
            )
    return msgspec.structs.replace(end, leftover=doubted.file)
