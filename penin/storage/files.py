"""Single files outside a store: written in larger pieces, and whole or not at all."""

from __future__ import annotations

import errno
import secrets
from typing import TYPE_CHECKING, Final

from penin.storage.filesystem import OsFileSystem, write_file_durably

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

CHUNK_BYTES: Final = 2**20


def replace_file(path: Path, chunks: Iterable[bytes | memoryview]) -> None:
    """Put a file in place, atomically and durably, making parent directories.

    Raises OSError, and whatever `chunks` raises; then what was there before is there. A symbolic
    link is followed: the file that it leads to is replaced. What is no file (a device, a pipe) is
    not: other programs would miss it.
    """
    resolved = path.resolve()
    if resolved.exists() and not resolved.is_file():
        raise OSError(errno.EEXIST, "it is there and not a regular file", str(path))
    fs = OsFileSystem()
    fs.make_directory(resolved.parent)
    # A name of its own, so that neither another writer's file nor a neighbour's is touched.
    temporary = resolved.with_name(f".penin-{secrets.token_hex(8)}.tmp")
    write_file_durably(fs, resolved, chunks, temporary)


def joined(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes in pieces of about CHUNK_BYTES: one write each. The last may be empty."""
    chunk: list[bytes] = []
    size = 0
    for piece in pieces:
        chunk.append(piece)
        size += len(piece)
        if size >= CHUNK_BYTES:
            yield b"".join(chunk)
            chunk.clear()
            size = 0
    yield b"".join(chunk)
