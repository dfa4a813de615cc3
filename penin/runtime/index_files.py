"""The files of approximate indexes: `index/<metric>-<dimension>.index` in a store. A cache.

Any of them may be deleted at any time. One that is damaged, of another store or of another version
is removed and built again. It is written under a temporary name by the process that builds it and
gets its own name from the process that has the store open, once everything that it covers is
durable: so that no power cut can give the seqs that it covers to something else.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple, get_args

from penin.core.nearest import Metric
from penin.core.vector_index import Card, VectorIndex, decode_index, encode_index, read_card
from penin.errors import FormatError, StorageError
from penin.storage.encryption import Decrypted, encrypted
from penin.storage.filesystem import FileBlocks, FileSystem, write_synced
from penin.storage.snapshots import SnapshotBlocks

INDEX_DIRECTORY: Final = "index"
_NAME: Final = re.compile(rf"({'|'.join(get_args(Metric))})-([1-9][0-9]{{0,18}})\.index")


class IndexKind(NamedTuple):
    """What an index is of: for one metric, the vectors of one dimension."""

    metric: Metric
    dimension: int

    def __str__(self) -> str:
        return f"{self.metric}-{self.dimension}"


class IndexFile(NamedTuple):
    """An index on the disk, by what it says about itself."""

    path: Path
    card: Card
    size_bytes: int


class IndexFiles:
    """The indexes of the store in `store_directory`. Everything here blocks."""

    def __init__(self, fs: FileSystem, store_directory: Path) -> None:
        self._fs = fs
        self._directory = store_directory / INDEX_DIRECTORY

    def path(self, kind: IndexKind) -> Path:
        """Where the index of a kind is, if there is one."""
        return self._directory / f"{kind}.index"

    def temporary(self, kind: IndexKind, epoch: int) -> Path:
        """What it is called while it is built; no two openings of a store have the same."""
        path = self.path(kind)
        return path.with_name(f"{path.name}.tmp-{epoch}")

    def prepare(self) -> None:
        """Make the directory. Raises OSError, also where it is a link, which nothing follows."""
        self._fs.make_directory(self._directory)
        self._fs.names(self._directory)

    def write(self, path: Path, index: VectorIndex, store: str) -> int:
        """Write an index of the store with that id, synced; its size. Raises OSError."""
        chunks = encode_index(index, store)
        keys = self._fs.keys
        if keys is not None:
            ring = keys.ring(self._fs, self._directory.parent)
            chunks = encrypted(chunks, ring, "index", index.seq)
        return write_synced(self._fs, path, chunks)

    def load(self, path: Path, store: str, seq_max: int | None = None) -> VectorIndex | None:
        """The index in a file, after all of it was checked; None where there is no file.

        It is mapped, or, in an encrypted store, in memory.

        Raises CorruptionError or FormatError for one that is not to be used, also where it is of
        another store or covers more than `seq_max`; OSError where it cannot be read, and
        UsageError where usearch is missing.
        """
        try:
            with FileBlocks(self._fs, path) as blocks:
                mapped = self._content(blocks).map()
        except FileNotFoundError:
            return None
        _check_owner(path, read_card(mapped, path), store, seq_max)
        return decode_index(mapped, path, _let_go)

    def put(self, temporary: Path, kind: IndexKind) -> None:
        """Give an index its name, durably. Raises OSError."""
        self._fs.rename(temporary, self.path(kind))
        self._fs.sync_directory(self._directory)

    def remove(self, path: Path) -> None:
        """Remove a file, if it is there. Raises OSError."""
        with contextlib.suppress(FileNotFoundError):
            self._fs.unlink(path)

    def found(self) -> list[IndexFile]:
        """The indexes that are there, by their names; not checked. Raises OSError.

        One that says nothing about itself is left out.
        """
        files = []
        for path, error_or_card, size_bytes in self._cards():
            if isinstance(error_or_card, Card):
                files.append(IndexFile(path, error_or_card, size_bytes))
        return files

    def clean(self, store: str, seq: int) -> list[StorageError]:
        """Remove what cannot be used by the store that was opened at `seq`; why, for each index.

        And what was begun and not finished, of which nothing is said. Raises OSError.
        """
        complaints: list[StorageError] = []
        for path, error_or_card, _ in self._cards():
            try:
                if isinstance(error_or_card, StorageError):
                    raise error_or_card
                _check_owner(path, error_or_card, store, seq)
            except StorageError as error:
                complaints.append(error)
                self.remove(path)
        for name in self._names():
            if ".index.tmp-" in name:
                self.remove(self._directory / name)
        return complaints

    def _cards(self) -> Iterator[tuple[Path, Card | StorageError, int]]:
        for name in self._names():
            if _NAME.fullmatch(name):
                path = self._directory / name
                with FileBlocks(self._fs, path) as blocks:
                    try:
                        card: Card | StorageError = read_card(self._content(blocks).map(), path)
                    except StorageError as error:
                        card = error
                    yield path, card, blocks.size_bytes

    def _names(self) -> list[str]:
        try:
            return self._fs.names(self._directory)
        except FileNotFoundError:
            return []

    def _content(self, file: FileBlocks) -> SnapshotBlocks:
        """What is in a file: itself, where there is no key. Decrypted it is held in memory."""
        keys = self._fs.keys
        if keys is None:
            return file
        ring = keys.ring(self._fs, self._directory.parent)
        return Decrypted(file, file.path, ring, "index")


def _check_owner(path: Path, card: Card, store: str, seq_max: int | None) -> None:
    """Raise FormatError where an index is not one of this store, or of its future."""
    if path.name.partition(".index")[0] != str(IndexKind(card.metric, card.dimension)):
        raise FormatError(path, f"an index of {card.metric} and dimension {card.dimension}")
    if card.store != store:
        raise FormatError(path, f"an index of store {card.store}")
    if seq_max is not None and card.seq > seq_max:
        raise FormatError(path, f"it covers seq {card.seq}, and the store is at {seq_max}")


def _let_go() -> None:
    """Give the interpreter to a thread that waits for it, which usearch does not do by itself.

    Nothing is waited for: a sleep, also one of no length, is a call that lets go of the interpreter
    in every version of Python (`os.sched_yield` does so from 3.12 on).
    """
    time.sleep(0)
