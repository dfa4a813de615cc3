"""Mapped files: what is in a file, read from the disk when it is asked for, and checked.

Each MiB of the data has a digest, and is checked against it when it is first read, so what damage
there is becomes a CorruptionError with file and position, and never a number. The first read of a
block so costs some tenths of a millisecond, and as long as the disk takes where the block is not in
the page cache. A block that was checked may leave the page cache again when memory is short;
reading it then waits for the disk, too. A disk that cannot read a page of a mapped file ends the
process (SIGBUS): the kernel has no other way to tell it.

The digest is BLAKE3, which one thread computes several times as fast as SHA-256: every byte of a
snapshot is digested twice on its way from one mapped file to the next, and the disk should not have
to wait for that. What earlier versions wrote has SHA-256; the version of a snapshot, or the name of
a sealed file, says which.

A file stays mapped as long as anything refers to it, and its space on the disk is given back after
that, also where its name has long been another file's.
"""

from __future__ import annotations

import hashlib
import mmap
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from blake3 import blake3

from penin.errors import CorruptionError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

BLOCK_BYTES: Final = 2**20
"""What has a digest of its own."""
DIGEST_BYTES: Final = 32
INTEGER_BYTES: Final = 8
Digest = Callable[[bytes | bytearray | memoryview], bytes]
"""Gives the digest of some bytes, DIGEST_BYTES long."""
_integer: Final = struct.Struct("<q").unpack_from


def blake3_digest(data: bytes | bytearray | memoryview) -> bytes:
    """The digest of what is written now."""
    return blake3(data).digest()


def sha256_digest(data: bytes | bytearray | memoryview) -> bytes:
    """The digest of what earlier versions wrote."""
    return hashlib.sha256(data).digest()


def block_digests(data: memoryview, digest: Digest = blake3_digest) -> bytes:
    """The digests of all blocks, behind each other."""
    blocks = (data[start : start + BLOCK_BYTES] for start in range(0, len(data), BLOCK_BYTES))
    return b"".join(map(digest, blocks))


def digested(
    blocks: Iterable[bytes | memoryview], digests: bytearray
) -> Iterator[bytes | memoryview]:
    """The blocks as they are; the digest of each stands in `digests` before it is given."""
    for block in blocks:
        digests += blake3_digest(block)
        yield block


def give_back(mapped: memoryview, start: int, stop: int) -> None:
    """Let bytes `start` to `stop` of a mapped file leave the memory of the process.

    `mapped` is what `FileSystem.map` returned, or a part of it. Reading the bytes again brings them
    back. Nothing happens where the platform has no way to do it.
    """
    file = mapped.obj
    if isinstance(file, mmap.mmap) and hasattr(file, "madvise"):
        start -= start % mmap.PAGESIZE
        file.madvise(mmap.MADV_DONTNEED, start, stop - start)


def whole_blocks(pieces: Iterable[bytes | memoryview]) -> Iterator[bytes | memoryview]:
    """The pieces, split and joined to blocks of BLOCK_BYTES, the last of which may be shorter.

    What is large enough already is not copied.
    """
    parts: list[memoryview] = []
    room = BLOCK_BYTES
    for piece in pieces:
        rest = memoryview(piece)
        while len(rest) >= room:
            parts.append(rest[:room])
            rest = rest[room:]
            yield parts[0] if len(parts) == 1 else b"".join(parts)
            parts, room = [], BLOCK_BYTES
        if rest:
            parts.append(rest)
            room -= len(rest)
    if parts:
        yield b"".join(parts)


class MappedFile:
    """The data of a snapshot, and which of its blocks were checked. Any thread may read it.

    `data` is what the digests are of, without the header, which ends at byte `begin` of the file;
    `digest` is what computed them.
    The digests are a copy: comparing with what is mapped could hold the interpreter while it waits.
    """

    __slots__ = ("_begin", "_checked", "_data", "_digest", "_digests", "_path")

    def __init__(
        self,
        path: Path,
        begin: int,
        data: memoryview,
        digests: bytes,
        digest: Digest = blake3_digest,
    ) -> None:
        self._path = path
        self._begin = begin
        self._data = data
        self._digests = digests
        self._digest = digest
        self._checked = bytearray(len(digests) // DIGEST_BYTES)

    def unchecked(self) -> MappedFile:
        """The same file, of which every block is checked once more when it is first read."""
        return MappedFile(self._path, self._begin, self._data, self._digests, self._digest)

    def note_checked(self) -> None:
        """All of it was digested just now, and is right."""
        self._checked = bytearray(b"\1") * len(self._checked)

    def is_checked(self, start: int, stop: int) -> bool:
        """Whether the blocks that hold these bytes were all read before."""
        return 0 not in self._checked[start // BLOCK_BYTES : -(-stop // BLOCK_BYTES)]

    @property
    def path(self) -> Path:
        """Where it was found; for messages."""
        return self._path

    @property
    def size_bytes(self) -> int:
        """How long the data is."""
        return len(self._data)

    def read(self, start: int, stop: int) -> memoryview:
        """These bytes of the data, checked; raises CorruptionError."""
        number = start // BLOCK_BYTES
        while number * BLOCK_BYTES < stop:
            if not self._checked[number]:
                self._check(number)
            number += 1
        return self._data[start:stop]

    def integer(self, start: int) -> int:
        """The 64-bit integer that begins at a byte; raises CorruptionError."""
        number: int = _integer(self.read(start, start + INTEGER_BYTES))[0]
        return number

    def give_back(self, start: int, stop: int) -> None:
        """Let these bytes leave the memory of the process; they stay in the page cache."""
        give_back(self._data, self._begin + start, self._begin + stop)

    def _check(self, number: int) -> None:
        start = number * BLOCK_BYTES
        digest = self._digest(self._data[start : start + BLOCK_BYTES])
        if digest != self._digests[number * DIGEST_BYTES : (number + 1) * DIGEST_BYTES]:
            reason = "the digest of this block is not right"
            raise CorruptionError(self._path, self._begin + start, reason)
        # Two threads may check the same block; they find the same.
        self._checked[number] = 1


def checked_file(
    path: Path, data: memoryview, digests: bytes, digest: Digest = blake3_digest
) -> MappedFile:
    """A file that is nothing but data, and was digested just now: it is right."""
    file = MappedFile(path, 0, data, digests, digest)
    file.note_checked()
    return file
