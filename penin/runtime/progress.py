"""How far something that takes long has come: written by it, read by whoever shows it."""

from __future__ import annotations

from penin.storage.filesystem import OsFileSystem


class Progress:
    """So many bytes of so many. The numbers may be read from another thread at any time."""

    def __init__(self) -> None:
        self.done = 0
        self.total: int | None = None

    def begin(self, total: int) -> None:
        """Begin, or begin anew."""
        self.done, self.total = 0, total

    def reading(self) -> tuple[int, int | None, str]:
        """What a progress bar shows."""
        total = "" if self.total is None else f" of {self.total / 2**20:,.1f}"
        return self.done, self.total, f"{self.done / 2**20:,.1f}{total} MiB"


class CountingFiles(OsFileSystem):
    """The real file system, which counts what is read and written as progress."""

    def __init__(self, files: OsFileSystem, progress: Progress) -> None:
        super().__init__(files.keys)
        self._progress = progress

    def read(self, fd: int, size: int, offset: int) -> bytes:
        block = super().read(fd, size, offset)
        self._progress.done += len(block)
        return block

    def map(self, fd: int) -> memoryview:
        content = super().map(fd)
        self._progress.done += len(content)
        return content

    def write(self, fd: int, data: bytes | memoryview, offset: int) -> int:
        written = super().write(fd, data, offset)
        self._progress.done += written
        return written
