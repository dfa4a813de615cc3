"""Following the journal as it grows, in the process that owns the store.

Only what is known to be durable is given. Checkpoints begin new files, compress older ones and take
the oldest away; reading goes on across all of that.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from penin.errors import CorruptionError, JournalGapError, NotKeptError
from penin.runtime.ledger import READ_TRIES_MAX, first_kept, journal_of
from penin.storage.commits import Commit
from penin.storage.filesystem import FileSystem
from penin.storage.reader import JournalReader


class JournalFollower:
    """A place in the journal of a store: `next_seq` is the first one that was not read yet.

    It reads files: not for an event loop's thread.
    """

    def __init__(self, fs: FileSystem, directory: Path, from_seq: int) -> None:
        self.next_seq = from_seq
        self._directory = directory
        self._reader = JournalReader(fs, journal_of(directory))

    def check(self) -> None:
        """Raise NotKeptError where the journal begins after the place."""
        first = first_kept(self._reader, self._directory)
        if self.next_seq < first:
            self._reader.read_to_end(self._reader.files()[-1].first - 1)
            assert self._reader.end is not None
            reason = f"{self.next_seq} is before what the journal holds"
            raise NotKeptError("from_seq", reason, first, self._reader.end.position.seq)

    def commits(self, upto_seq: int) -> Iterator[Commit]:
        """The commits from the place on, up to the one that holds `upto_seq`, which is durable.

        Raises NotKeptError where a checkpoint has taken the place away, CorruptionError for
        damage, and another StorageError where a file cannot be read.
        """
        tries = READ_TRIES_MAX
        while self.next_seq <= upto_seq:
            before = self.next_seq
            self.check()
            try:
                for commit in self._reader.read_from(self.next_seq):
                    self.next_seq = commit.seq + 1
                    yield commit
                    if commit.seq >= upto_seq:
                        return
            except JournalGapError as error:  # it was taken away while it was read
                gap: CorruptionError = error
            else:
                reason = f"seq {self.next_seq} is durable, and is not there"
                gap = CorruptionError(self._directory, 0, reason)
            tries = READ_TRIES_MAX if self.next_seq > before else tries - 1
            if tries == 0:
                raise gap
