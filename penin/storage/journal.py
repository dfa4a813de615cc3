"""The journal on files; the port is `Journal` in `penin.storage.ports`.

Rules of `FileJournal`, beside those of `penin.storage.append_file`, which it stops with:

1. One append is one write, and with `fsync="always"` one sync. It returns when the condition of
   the acknowledgement holds: synced (`always`), or in the kernel (`everysec`).
2. A new file is begun only when the one before it is synced whole. Nothing goes into it before its
   header and its name are durable. If it cannot be made, the one before goes on.
3. Files that a snapshot has covered may be compressed, from another thread: the newest one, which
   all else is about, never is.
4. Opening repairs before it takes anything (`penin.storage.repair`), and what was read is durable
   before the next epoch is claimed.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Final, Literal

from penin.errors import CorruptionError, RotationError, StorageError, StorageFullError
from penin.storage.append_file import AppendFile
from penin.storage.commits import (
    ZERO_HASH,
    Commit,
    ForkedFrom,
    Header,
    Position,
    Seal,
    encode_commit,
    encode_header,
    parse_line,
)
from penin.storage.compression import SUFFIX_OF
from penin.storage.filesystem import FileSystem, storage_error, write_all
from penin.storage.journal_compression import compress_file, remove_temporaries
from penin.storage.journal_encryption import LineCipher
from penin.storage.journal_names import JournalFile, journal_path
from penin.storage.ports import Journal
from penin.storage.reader import JournalEnd, JournalReader
from penin.storage.repair import Repairs, repair
from penin.storage.timings import Timings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from penin.settings import Compression
    from penin.storage.tail import Torn

__all__ = ["SYNC_INTERVAL_S", "FileJournal", "Fsync", "Journal"]

Fsync = Literal["always", "everysec"]

# With `everysec`, an append finds nothing unsynced that is older than this, or syncs first.
SYNC_INTERVAL_S: Final = 1.0


class FileJournal:
    """The journal in the files of one directory (absolute, without symlinks in it)."""

    def __init__(
        self,
        fs: FileSystem,
        directory: Path,
        *,
        fsync: Fsync,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fs = fs
        self._directory = directory
        self._fsync = fsync
        self._clock = clock
        self._reader = JournalReader(fs, directory)
        self._older: list[tuple[JournalFile, int]] = []  # with their sizes in bytes
        self._newest: JournalFile | None = None
        self._file: AppendFile | None = None
        self._header: Header | None = None
        self._position: Position | None = None
        self._durable_seq = 0
        self._unsynced_since = 0.0  # by the clock; counts only while something is unsynced
        self._leftover: Path | None = None  # a file begun in vain that could not be removed
        self._repairs = Repairs()
        self._syncs = Timings()
        self._seal: Seal | None = None  # of the lines of the newest file, where it is encrypted

    # -- what it is -----------------------------------------------------------------------------

    @property
    def store(self) -> str:
        return self._any_header.store

    @property
    def forked_from(self) -> ForkedFrom | None:
        return self._any_header.forked_from

    @property
    def _any_header(self) -> Header:
        header = self._header if self._header is not None else self._read_end.header
        if header is None:
            # Its sole file is empty, beside a snapshot: a header was durable before any of those.
            path = self._read_end.files[0].path
            raise CorruptionError(path, 0, "no header, and nothing tells whose journal it is")
        return header

    @property
    def epoch(self) -> int:
        return self._end.epoch

    @property
    def first_seq(self) -> int:
        if self._newest is None:
            return self._read_end.files[0].first
        return self._older[0][0].first if self._older else self._newest.first

    @property
    def last_seq(self) -> int:
        return self._end.seq

    @property
    def durable_seq(self) -> int:
        return self._durable_seq

    @property
    def head_hash(self) -> str:
        return self._end.hash

    @property
    def tail(self) -> Torn | None:
        return None if self._reader.end is None else self._reader.end.tail

    @property
    def repairs(self) -> Repairs:
        return self._repairs

    @property
    def syncs(self) -> Timings:
        return self._syncs

    # -- reading and opening --------------------------------------------------------------------

    def size_bytes(self, after_seq: int = 0) -> int:
        # Asked from other threads, too: of a copy, and the newest file counts whatever is in it.
        older, newest = list(self._older), self._newest
        nexts = [file.first for file, _ in older[1:]] + ([newest.first] if newest else [])
        pairs = zip(older, nexts, strict=False)
        sizes = (size for (_, size), first in pairs if first > after_seq + 1)
        return sum(sizes) + self._end.offset

    def is_empty(self) -> bool:
        return self._reader.is_empty()

    def holds_transitions(self) -> bool:
        return self._reader.holds_transitions()

    def read(self, after_seq: int, anchor_hash: str | None = None) -> Iterator[Commit]:
        return self._reader.read(after_seq, anchor_hash)

    def create(self, store: str, *, seq: int, forked_from: ForkedFrom | None) -> None:
        if self.holds_transitions():
            raise StorageError(self._directory, "the journal holds transitions; it is not replaced")
        file = JournalFile(seq + 1, journal_path(self._directory, seq + 1))
        prev = ZERO_HASH if forked_from is None else forked_from.hash
        # Epoch 0: it was never opened. The first opening claims epoch 1.
        line, _ = encode_header(
            store=store,
            epoch=0,
            first=file.first,
            forked_from=forked_from,
            prev=prev,
            key=self._key(),
        )
        try:
            self._fs.make_directory(self._directory)
            for old in self._reader.files():
                self._fs.unlink(old.path)
            self._fs.sync_directory(self._directory)
            self._begin(file, line).close()
        except OSError as error:
            raise storage_error(file.path, error) from error
        self._reader.read_to_end(seq)

    def open(self, at: str, *, epoch_seen: int = 0, store: str | None = None) -> None:
        """Repair what `read` found, make all of it durable, and claim the next epoch.

        Comes after `create`, or after `read` was exhausted. `store` is needed only where the sole
        file has no valid header any more. Raises `StorageError` (`StorageFullError` where there is
        no room, `CorruptionError`, `JournalFailedError`): nothing that was read is lost, and the
        way on is to begin anew with another `FileJournal`.
        """
        end = self._read_end
        assert self._file is None, "open already"
        self._newest = end.files[-1]
        epoch = max(end.position.epoch, epoch_seen)
        try:
            self._older = [(file, self._reader.file_size(file)) for file in end.files[:-1]]
            remove_temporaries(self._fs, self._directory)
            repaired = repair(self._fs, end, epoch=epoch, store=store, key=self._key())
        except OSError as error:
            raise storage_error(self._newest.path, error) from error
        self._header, self._position = repaired.header, repaired.position
        self._seal = self._seal_of(repaired.header, self._newest.path)
        self._repairs = repaired.repairs
        self._durable_seq = self.last_seq
        self._file = AppendFile(self._fs, self._newest.path, repaired.fd, self._end.offset)
        try:
            self._append(self.last_seq + 1, self.last_seq, epoch + 1, at, ())
            self.sync()
        except BaseException:
            self._file.close()
            raise

    # -- writing --------------------------------------------------------------------------------

    def append(self, first: int, seq: int, at: str, messages: Sequence[bytes]) -> None:
        self._open_file.check()
        if not self.last_seq + 1 == first <= seq:
            raise ValueError(f"transitions {first} to {seq} do not follow {self.last_seq}")
        due_s = self.sync_due_s()
        if due_s is not None and due_s <= 0:
            self.sync()
        self._append(first, seq, self.epoch, at, messages)
        if self._fsync == "always":
            self.sync()

    def sync(self) -> None:
        is_needed, begun_s = self._open_file.unsynced, self._clock()
        self._open_file.sync()
        if is_needed:
            self._syncs.observe(self._clock() - begun_s)
        self._durable_seq = self.last_seq

    def sync_due_s(self) -> float | None:
        if not self._open_file.unsynced:
            return None
        return max(0.0, self._unsynced_since + SYNC_INTERVAL_S - self._clock())

    def rotate(self) -> None:
        self.sync()
        header, newest = self._header, self._newest
        assert header is not None
        assert newest is not None
        first = self.last_seq + 1
        if newest.first == first:
            return
        file = JournalFile(first, journal_path(self._directory, first))
        line, _ = encode_header(
            store=header.store,
            epoch=self.epoch,
            first=first,
            forked_from=header.forked_from,
            prev=self.head_hash,
            key=self._key(),
        )
        parsed = parse_line(line)
        assert isinstance(parsed, Header)
        seal = self._seal_of(parsed, file.path)
        try:
            self._remove_leftover()
            begun = self._begin(file, line)
        except OSError as error:
            reason = f"it could not be made, the file before goes on: {error.strerror or error}"
            raise RotationError(file.path, reason) from error
        self._open_file.close()
        self._older.append((newest, self._end.offset))
        self._newest, self._file, self._seal = file, begun, seal
        start = Position(self.last_seq, self.epoch, self.head_hash, 0)
        self._position = start.after(line, parsed)

    def trim(self, upto_seq: int) -> None:
        """Delete, oldest first, the files that lie wholly at or before `upto_seq`; durably.

        The newest file is never deleted. Raises `StorageError`; what was deleted until then stays
        deleted. Raises `JournalFailedError` and deletes nothing if the journal has failed.
        """
        self._open_file.check()
        assert self._newest is not None
        nexts = [file.first for file, _ in self._older[1:]] + [self._newest.first]
        retired = sum(first <= upto_seq + 1 for first in nexts) if self._older else 0
        try:
            for _ in range(retired):
                plain = journal_path(self._directory, self._older[0][0].first)
                for suffix in ("", *SUFFIX_OF.values()):  # a crash may have left two of them
                    with contextlib.suppress(FileNotFoundError):
                        self._fs.unlink(plain.with_name(plain.name + suffix))
                del self._older[0]
            if retired:
                self._fs.sync_directory(self._directory)
        except OSError as error:
            raise storage_error(self._directory, error) from error

    def compress(
        self,
        upto_seq: int,
        compression: Compression,
        level: int | None,
        abandoned: Callable[[], None],
    ) -> None:
        assert self._newest is not None
        if self._seal is not None:
            return  # what is encrypted does not become smaller

        def check() -> None:
            self._open_file.check()  # raises where the journal has failed: nothing is removed then
            abandoned()

        check()
        nexts = [file.first for file, _ in self._older[1:]] + [self._newest.first]
        for index, (file, _) in enumerate(self._older):
            if nexts[index] <= upto_seq + 1 and not file.is_compressed:
                path, size = compress_file(self._fs, file.path, compression, level, check)
                self._older[index] = (JournalFile(file.first, path), size)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    # -- how ------------------------------------------------------------------------------------

    @property
    def _read_end(self) -> JournalEnd:
        assert self._reader.end is not None, "read it to the end first"
        return self._reader.end

    @property
    def _end(self) -> Position:
        return self._read_end.position if self._position is None else self._position

    @property
    def _open_file(self) -> AppendFile:
        assert self._file is not None, "open it first"
        return self._file

    def _append(self, first: int, seq: int, epoch: int, at: str, messages: Sequence[bytes]) -> None:
        """Write one commit; on return it is in the kernel and counts as unsynced."""
        file = self._open_file
        line, digest = encode_commit(
            epoch=epoch,
            first=first,
            seq=seq,
            synced=self._durable_seq,
            at=at,
            messages=messages,
            prev=self.head_hash,
            seal=self._seal,
        )
        if not file.unsynced:
            self._unsynced_since = self._clock()
        try:
            file.append(line)
        except StorageFullError:
            self._durable_seq = self.last_seq  # the file was synced where it was cut back
            raise
        self._position = Position(seq, epoch, digest, file.size)

    def _key(self) -> str | None:
        """The data key that a new file is encrypted with; None where it is not."""
        keys = self._fs.keys
        return None if keys is None else keys.ring(self._fs, self._directory.parent).current.id

    def _seal_of(self, header: Header, path: Path) -> Seal | None:
        """What encrypts the lines of a file; None where it is not encrypted."""
        keys = self._fs.keys
        if keys is None:
            return None
        return LineCipher(keys.ring(self._fs, self._directory.parent), header, path).seal

    def _begin(self, file: JournalFile, header: bytes) -> AppendFile:
        """Make a journal file; header and name are durable on return. Raises `OSError`."""
        fd = self._fs.open_write(file.path, exclusive=True)
        try:
            write_all(self._fs, fd, header, 0)
            self._fs.sync_file(fd)
            self._fs.sync_directory(self._directory)
        except BaseException:
            with contextlib.suppress(OSError):
                self._fs.close(fd)
            self._leftover = file.path
            with contextlib.suppress(OSError):
                self._remove_leftover()
            raise
        return AppendFile(self._fs, file.path, fd, len(header))

    def _remove_leftover(self) -> None:
        """Remove a file that was begun in vain: no other may be begun while it is there."""
        if self._leftover is not None:
            if self._fs.exists(self._leftover):
                self._fs.unlink(self._leftover)
            self._fs.sync_directory(self._directory)
            self._leftover = None
