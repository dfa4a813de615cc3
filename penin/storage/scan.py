"""One pass along the chain of the journal: each line is checked against the one before it.

The rules are those of `penin.storage.reader`, which says where a pass begins and through which
files it goes.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import msgspec

from penin.errors import CorruptionError, FormatError, JournalGapError
from penin.storage.commits import (
    LINE_BYTES_MAX,
    ZERO_HASH,
    Commit,
    Header,
    InvalidLineError,
    Position,
    UnknownVersionError,
    is_anchor,
    parse_line,
)
from penin.storage.filesystem import FileSystem, read_all
from penin.storage.journal_names import JournalFile
from penin.storage.lines import journal_lines
from penin.storage.tail import Corrupt, Torn, classify

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Scan:
    """The state of one pass along the chain."""

    def __init__(self, fs: FileSystem, after_seq: int, anchor_hash: str | None) -> None:
        self._fs = fs
        self._after_seq = after_seq
        self._anchor_hash = anchor_hash
        self._unsynced: deque[Position] = deque()
        self.anchored = anchor_hash is None
        self.header: Header | None = None
        self.position: Position | None = None
        self.durable: Position | None = None
        self.tail: Torn | None = None

    def follow(
        self, fd: int, file: JournalFile, *, newest: bool, offset: int = 0
    ) -> Iterator[Header | Commit]:
        """Yield the lines of the next file of the chain; of the first one from `offset` on."""
        while True:
            line, reason = b"", "it is empty"
            for line in journal_lines(self._fs, fd, file.path, offset):
                try:
                    parsed = self._accept(line, file, offset)
                except UnknownVersionError as error:
                    raise FormatError(file.path, error.reason) from error
                except InvalidLineError as error:
                    reason = error.reason
                    break
                offset += len(line)
                yield parsed
            else:
                if offset > 0:
                    return
            if file.is_compressed:
                raise CorruptionError(file.path, offset, reason)
            region = read_all(self._fs, fd, offset)
            first_line = region[: region.find(b"\n") + 1] or region
            if first_line[: LINE_BYTES_MAX + 1] == line:
                break
            # A writer at work has changed it in between: look again.
        self._judge(region, file, offset, reason, newest=newest)

    def _accept(self, line: bytes, file: JournalFile, offset: int) -> Header | Commit:
        """Take the next line."""
        parsed = parse_line(line)
        if self.position is None:
            before_seq = (parsed.first if offset else file.first) - 1
            before = self.durable = Position(before_seq, 0, parsed.prev, offset)
        elif offset == 0:
            before = msgspec.structs.replace(self.position, offset=0)
        else:
            before = self.position
        position = before.after(line, parsed)
        if isinstance(parsed, Header):
            self._check_header(parsed, file)
            self.header = parsed
            self.durable = before
            self._unsynced.clear()
        else:
            while self._unsynced and self._unsynced[0].seq <= parsed.synced:
                self.durable = self._unsynced.popleft()
        self._unsynced.append(position)
        self.position = position
        self._check_anchor(parsed, file)
        return parsed

    def _check_header(self, header: Header, file: JournalFile) -> None:
        if header.first != file.first:
            raise InvalidLineError(f"its first seq is {header.first}, its name says {file.first}")
        if self.header is not None and header.store != self.header.store:
            raise InvalidLineError("it belongs to another store")
        if self._anchor_hash is None and header.first == 1:
            fork = header.forked_from
            if header.prev != (ZERO_HASH if fork is None else fork.hash):
                raise InvalidLineError("it is the first of all, and its prev is not that of one")

    def _check_anchor(self, parsed: Header | Commit, file: JournalFile) -> None:
        """Look for the anchor; JournalGapError where a transition comes before it."""
        if not self.anchored:
            if is_anchor(parsed, self._after_seq, self._anchor_hash or ""):
                self.anchored = True
            elif isinstance(parsed, Commit) and parsed.seq > self._after_seq:
                raise no_continuation(file.path, self._after_seq)

    def _judge(
        self, region: bytes, file: JournalFile, offset: int, reason: str, *, newest: bool
    ) -> None:
        """Take the damaged region as a torn tail, or raise CorruptionError."""
        if not newest or offset == 0 or self.position is None:
            raise CorruptionError(file.path, offset, reason)
        verdict = classify(region, offset, self.position)
        if isinstance(verdict, Corrupt):
            raise CorruptionError(file.path, verdict.position, f"{verdict.reason} ({reason})")
        self.tail = verdict


def no_continuation(path: Path, after_seq: int) -> JournalGapError:
    """The error of a journal that does not begin where a snapshot ends."""
    return JournalGapError(path, 0, f"no journal file continues the snapshot at seq {after_seq}")
