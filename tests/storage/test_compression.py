"""Compressed content comes back as it was, or is refused by name, and never expands without end."""

from __future__ import annotations

import gzip
import sys
import zlib
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from penin.errors import CorruptionError, ExpansionError, RefusedValueError, UsageError
from penin.settings import Compression
from penin.storage import compression as module
from penin.storage.compression import (
    FREE_BYTES,
    PIECE_BYTES,
    RATIO_MAX,
    Content,
    compressed,
    expanded_bytes_max,
    split_suffix,
    suffix_of,
)
from penin.storage.memory import MemoryBlocks

PATH = Path("/somewhere/state.json.zst")
BOTH: tuple[Compression, ...] = ("gzip", "zstd")
both = pytest.mark.parametrize("compression", BOTH)


def content(data: bytes, compression: Compression, block: int = 1000) -> Content:
    """What is in a file of `data`, which is read in blocks."""
    blocks = (data[start : start + block] for start in range(0, len(data), block))
    return Content(MemoryBlocks(blocks), PATH, compression)


def packed(data: bytes, compression: Compression, level: int | None = None) -> bytes:
    return b"".join(compressed([data], compression, level))


@both
@given(
    chunks=st.lists(st.binary(max_size=200), max_size=5),
    level=st.none() | st.integers(1, 9),
    block=st.integers(1, 3000),
)
def test_what_was_compressed_comes_back_in_any_split(compression, chunks, level, block):
    file = b"".join(compressed(chunks, compression, level))
    read = content(file, compression, block)
    assert b"".join(read) == b"".join(read) == bytes(read.map()) == b"".join(chunks)
    assert read.size_bytes == len(file)


@both
def test_the_blocks_are_of_about_a_mebibyte(compression):
    data = bytes(range(256)) * 2**14
    blocks = list(content(packed(data, compression), compression))
    assert b"".join(blocks) == data
    assert len(blocks) in (3, 4)
    assert max(map(len, blocks)) < 2**21


def test_ordinary_tools_read_what_is_written_and_the_other_way_round():
    data = b"text " * 1000
    assert gzip.decompress(packed(data, "gzip")) == data
    assert zstandard.ZstdDecompressor().decompressobj().decompress(packed(data, "zstd")) == data
    # Of several members or frames, and with the length in the head.
    assert b"".join(content(gzip.compress(data) * 2, "gzip")) == data * 2
    assert b"".join(content(zstandard.compress(data) * 2, "zstd")) == data * 2


@both
@pytest.mark.parametrize("size", [0, 5, 5000])
def test_a_file_that_was_cut_anywhere_is_refused(compression, size):
    file = packed(b"0123456789" * (size // 10) + b"ab"[: size % 10], compression)
    for length in range(len(file)):
        with pytest.raises(CorruptionError):
            list(content(file[:length], compression))


@both
def test_something_behind_the_end_is_refused(compression):
    file = packed(b"text", compression)
    with pytest.raises(CorruptionError, match="damaged at byte 4"):
        list(content(file + b"more", compression))


@both
def test_a_position_is_one_of_the_content(compression):
    data = bytes(range(256)) * 2**12
    file = packed(data, compression, 1)
    with pytest.raises(CorruptionError) as raised:
        list(content(file[: len(file) // 2], compression))
    assert len(file) < raised.value.position < len(data) or compression == "zstd"
    assert 0 <= raised.value.position < len(data)


def zeros(megabytes: int, compression: Compression) -> bytes:
    """Many zeros compressed by other means than ours."""
    packer: Any
    if compression == "gzip":
        packer = zlib.compressobj(9, wbits=31)
    else:
        packer = zstandard.ZstdCompressor().compressobj()
    pieces = [packer.compress(bytes(2**20)) for _ in range(megabytes)]
    return b"".join(pieces) + packer.flush()


def test_a_file_that_expands_beyond_its_ratio_is_refused():
    file = zeros(70, "zstd")
    assert 70 * 2**20 > FREE_BYTES > RATIO_MAX * len(file)
    with pytest.raises(ExpansionError, match=f"{len(file):,} bytes and expands to more") as raised:
        list(content(file, "zstd"))
    assert raised.value.limit_bytes == FREE_BYTES
    assert raised.value.size_bytes == len(file)
    assert raised.value.path == PATH


def test_a_file_that_claims_to_expand_too_far_is_refused_before_it_is_expanded():
    packer = zstandard.ZstdCompressor().compressobj(size=2**50)
    claim = packer.compress(b"little") + packer.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
    read = content(claim, "zstd")
    with pytest.raises(ExpansionError):
        next(iter(read))


@both
def test_no_file_expands_beyond_the_absolute_limit(compression, monkeypatch):
    monkeypatch.setattr(module, "EXPANDED_BYTES_MAX", 2**20)
    with pytest.raises(ExpansionError, match="1,048,576"):
        list(content(zeros(2, compression), compression))
    with pytest.raises(RefusedValueError, match="1,048,576 bytes are not compressed"):
        packed(bytes(2**20 + 1), compression)
    assert b"".join(content(packed(bytes(2**20), compression), compression)) == bytes(2**20)


def test_gzip_never_reaches_the_ratio():
    file = zeros(8, "gzip")
    assert 8 * 2**20 / len(file) < RATIO_MAX / 1.9
    assert b"".join(content(file, "gzip")) == bytes(8 * 2**20)


@both
def test_what_is_written_is_never_refused_however_well_it_is_compressed(compression):
    chunks = [bytes(2**20)] * 80
    file = b"".join(compressed(chunks, compression))
    assert expanded_bytes_max(len(file)) >= 80 * 2**20
    assert sum(map(len, content(file, compression))) == 80 * 2**20
    if compression == "zstd":  # padded, and any reader skips that
        other = zstandard.ZstdDecompressor().decompressobj()
        assert len(other.decompress(file)) == 80 * 2**20
        with pytest.raises(CorruptionError, match="cut"):
            list(content(file[:-1], compression))


@both
def test_a_bomb_is_refused_before_more_than_a_piece_is_held(compression, monkeypatch):
    largest = 0

    class Watched:
        def __init__(self, inner):
            self.inner = inner

        def __getattr__(self, name):
            return getattr(self.inner, name)

        def decompress(self, data):
            nonlocal largest
            assert len(data) <= PIECE_BYTES
            given = self.inner.decompress(data)
            largest = max(largest, len(given))
            return given

    begun = Content._begun
    monkeypatch.setattr(Content, "_begun", lambda *arguments: Watched(begun(*arguments)))
    monkeypatch.setattr(module, "FREE_BYTES", 2**20)
    monkeypatch.setattr(module, "RATIO_MAX", 2)
    with pytest.raises(ExpansionError):
        list(content(zeros(200, compression), compression, 2**20))
    assert 0 < largest <= FREE_BYTES


def test_a_frame_that_asks_for_more_memory_than_ours_is_refused():
    parameters = zstandard.ZstdCompressionParameters(window_log=28, compression_level=1)
    packer = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    file = packer.compress(b"text") + packer.flush()
    with pytest.raises(CorruptionError, match="memory"):
        list(content(file, "zstd"))


def test_without_the_library_zstd_is_refused_with_the_extra_to_install(monkeypatch):
    file = packed(b"text", "zstd")
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(UsageError, match=r"pip install 'penin\[zstd\]'"):
        content(file, "zstd")
    with pytest.raises(UsageError, match=r"pip install 'penin\[zstd\]'"):
        packed(b"text", "zstd")
    assert b"".join(content(packed(b"text", "gzip"), "gzip")) == b"text"
    with pytest.raises(CorruptionError):
        list(content(b"text", "gzip"))


@pytest.mark.parametrize(
    ("name", "suffix", "parts"),
    [
        ("state.json", ".json", (".json", None)),
        ("state.json.gz", ".json.gz", (".json", "gzip")),
        ("state.safetensors.zst", ".safetensors.zst", (".safetensors", "zstd")),
        ("a.b.zst", ".b.zst", (".b", "zstd")),
        ("state.zst", ".zst", ("", "zstd")),
        ("state.gz.json", ".json", (".json", None)),
        ("state", "", ("", None)),
    ],
)
def test_the_suffix_tells_what_is_inside_and_how_it_is_compressed(name, suffix, parts):
    assert suffix_of(Path(name)) == suffix
    assert split_suffix(suffix) == parts
