"""One journal file by itself: what it says, and how far it can be read.

The chain is followed through this one file as `penin.storage.reader` does, from the line before
its header on, which is taken as it is stated. Whether the files before and after it continue each
other is not looked at, but for one thing: only a file that no later one follows may end in a torn
tail.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from penin.errors import CorruptionError, FormatError
from penin.storage.commits import (
    HEADER_BYTES_MAX,
    Commit,
    Header,
    InvalidLineError,
    UnknownVersionError,
    parse_line,
)
from penin.storage.filesystem import FileSystem, storage_error
from penin.storage.journal_encryption import LineOpener
from penin.storage.journal_names import JournalFile, journal_file
from penin.storage.lines import journal_lines
from penin.storage.reader import JournalReader
from penin.storage.scan import Scan
from penin.storage.tail import Torn, is_bare


class JournalFileScan(Scan):
    """One pass through one journal file: `commits`, then what the other attributes say.

    Making it raises CorruptionError or FormatError where the file has not the name of a journal
    file and no header that is right, and StorageError where it cannot be read.

    `header` is None where it is broken, `position` the end of the last good line, None where there
    is none. `openings` is the number of commits that open an epoch, `first_at` and `last_at` are
    the times of the first and the last commit, these among them. `tail` and `damage` tell what
    stands behind the last good line, if anything does: one of them at most.
    """

    def __init__(self, fs: FileSystem, path: Path) -> None:
        self._file = journal_file(path) or JournalFile(_first_in_header(fs, path), path)
        super().__init__(fs, self._file.first - 1, None)
        self._opener = LineOpener(fs, path.parent)
        self._line_begin = self._line_end = 0
        self.size_bytes = 0
        self.openings = 0
        self.synced = 0
        self.first_at: str | None = None
        self.last_at: str | None = None
        self.damage: CorruptionError | None = None

    @property
    def first_seq(self) -> int:
        """The seq that the file begins with."""
        return self._file.first

    def commits(self) -> Iterator[tuple[int, Commit]]:
        """Each commit with transitions, in plain, and the byte at which its line begins.

        Raises FormatError for a later version, KeyRequiredError where it is encrypted and there is
        no key, and StorageError where the file cannot be read; damage is not raised, and ends it.
        """
        path, newest = self._file.path, not self._is_followed()
        try:
            fd = self._fs.open_read(path)
            try:
                for line in self.follow(fd, self._file, newest=newest):
                    self._note(line)
                    plain = self._opener.plain(line)
                    if isinstance(plain, Commit) and plain.seq >= plain.first:
                        yield self._line_begin, plain
            except CorruptionError as error:
                self._set_aside(fd, error)
            finally:
                self.size_bytes = self._fs.size(fd)
                self._fs.close(fd)
        except OSError as error:
            raise storage_error(path, error) from error

    def _note(self, line: Header | Commit) -> None:
        assert self.position is not None  # the end of this line
        self._line_begin, self._line_end = self._line_end, self.position.offset
        if isinstance(line, Commit):
            self.openings += line.seq < line.first
            self.synced = line.synced
            self.first_at = self.first_at or line.at
            self.last_at = line.at

    def _set_aside(self, fd: int, error: CorruptionError) -> None:
        start = self._fs.read(fd, HEADER_BYTES_MAX + 1, 0)
        is_plain = not self._file.is_compressed
        if self.header is None and is_plain and is_bare(start) and not self._is_followed():
            self.tail = Torn(0, len(start))  # it was being made, and the next opening makes it anew
        else:
            self.damage = error

    def _is_followed(self) -> bool:
        """Whether a later file lies beside it, and this is one of the journal itself."""
        path = self._file.path
        if journal_file(path) is None:
            return False
        files = JournalReader(self._fs, path.parent).files()
        return any(other.first > self._file.first for other in files)


def _first_in_header(fs: FileSystem, path: Path) -> int:
    """The seq that a file begins with, whatever its name."""
    try:
        fd = fs.open_read(path)
        try:
            header = parse_line(next(journal_lines(fs, fd, path), b""))
        finally:
            fs.close(fd)
    except OSError as error:
        raise storage_error(path, error) from error
    except UnknownVersionError as error:
        raise FormatError(path, error.reason) from error
    except InvalidLineError as error:
        raise CorruptionError(path, 0, f"its header: {error.reason}") from error
    if not isinstance(header, Header):
        raise FormatError(path, "it begins without the header of a journal")
    return header.first
