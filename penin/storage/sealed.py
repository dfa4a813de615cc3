"""Sealed files: bytes that the journal names with their digest instead of holding them.

A file in `sealed/` is named `<number>-blake3-<digest>`: the number (20 digits) tells it from all
others of the store, and the digest, in hexadecimal, is the BLAKE3 digest of the BLAKE3 digests of
its blocks of 1 MiB (`penin.storage.mapped`), so that what is read later can be checked block by
block. In an encrypted store these are the blocks of the encrypted file
(`penin.storage.encryption`). Earlier versions wrote `<number>-<digest>`, with SHA-256 for both. A
file is never changed. Rules of `SealedFiles`:

1. `put` returns when the file and its name are durable; only then may a commit name it. So a commit
   never names a file that is not there, whatever the crash.
2. `get` gives what has the digest, or raises.
3. A file goes only when the commits that name it are not needed any more: `settle` says which is
   the last of them, `retire` up to which seq none is needed. A file that was never settled (its
   messages were refused or cancelled, or their outcome is unknown) stays until the store is opened
   again: then every commit that may name it is known to be at or before the last seq.

A crash can leave files that no commit names, and temporary ones. Both are harmless: the first go
like all others, the second when the store is opened.
"""

from __future__ import annotations

import contextlib
import itertools
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

import msgspec

from penin.errors import CorruptionError, SealedFileMissingError, StorageError
from penin.storage.encryption import Decrypted, encrypted
from penin.storage.filesystem import (
    FileBlocks,
    FileSystem,
    removed_on_failure,
    storage_error,
    write_synced,
)
from penin.storage.mapped import (
    Digest,
    MappedFile,
    blake3_digest,
    block_digests,
    checked_file,
    digested,
    sha256_digest,
    whole_blocks,
)

if TYPE_CHECKING:
    from pathlib import Path

SEALED_DIRECTORY: Final = "sealed"
FOUND_MAX: Final = 4
"""So many files are kept between two calls of `get`: a replay asks for each many times."""

_NAME = re.compile(r"([0-9]{20})-(blake3-)?([0-9a-f]{64})")
_STAGING_SUFFIX = ".tmp"


class SealedFile(msgspec.Struct, frozen=True):
    """A file that is there: its name, and the file, mapped."""

    name: str
    file: MappedFile


class _Need(msgspec.Struct):
    """How large a file is, and which is the last commit that names it: None while more may come."""

    size: int
    seq: int | None = None


class SealedFiles:
    """The sealed files of one store. Making one touches nothing.

    `get` is for one thread, and needs no lock of the store. All else is for its owner, and any
    thread may call it once `open` returned.
    """

    def __init__(self, fs: FileSystem, store: Path) -> None:
        self._fs = fs
        self._directory = store / SEALED_DIRECTORY
        self._numbers = itertools.count()
        self._needs: dict[str, _Need] = {}
        self._found: dict[str, MappedFile] = {}

    def put(self, blocks: Iterable[bytes | memoryview]) -> SealedFile:
        """Make a file of these blocks, each of BLOCK_BYTES but the last; kept until it is settled.

        Durable on return. Raises StorageError (StorageFullError where there is no room) or whatever
        `blocks` raises; then no file is there, or (where only the last sync
        failed) one that is never settled.
        """
        number = f"{next(self._numbers):020d}"
        temporary = self._directory / (number + _STAGING_SUFFIX)
        digests = bytearray()
        try:
            self._fs.make_directory(self._directory)
            written = digested(self._encrypted(blocks, number), digests)
            size = write_synced(self._fs, temporary, written)
            name = f"{number}-blake3-{blake3_digest(digests).hex()}"
            path = self._directory / name
            with removed_on_failure(self._fs, temporary):
                self._fs.rename(temporary, path)
            self._needs[name] = _Need(size)
            self._fs.sync_directory(self._directory)
            with FileBlocks(self._fs, path) as file:
                opened = self._opened(file, file.map(), bytes(digests), blake3_digest)
                return SealedFile(name, opened)
        except OSError as error:
            raise storage_error(self._directory, error) from error

    def settle(self, name: str, seq: int) -> None:
        """All commits that name the file are made, the last one at `seq`; 0 if there is none."""
        self._needs[name].seq = seq

    def discard(self, name: str) -> None:
        """Delete a file that no commit names; what cannot be deleted is retired later."""
        self.settle(name, 0)
        with contextlib.suppress(StorageError):
            self._delete(name)

    def get(self, name: str) -> MappedFile:
        """The file of a name.

        All of it is digested when it is first asked for. Raises CorruptionError where it has
        another digest, SealedFileMissingError where there is no such file, and StorageError.
        """
        file = self._found.get(name)
        if file is None:
            file = self._checked(name)
            while len(self._found) >= FOUND_MAX:
                del self._found[next(iter(self._found))]
            self._found[name] = file
        return file

    def _checked(self, name: str) -> MappedFile:
        named = _NAME.fullmatch(name)
        if named is None:
            raise CorruptionError(self._directory, 0, f"{name[:100]!r} is not the name of a file")
        path = self._directory / name
        digest = blake3_digest if named[2] else sha256_digest
        try:
            with FileBlocks(self._fs, path) as blocks:
                data = blocks.map()
                digests = block_digests(data, digest)
                if digest(digests).hex() != named[3]:
                    reason = "its digest is not the one that it is named by"
                    raise CorruptionError(path, 0, reason)
                return self._opened(blocks, data, digests, digest)
        except FileNotFoundError as error:
            reason = "the journal names it, and it is not there"
            raise SealedFileMissingError(path, 0, reason) from error
        except OSError as error:
            raise storage_error(path, error) from error

    def _encrypted(
        self, blocks: Iterable[bytes | memoryview], number: str
    ) -> Iterable[bytes | memoryview]:
        """What is written: the blocks themselves, where there is no key."""
        keys = self._fs.keys
        if keys is None:
            return blocks
        ring = keys.ring(self._fs, self._directory.parent)
        return whole_blocks(encrypted(blocks, ring, "sealed", int(number)))

    def _opened(
        self, file: FileBlocks, data: memoryview, digests: bytes, digest: Digest
    ) -> MappedFile:
        """What is in a file whose digest is right; of an encrypted one it is held in memory."""
        keys = self._fs.keys
        if keys is not None:
            ring = keys.ring(self._fs, self._directory.parent)
            number = int(file.path.name.partition("-")[0])
            data = Decrypted(file, file.path, ring, "sealed", number).map()
            digests = block_digests(data, digest)
        return checked_file(file.path, data, digests, digest)

    def size_bytes(self, after_seq: int) -> int:
        """The size of the files that commits after `after_seq` may name."""
        needs = list(self._needs.values())
        return sum(need.size for need in needs if need.seq is None or need.seq > after_seq)

    def open(self, last_seq: int) -> None:
        """Take over what is there, in a store whose last transition has `last_seq`.

        Removes what a crash left half-done. Raises StorageError.
        """
        self._found.clear()  # a replay is over; what it read is in the state
        number = 0
        try:
            for name in self._names():
                path = self._directory / name
                named = _NAME.fullmatch(name)
                if named is not None:
                    with FileBlocks(self._fs, path) as blocks:
                        self._needs[name] = _Need(blocks.size_bytes, last_seq)
                    number = int(named[1]) + 1  # they come in order
                elif name.endswith(_STAGING_SUFFIX):
                    self._fs.unlink(path)
        except OSError as error:
            raise storage_error(self._directory, error) from error
        self._numbers = itertools.count(number)

    def names(self) -> list[str]:
        """The files that are there, oldest first. Raises StorageError."""
        try:
            return [name for name in self._names() if _NAME.fullmatch(name)]
        except OSError as error:
            raise storage_error(self._directory, error) from error

    def _names(self) -> list[str]:
        try:
            return self._fs.names(self._directory)
        except FileNotFoundError:
            return []

    def retire(self, upto_seq: int) -> None:
        """Delete the files that no commit after `upto_seq` names. Raises StorageError."""
        for name, need in list(self._needs.items()):
            if need.seq is None or need.seq > upto_seq:
                continue
            self._delete(name)

    def _delete(self, name: str) -> None:
        path = self._directory / name
        try:
            with contextlib.suppress(FileNotFoundError):
                self._fs.unlink(path)
        except OSError as error:
            raise storage_error(path, error) from error
        self._needs.pop(name, None)
