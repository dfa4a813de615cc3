"""The store that is gone with the process: both ports, in memory.

The lines are those of the files, with the same chain, so that snapshots name the same hashes. The
objects go on living after `close`, and can be read and opened again.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

import msgspec

from penin.errors import JournalGapError, StorageError
from penin.storage.commits import (
    ZERO_HASH,
    Commit,
    ForkedFrom,
    Header,
    Position,
    encode_commit,
    encode_header,
    is_anchor,
    parse_line,
)
from penin.storage.repair import Repairs
from penin.storage.retention import CHECKPOINTS_KEPT_MIN, Retention, kept_seqs
from penin.storage.snapshots import (
    JSON_SUFFIX,
    CheckpointFile,
    checkpoint_file,
    checkpoint_name,
    digest_of,
    original_name,
)
from penin.storage.timings import Timings

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from penin.settings import Compression
    from penin.storage.tail import Torn

MEMORY_PATH: Final = Path(":memory:")


class _Part(msgspec.Struct):
    """What would be one file: its header, the commits after it, and their size in bytes."""

    header: Header
    size: int
    commits: list[Commit] = []


class MemoryJournal:
    """The `Journal` port in memory. What was appended is as durable as it will ever be."""

    def __init__(self) -> None:
        self._parts: list[_Part] = []
        self._position = Position(0, 0, ZERO_HASH, 0)
        self._is_open = False

    @property
    def store(self) -> str:
        return self._parts[-1].header.store

    @property
    def forked_from(self) -> ForkedFrom | None:
        return self._parts[-1].header.forked_from

    @property
    def epoch(self) -> int:
        return self._position.epoch

    @property
    def first_seq(self) -> int:
        return self._parts[0].header.first

    @property
    def last_seq(self) -> int:
        return self._position.seq

    @property
    def durable_seq(self) -> int:
        return self._position.seq

    @property
    def head_hash(self) -> str:
        return self._position.hash

    @property
    def tail(self) -> Torn | None:
        return None

    @property
    def repairs(self) -> Repairs:
        return Repairs()

    @property
    def syncs(self) -> Timings:
        return Timings()

    def size_bytes(self, after_seq: int = 0) -> int:
        older = zip(self._parts, self._parts[1:], strict=False)
        sizes = (part.size for part, after in older if after.header.first > after_seq + 1)
        return sum(sizes) + self._parts[-1].size

    def is_empty(self) -> bool:
        return not self._parts

    def holds_transitions(self) -> bool:
        return any(commit.seq >= commit.first for part in self._parts for commit in part.commits)

    def create(self, store: str, *, seq: int, forked_from: ForkedFrom | None) -> None:
        if self.holds_transitions():
            raise StorageError(MEMORY_PATH, "the journal holds transitions; it is not replaced")
        prev = ZERO_HASH if forked_from is None else forked_from.hash
        self._parts.clear()
        self._begin(Position(seq, 0, prev, 0), store, forked_from)

    def read(self, after_seq: int, anchor_hash: str | None = None) -> Iterator[Commit]:
        start = sum(part.header.first <= after_seq + 1 for part in self._parts) - 1
        parts = self._parts[max(start, 0) :]
        lines: list[Header | Commit] = []
        for part in parts:
            lines += [part.header, *part.commits]
        if start < 0 or not (
            anchor_hash is None or any(is_anchor(line, after_seq, anchor_hash) for line in lines)
        ):
            raise JournalGapError(MEMORY_PATH, 0, f"nothing continues the snapshot at {after_seq}")
        for line in lines:
            if isinstance(line, Commit) and line.seq > after_seq and line.seq >= line.first:
                yield line

    def open(self, at: str, *, epoch_seen: int = 0, store: str | None = None) -> None:
        del store  # for a journal whose header can be lost
        assert self._parts, "create it first"
        assert not self._is_open, "open already"
        self._is_open = True
        self._append(self.last_seq, max(self.epoch, epoch_seen) + 1, at, ())

    def append(self, first: int, seq: int, at: str, messages: Sequence[bytes]) -> None:
        if not self.last_seq + 1 == first <= seq:
            raise ValueError(f"transitions {first} to {seq} do not follow {self.last_seq}")
        self._append(seq, self.epoch, at, messages)

    def sync(self) -> None:
        assert self._is_open, "open it first"

    def sync_due_s(self) -> float | None:
        return None

    def rotate(self) -> None:
        self.sync()
        header = self._parts[-1].header
        if header.first <= self.last_seq:
            self._begin(self._position, header.store, header.forked_from)

    def trim(self, upto_seq: int) -> None:
        self.sync()
        while len(self._parts) > 1 and self._parts[1].header.first <= upto_seq + 1:
            del self._parts[0]

    def compress(
        self,
        upto_seq: int,
        compression: Compression,
        level: int | None,
        abandoned: Callable[[], None],
    ) -> None:
        """The commits are kept as objects, which are not compressed."""

    def close(self) -> None:
        self._is_open = False

    def _begin(self, before: Position, store: str, forked_from: ForkedFrom | None) -> None:
        line, _ = encode_header(
            store=store,
            epoch=before.epoch,
            first=before.seq + 1,
            forked_from=forked_from,
            prev=before.hash,
        )
        header = parse_line(line, verify_hash=False)
        assert isinstance(header, Header)
        self._position = msgspec.structs.replace(before, offset=0).after(line, header)
        self._parts.append(_Part(header, len(line)))

    def _append(self, seq: int, epoch: int, at: str, messages: Sequence[bytes]) -> None:
        assert self._is_open, "open it first"
        line, _ = encode_commit(
            epoch=epoch,
            first=self.last_seq + 1,
            seq=seq,
            synced=self.last_seq,
            at=at,
            messages=messages,
            prev=self.head_hash,
        )
        commit = parse_line(line, verify_hash=False)
        assert isinstance(commit, Commit)
        self._position = self._position.after(line, commit)
        self._parts[-1].commits.append(commit)
        self._parts[-1].size += len(line)


_ONLY_LATEST = "in memory only the latest snapshot is kept"


class MemoryBlocks(tuple[bytes, ...]):
    """The `SnapshotBlocks` port in memory: the blocks as they were put."""

    __slots__ = ()

    @property
    def size_bytes(self) -> int:
        return sum(map(len, self))

    def map(self) -> memoryview:
        return memoryview(b"".join(self))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """There is nothing to close."""


class MemorySnapshotStore:
    """The `SnapshotStore` port in memory: only the latest can be read, and is never damaged."""

    def __init__(self, suffix: str = JSON_SUFFIX) -> None:
        self.path = MEMORY_PATH
        self.suffix = suffix
        self._latest: MemoryBlocks | None = None
        self._kept: set[str] = set()
        self._originals: dict[Path, MemoryBlocks] = {}

    def put(self, seq: int, epoch: int, at: str, chunks: Iterable[bytes | memoryview]) -> int:
        del epoch  # it tells temporary names apart
        blocks = MemoryBlocks(map(bytes, chunks))
        self._latest = blocks
        self._kept.add(checkpoint_name(seq, at, self.suffix))
        return blocks.size_bytes

    def latest(self) -> MemoryBlocks | None:
        return self._latest

    def checkpoints(self) -> list[CheckpointFile]:
        files = (checkpoint_file(MEMORY_PATH, name) for name in sorted(self._kept))
        return [file for file in files if file is not None]

    def oldest_kept_seq(self) -> int:
        kept = self.checkpoints()
        return kept[0].seq if len(kept) >= CHECKPOINTS_KEPT_MIN else 0

    def prune(self, retention: Retention, *, now: str, valid: Collection[int]) -> None:
        files = self.checkpoints()
        times = [(file.seq, file.at) for file in files]
        kept = kept_seqs(times, now=now, retention=retention, valid=valid)
        self._kept = {file.path.name for file in files if file.seq in kept}

    def open_checkpoint(self, file: CheckpointFile) -> MemoryBlocks:
        raise StorageError(file.path, _ONLY_LATEST)

    def set_aside(self, paths: Sequence[Path], at: str) -> list[Path]:
        del at
        raise StorageError(paths[0], _ONLY_LATEST)

    def set_aside_checkpoints(self) -> list[CheckpointFile]:
        return []

    def adopt(self, file: CheckpointFile) -> None:
        raise StorageError(file.path, _ONLY_LATEST)

    def keep_original(self) -> Path:
        if self._latest is None:
            raise StorageError(MEMORY_PATH, "there is no state to keep")
        path = MEMORY_PATH / original_name(digest_of(self._latest), self.suffix)
        self._originals[path] = self._latest
        return path

    def keep(self, name: str, seq: int, chunks: Iterable[bytes | memoryview]) -> Path:  # noqa: ARG002
        path = MEMORY_PATH / f"state.{name}{self.suffix}"
        self._originals[path] = MemoryBlocks(map(bytes, chunks))
        return path

    def remove_leftovers(self) -> None:
        """There are none."""
