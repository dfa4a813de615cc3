"""The newest transitions of a journal, and those that come after them, while somebody writes it.

Rules:

1. It takes no lock and changes nothing. Nothing is remembered of a file but how large it was: each
   look finds its place by seq, so rotation, compression and other writers do not matter.
2. It is at a seq. Every transition from there on is given once and in order, or said to be missed
   where a checkpoint took it away before it was read.
3. A look begins in a time that does not grow with the journal, unless an older file that it has to
   read is compressed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from penin.errors import JournalGapError, StorageError
from penin.runtime.ledger import (
    READ_TRIES_MAX,
    Entry,
    Selection,
    entries_of,
    first_kept,
    fits,
    journal_of,
    read_entries,
    undisturbed,
)
from penin.storage.commits import Commit
from penin.storage.filesystem import FileSystem, OsFileSystem
from penin.storage.reader import JournalReader

_BEYOND: Final = 10**19
"""A seq after all others."""


class Missed(msgspec.Struct, frozen=True):
    """Transitions that were not read before a checkpoint took them away."""

    first_seq: int
    last_seq: int


class Tail:
    """The transitions of a store that fit the type, the key and the source of `wanted`.

    `seq` is the next one that is looked at, at first that of the first one that is kept. All
    methods raise FileNotFoundError where there is no journal, CorruptionError, FormatError, or
    another StorageError.
    """

    def __init__(self, directory: Path, wanted: Selection, fs: FileSystem | None = None) -> None:
        self._fs = OsFileSystem() if fs is None else fs
        self._directory = directory
        self._wanted = wanted
        self._reader = JournalReader(self._fs, journal_of(directory))
        self._last: Commit | None = None
        self._seen: object = None
        self.seq = self._first_kept()

    def begin_at(self, place: int | str) -> None:
        """Go to a seq, or to the first commit of a time or later (in the form of commits).

        A time is looked for by bisecting, as if no clock had been set back.
        """
        if isinstance(place, str):
            self.seq = undisturbed(lambda: self._reader.seq_since(place))
        else:
            self.seq = place

    def newest(self, count: int) -> list[Entry]:
        """The last `count` from `seq` on that fit; then `seq` is behind all that there is.

        To be called before `read`, if at all.
        """
        return undisturbed(lambda: self._newest(count))

    def _newest(self, count: int) -> list[Entry]:
        end = self._next_seq()
        first = max(self.seq, self._first_kept())
        begin, size, found = end, count, list[Entry]()
        while len(found) < count and begin > first:
            last, begin = begin - 1, max(first, begin - size)
            window = msgspec.structs.replace(self._wanted, from_seq=begin, to_seq=last)
            fitting = read_entries(self._directory, window, self._fs)
            found = [*deque(fitting, maxlen=count - len(found)), *found]
            size *= 4  # few fit: what was read is not read again, and a look is not repeated often
        self.seq = max(end, self.seq)
        return found

    def _first_kept(self) -> int:
        return first_kept(self._reader, self._directory)

    def _next_seq(self) -> int:
        """The seq that the next transition will have."""
        for _ in self._reader.read_from(_BEYOND):
            raise AssertionError  # no transition has this seq
        assert self._reader.end is not None
        return self._reader.end.position.seq + 1

    def read(self) -> Iterator[Entry | Missed]:
        """What there is now from `seq` on, which goes along with it.

        Raises StorageError, too, where what was read last is not there any more: another store
        lies in the place of this one.
        """
        tries = READ_TRIES_MAX
        while True:
            kept = self._first_kept()
            if self.seq < kept:
                missed = Missed(self.seq, kept - 1)
                self.seq, self._last = kept, None
                yield missed
            begun_seq = self.seq
            try:
                yield from self._read_once(kept)
            except JournalGapError:
                tries = READ_TRIES_MAX if self.seq > begun_seq else tries - 1
                if tries == 0:
                    raise
            else:
                return

    def _read_once(self, kept: int) -> Iterator[Entry]:
        # From the transition before on: it must still be the one that was read.
        commits = self._reader.read_from(max(kept, self.seq - 1))
        for commit in commits:
            if self._last is not None and commit.first <= self._last.seq:
                self._check_same(commit)
            for entry in entries_of(commit, journal_of(self._directory)):
                if entry.seq >= self.seq:
                    self.seq = entry.seq + 1
                    if fits(entry, self._wanted):
                        yield entry
            self._last = commit
        end = self._reader.end
        assert end is not None
        if self._last is not None and end.position.seq < self._last.seq:
            raise self._replaced()

    def _check_same(self, commit: Commit) -> None:
        assert self._last is not None
        if commit.hash != self._last.hash:
            raise self._replaced()

    def _replaced(self) -> StorageError:
        assert self._last is not None
        reason = f"seq {self._last.seq} was read and is not there any more: this is another store"
        return StorageError(self._directory, reason)

    def has_changed(self) -> bool:
        """Tell, by names and sizes alone, whether there may be more than at the last call."""
        seen = self._seen
        try:
            files = self._reader.files()
            self._seen = files, self._reader.file_size(files[-1]) if files else 0
        except JournalGapError:
            self._seen = None  # it went between these two lines
            return True
        return seen != self._seen
