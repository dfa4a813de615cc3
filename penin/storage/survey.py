"""Reading all of the journal past what is damaged: what is whole, and what is not and where.

The judge of what is damaged is `JournalReader`, which stops there. Behind the damage reading goes
on at the next line that is valid by itself and does not go back, and trusts it: what is found so is
for a report, and never for a state.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from penin.errors import CorruptionError, FormatError, JournalGapError
from penin.storage.commits import (
    ZERO_HASH,
    Commit,
    Header,
    InvalidLineError,
    Position,
    UnknownVersionError,
    parse_line,
)
from penin.storage.filesystem import FileSystem, read_all
from penin.storage.journal_names import JournalFile
from penin.storage.lines import journal_lines
from penin.storage.reader import JournalReader
from penin.storage.tail import Torn, classify, is_bare

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Damage(msgspec.Struct, frozen=True):
    """A place in the journal where the chain is broken.

    `size_bytes` are not readable there; none where a line is missing or was written anew. The
    transitions `first_seq` to `last_seq` are missing: none where the one is beyond the other, and
    an unknown number where `last_seq` is None. `after_at` and `before_at` are the times of the
    commits around it, where they are known.
    """

    path: Path
    position: int
    size_bytes: int
    reason: str
    first_seq: int
    last_seq: int | None
    after_at: str | None
    before_at: str | None


class Survey:
    """One pass over the whole journal; iterate once. Takes no lock and touches nothing.

    Yields every line that is valid in its place, and `Damage` where the chain is broken, before
    the line that comes behind it. A torn tail is none, nor is a file that was begun in vain.
    Raises `JournalGapError` where a checkpoint took a file away meanwhile (begin anew),
    `FormatError` for a later version, and `StorageError` where a file cannot be read.
    """

    def __init__(self, fs: FileSystem, directory: Path) -> None:
        self._fs = fs
        self._reader = JournalReader(fs, directory)
        self._position = Position(0, 0, ZERO_HASH, 0)
        self._at: str | None = None
        self._pending: list[Damage] = []
        self._older_bytes = 0
        self._broken: CorruptionError | None = None
        self.size_bytes = self._reader.size_bytes()
        self.tail: Torn | None = None

    @property
    def files(self) -> list[JournalFile]:
        """The journal files as they are now, oldest first."""
        return self._reader.files()

    @property
    def done_bytes(self) -> int:
        """How much of `size_bytes` was read; what was compressed counts as it is expanded."""
        return min(self.size_bytes, self._older_bytes + self._position.offset)

    @property
    def position(self) -> Position:
        """The end of the last good line."""
        return self._position

    def __iter__(self) -> Iterator[Header | Commit | Damage]:
        files = self.files
        if not files:
            return
        self._position = Position(files[0].first - 1, 0, ZERO_HASH, 0)
        try:
            for line in self._reader.lines(files[0].first - 1):
                assert self._reader.position is not None
                self._note(line, self._reader.position)
                yield line
        except JournalGapError:
            raise
        except CorruptionError as error:
            yield from self._past(error)
        else:
            assert self._reader.end is not None
            self.tail = self._reader.end.tail

    def _note(self, line: Header | Commit, position: Position) -> None:
        if isinstance(line, Header):
            self._older_bytes += self._position.offset
        else:
            self._at = line.at
        self._position = position

    def _past(self, error: CorruptionError) -> Iterator[Header | Commit | Damage]:
        """Yield the damage that the reader stopped at, and what comes behind it."""
        reason = error.reason.partition(": ")[2]
        offset = error.position
        files = [file for file in self.files if file.path.name >= error.path.name]
        for file in files:
            with self._reader.opened(file) as fd:
                newest = file is files[-1]
                yield from self._past_in(fd, file, offset, reason, newest=newest)
            offset, reason = 0, ""
        yield from self._settled(None, None)

    def _past_in(
        self, fd: int, file: JournalFile, offset: int, reason: str, *, newest: bool
    ) -> Iterator[Header | Commit | Damage]:
        """Go on at `offset`, in a damaged region if there is a `reason`."""
        begun = offset
        for line in self._lines(fd, file, offset):
            parsed, why = self._judge(line, file, offset)
            if why and not reason:
                if newest and self._is_no_damage(fd, offset, parsed):
                    return
                begun, reason = offset, why
            if parsed is not None:
                # A good line whose place is not known right behind damage is explained by that.
                if reason and not (self._pending and begun == offset):
                    self._damaged(file, begun, offset, reason)
                reason = ""
                yield from self._settled(parsed.first - 1, getattr(parsed, "at", None))
                before = Position(parsed.first - 1, parsed.epoch, parsed.prev, offset)
                self._note(parsed, before.after(line, parsed))
                yield parsed
            offset += len(line)
        if self._broken is not None and not reason:
            begun, reason = offset, self._broken.reason
        if reason:
            self._damaged(file, begun, offset, reason)

    def _lines(self, fd: int, file: JournalFile, offset: int) -> Iterator[bytes]:
        """Yield the lines from `offset` on; of a compressed file only as far as that goes."""
        self._broken = None
        try:
            yield from journal_lines(self._fs, fd, file.path, offset)
        except CorruptionError as error:
            self._broken = error

    def _judge(
        self, line: bytes, file: JournalFile, offset: int
    ) -> tuple[Header | Commit | None, str]:
        """Return the line if it can be gone on from, and what is wrong with it in its place."""
        try:
            parsed = parse_line(line)
        except UnknownVersionError as error:
            raise FormatError(file.path, error.reason) from error
        except InvalidLineError as error:
            return None, error.reason
        try:
            msgspec.structs.replace(self._position, offset=offset).after(line, parsed)
        except InvalidLineError as error:
            goes_on = parsed.first > self._position.seq
            at_its_place = isinstance(parsed, Header) == (offset == 0)
            return (parsed if goes_on and at_its_place else None), error.reason
        return parsed, ""

    def _is_no_damage(self, fd: int, offset: int, parsed: Header | Commit | None) -> bool:
        """Tell whether what comes in the newest file is a torn tail, or was begun in vain."""
        region = read_all(self._fs, fd, offset)
        if offset == 0:
            return parsed is None and is_bare(region)
        verdict = classify(region, offset, self._position)
        self.tail = verdict if isinstance(verdict, Torn) else None
        return self.tail is not None

    def _damaged(self, file: JournalFile, begin: int, end: int, reason: str) -> None:
        first_seq = self._position.seq + 1
        damage = Damage(file.path, begin, end - begin, reason, first_seq, None, self._at, None)
        self._pending.append(damage)

    def _settled(self, last_seq: int | None, at: str | None) -> Iterator[Damage]:
        """Yield what was damaged before a line, now that it is known what that goes on after."""
        for damage in self._pending:
            yield msgspec.structs.replace(damage, last_seq=last_seq, before_at=at)
        self._pending.clear()
