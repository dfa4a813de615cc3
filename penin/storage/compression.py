"""Compressed files: written and read as streams, and refused where they expand too far.

A file is compressed as a whole, which the end of its name tells: `.gz`, by the standard library, or
`.zst`, by the library zstandard (extra `penin[zstd]`). Both carry a checksum of what is in them.
Rules:

1. A file may expand to `expanded_bytes_max` of its size: a small one to FREE_BYTES, a larger one to
   RATIO_MAX times its size, and none to more than EXPANDED_BYTES_MAX. A file that goes on after
   that, or claims in its head that it will, is an `ExpansionError`. What is held meanwhile is at
   most PIECE_BYTES expanded: 2 MiB with gzip and 64 MiB with zstd, their highest ratios.
2. No file is written that would be refused. gzip does not reach RATIO_MAX; a file of zstd that
   would is padded with a frame that every reader skips.
3. A position in an error is one of the content, and not of the compressed file.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, Self

from penin.errors import (
    CorruptionError,
    ExpansionError,
    KeyRequiredError,
    NotEncryptedError,
    RefusedValueError,
    UsageError,
)
from penin.settings import Compression
from penin.storage.encryption import ENCRYPTED_SUFFIX, Decrypted
from penin.storage.files import CHUNK_BYTES, joined
from penin.storage.filesystem import FileBlocks
from penin.storage.keys import ring_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from penin.storage.snapshots import SnapshotBlocks

SUFFIX_OF: Final[dict[Compression, str]] = {"gzip": ".gz", "zstd": ".zst"}
LEVEL_DEFAULTS: Final[dict[Compression, int]] = {"gzip": 6, "zstd": 3}

FREE_BYTES: Final = 64 * 2**20
RATIO_MAX: Final = 2_000
EXPANDED_BYTES_MAX: Final = 2**40

PIECE_BYTES: Final = 2**11
"""How much of a compressed file is expanded in one call."""

_COMPRESSION_OF: Final = {suffix: compression for compression, suffix in SUFFIX_OF.items()}
_GZIP_WINDOW_BITS: Final = 31  # the largest window, with the head and the checksum of gzip
_ZSTD_WINDOW_BYTES_MAX: Final = 2**27
_ZSTD_HEAD_BYTES_MAX: Final = 18
_SKIPPED_MAGIC: Final = (0x184D2A50).to_bytes(4, "little")


def suffix_of(path: Path) -> str:
    """The suffix of a name, with those before it where the file is compressed or encrypted."""
    suffix = path.suffix
    if suffix == ENCRYPTED_SUFFIX or suffix in _COMPRESSION_OF:
        return suffix_of(Path(path.stem)) + suffix
    return suffix


def split_suffix(suffix: str) -> tuple[str, Compression | None]:
    """What `suffix_of` gives, as the suffix of the content and how it is compressed.

    That a file is encrypted, which is done last, is left out.
    """
    suffix = suffix.removesuffix(ENCRYPTED_SUFFIX)
    for end, compression in _COMPRESSION_OF.items():
        if suffix.endswith(end):
            return suffix.removesuffix(end), compression
    return suffix, None


def content_of(
    file: SnapshotBlocks,
    path: Path,
    suffix: str | None = None,
    abandoned: Callable[[], None] = lambda: None,
) -> SnapshotBlocks:
    """A snapshot that is open as what is in it, by its suffix (None: that of `path`).

    It is decrypted and expanded where the suffix says so: see `Decrypted` and `Content`. Raises
    KeyRequiredError where it is encrypted and there is no key, NotEncryptedError where it is a file
    that is not and there is one, and what `Keys.ring` raises.
    """
    suffix = suffix_of(path) if suffix is None else suffix
    if suffix.endswith(ENCRYPTED_SUFFIX):
        if not isinstance(file, FileBlocks):  # what is in memory was never encrypted
            raise KeyRequiredError(path)
        ring = ring_of(file.fs, file.path)
        file = Decrypted(file, path, ring, "snapshot", abandoned=abandoned)
    elif isinstance(file, FileBlocks) and file.fs.keys is not None:
        raise NotEncryptedError(path)
    _, compression = split_suffix(suffix)
    return file if compression is None else Content(file, path, compression, abandoned)


def expanded_bytes_max(size_bytes: int) -> int:
    """How long the content of a compressed file of this size may be."""
    return min(EXPANDED_BYTES_MAX, max(FREE_BYTES, RATIO_MAX * size_bytes))


def require(compression: Compression | None) -> None:
    """Raise UsageError where what a compression needs is not installed. The first call imports."""
    if compression != "zstd":
        return
    try:
        import zstandard  # noqa: F401, PLC0415  # an extra
    except ImportError as error:
        raise UsageError(
            "zstd needs zstandard, which is not installed: pip install 'penin[zstd]' (gzip needs "
            "nothing)"
        ) from error


# -- writing ----------------------------------------------------------------------------------


def compressed(
    chunks: Iterable[bytes | memoryview], compression: Compression, level: int | None = None
) -> Iterator[bytes]:
    """The compressed file of some content, in blocks of about 1 MiB.

    `level` is 1 to 9 for gzip and 1 to 19 for zstd, None a default. Raises UsageError like
    `require`, RefusedValueError where the content is longer than any file may be, and whatever
    `chunks` raises.
    """
    require(compression)
    return joined(_compressed_pieces(chunks, compression, level))


def _compressed_pieces(
    chunks: Iterable[bytes | memoryview], compression: Compression, level: int | None
) -> Iterator[bytes]:
    compressor = _compressor(compression, LEVEL_DEFAULTS[compression] if level is None else level)
    content = size = 0
    for chunk in chunks:
        content += len(chunk)
        if content > EXPANDED_BYTES_MAX:
            reason = f"more than {EXPANDED_BYTES_MAX:,} bytes are not compressed; leave it out"
            raise RefusedValueError("compress", reason)
        piece = compressor.compress(chunk)
        size += len(piece)
        yield piece
    end = compressor.flush()
    size += len(end)
    yield end
    if content > expanded_bytes_max(size):
        padding = -(-content // RATIO_MAX) - size
        yield _SKIPPED_MAGIC + padding.to_bytes(4, "little") + bytes(padding)


def _compressor(compression: Compression, level: int) -> Any:
    if compression == "gzip":
        return zlib.compressobj(level, wbits=_GZIP_WINDOW_BITS)
    import zstandard  # noqa: PLC0415  # an extra

    return zstandard.ZstdCompressor(level=level, write_checksum=True).compressobj()


# -- reading ----------------------------------------------------------------------------------


class Blocks(Protocol):
    """A file that is open for reading: the same bytes in every iteration, block by block."""

    @property
    def size_bytes(self) -> int:
        """How long the file is."""

    def __iter__(self) -> Iterator[bytes]: ...


class _Decompressor(Protocol):
    """What those of zlib and zstandard have in common; each is for one stream or frame."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, /) -> bytes: ...


class Content:
    """The content of a compressed file, as the `SnapshotBlocks` that the file itself is.

    `file` must be open as long as this is read, and is closed by who opened it. `abandoned` is
    called now and then, and may raise. An iteration raises
    CorruptionError where the file is damaged or cut, ExpansionError where it expands too far, and
    what reading raises; what it gave until then was not proven. Raises UsageError like `require`.
    """

    def __init__(
        self,
        file: Blocks,
        path: Path,
        compression: Compression,
        abandoned: Callable[[], None] = lambda: None,
    ) -> None:
        require(compression)
        self._abandoned = abandoned
        self._file = file
        self._path = path
        self._compression = compression

    @property
    def size_bytes(self) -> int:
        """How long the compressed file is."""
        return self._file.size_bytes

    def map(self) -> memoryview:
        """All of the content, in memory: a compressed file cannot be mapped."""
        content = bytearray()
        for block in self:
            content += block
        return memoryview(content).toreadonly()

    def __iter__(self) -> Iterator[bytes]:
        # Without the empty last one.
        return filter(None, joined(self._pieces()))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """The file is closed by who opened it."""

    def _pieces(self) -> Iterator[bytes]:
        size = 0
        limit = expanded_bytes_max(self.size_bytes)
        stream: _Decompressor | None = None
        for piece in self._compressed_pieces():
            rest = piece
            while rest:
                if stream is None or stream.eof:
                    stream = self._begun(rest, limit - size)
                try:
                    content = stream.decompress(rest)
                except (zlib.error, _zstd_error()) as error:
                    raise CorruptionError(self._path, size, f"not {self._name}: {error}") from error
                size += len(content)
                if size > limit:
                    raise ExpansionError(self._path, self.size_bytes, limit)
                for start in range(0, len(content), CHUNK_BYTES):
                    yield content[start : start + CHUNK_BYTES]
                rest = stream.unused_data if stream.eof else b""
        if stream is None or not stream.eof:
            raise CorruptionError(self._path, size, f"the {self._name} file is cut here")

    def _compressed_pieces(self) -> Iterator[bytes]:
        for block in self._file:
            self._abandoned()
            for start in range(0, len(block), PIECE_BYTES):
                yield block[start : start + PIECE_BYTES]

    @property
    def _name(self) -> str:
        return f"{self._compression}-compressed"

    def _begun(self, begin: bytes, limit: int) -> _Decompressor:
        """A decompressor for the stream that begins so; ExpansionError where it says too much."""
        if self._compression == "gzip":
            return zlib.decompressobj(_GZIP_WINDOW_BITS)
        import zstandard  # noqa: PLC0415  # an extra

        try:
            # Unknown is -1; cut short, it is not told, and the content is counted in any case.
            claimed = zstandard.frame_content_size(begin[:_ZSTD_HEAD_BYTES_MAX])
        except zstandard.ZstdError:
            claimed = -1
        if claimed > limit:
            raise ExpansionError(self._path, self.size_bytes, limit)
        options = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_BYTES_MAX)
        decompressor: _Decompressor = options.decompressobj()
        return decompressor


def _zstd_error() -> type[Exception]:
    """What zstandard raises, where it is installed."""
    try:
        import zstandard  # noqa: PLC0415  # an extra
    except ImportError:
        return zlib.error
    return zstandard.ZstdError
