"""Files that are written whole or not at all."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from pathlib import Path

from penin.storage.filesystem import OsFileSystem, write_file_durably


def replace_file(path: Path, chunks: Iterable[bytes]) -> None:
    """Put a file in place, atomically and durably, making parent directories.

    Raises OSError, and whatever `chunks` raises; then what was there before is there.
    """
    resolved = path.resolve()
    fs = OsFileSystem()
    fs.make_directory(resolved.parent)
    # A name of its own, so that neither another writer's file nor a neighbour's is touched.
    temporary = resolved.with_name(f".penin-{secrets.token_hex(8)}.tmp")
    write_file_durably(fs, resolved, chunks, temporary)


class Sink:
    """What a library writes a file to, piece by piece; `taken` gives on what came so far."""

    closed = False

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._position = 0

    def write(self, data: bytes) -> int:
        """Keep a copy; how many bytes it was."""
        piece = bytes(data)
        self._pieces.append(piece)
        self._position += len(piece)
        return len(piece)

    def tell(self) -> int:
        """How many bytes were written since the beginning."""
        return self._position

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        """There is nothing to close."""

    def taken(self) -> bytes:
        """What was written since the last call."""
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)
