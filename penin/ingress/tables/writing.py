"""A knowledge base as a table: the formats that `penin.ingress.tables.opening` reads.

Each file is written as a stream, atomically and durably. What a format cannot hold exactly is
refused before anything is written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from penin.core.values import shown
from penin.errors import UsageError
from penin.ingress.safetensors import Streamed, write_tensors
from penin.ingress.tables.arrays import KEYS, METADATA, VECTORS
from penin.ingress.tables.npz import npy_header, npz_chunks
from penin.ingress.tables.opening import NPY, NPZ, SAFETENSORS, parquet_module, suffix_of
from penin.ingress.tables.selection import NO_METADATA, Selection
from penin.ingress.tables.table import block_rows
from penin.ingress.tables.texts import JSON_LINES_SUFFIX
from penin.storage.files import CHUNK_BYTES, joined, replace_file

PADDING_FACTOR_MAX: Final = 16
PADDING_FREE_BYTES: Final = 64 * 2**20
"""An array of str has room for its longest text in every row: beyond so many times the bytes of
the texts, and so many bytes, it is refused."""
_encode: Final = msgspec.json.Encoder().encode


def write_table(
    path: Path, selection: Selection, keys: Path | None = None, metadata: Path | None = None
) -> None:
    """Write `selection` to `path`, in the format of its suffix, and replace what is there.

    `keys` and `metadata` are the files beside a `.npy` file, written before it. Each of the files
    is there whole or as it was before. Raises UsageError, with nothing written, for what the
    format cannot hold, and OSError.
    """
    suffix = suffix_of(path)
    if suffix == NPY:
        kind = selection.kind
        if keys is None:
            raise UsageError(f"{path}: a .npy file has no keys: --keys names a file for them")
        if keys.suffix != JSON_LINES_SUFFIX:
            _check_plain_lines(keys, selection)
        header = npy_header((selection.count, kind.dimension), kind.dtype)
        replace_file(keys, _key_lines(keys, selection))
        if metadata is not None:
            replace_file(
                metadata, joined(f"{text}\n".encode() for text in selection.metadata_texts())
            )
        replace_file(path, _with_header(header, _numbers(selection)))
    elif suffix == NPZ:
        replace_file(path, npz_chunks(_npz_arrays(path, selection)))
    elif suffix == SAFETENSORS:
        write_tensors(path, _tensors(selection), {"format": "penin"})
    elif suffix == JSON_LINES_SUFFIX:
        replace_file(path, joined(_json_lines(selection)))
    else:
        replace_file(path, parquet_module(path).parquet_chunks(selection))


# -- .npy and the files beside it -------------------------------------------------------------


def _check_plain_lines(path: Path, selection: Selection) -> None:
    for key in selection.key_texts():
        if "\n" in key or key.endswith("\r"):
            raise UsageError(
                f"{path}: the key {shown(key)} has a line end in it: with the suffix "
                f"{JSON_LINES_SUFFIX} keys are written as JSON strings"
            )


def _key_lines(path: Path, selection: Selection) -> Iterator[bytes]:
    as_json = path.suffix == JSON_LINES_SUFFIX
    return joined(
        (_encode(key) if as_json else key.encode()) + b"\n" for key in selection.key_texts()
    )


def _numbers(selection: Selection) -> Iterator[bytes]:
    """The vectors behind one another; counted."""
    return (matrix.tobytes() for _, matrix, _ in selection.blocks(CHUNK_BYTES))


def _with_header(header: bytes, blocks: Iterable[bytes]) -> Iterator[bytes]:
    yield header
    yield from blocks


# -- .npz -------------------------------------------------------------------------------------


def _npz_arrays(path: Path, selection: Selection) -> dict[str, Iterable[bytes]]:
    kind = selection.kind
    header = npy_header((selection.count, kind.dimension), kind.dtype)
    arrays: dict[str, Iterable[bytes]] = {
        KEYS: _str_array(path, KEYS, selection.count, selection.key_texts),
        VECTORS: _with_header(header, _numbers(selection)),
    }
    if selection.has_metadata:
        arrays[METADATA] = _str_array(path, METADATA, selection.count, selection.metadata_texts)
    return arrays


def _str_array(
    path: Path, name: str, count: int, texts: Callable[[], Iterator[str]]
) -> Iterator[bytes]:
    """A `.npy` file of texts, all with room for the longest. Raises UsageError at once."""
    width = 1
    size_bytes = 0
    for text in texts():
        if text.endswith("\0"):
            raise UsageError(
                f"{path}: numpy cuts the end off {shown(text)}: write {SAFETENSORS} or "
                f"{JSON_LINES_SUFFIX}"
            )
        width = max(width, len(text))
        size_bytes += len(text)
    dtype = np.dtype(f"<U{width}")
    padded_bytes = count * dtype.itemsize
    if padded_bytes > PADDING_FREE_BYTES + PADDING_FACTOR_MAX * size_bytes:
        raise UsageError(
            f"{path}: {name} would take {padded_bytes:,} bytes, because the longest has {width:,} "
            f"characters: write {SAFETENSORS} or {JSON_LINES_SUFFIX}"
        )
    return _with_header(npy_header((count,), dtype), _padded(texts(), dtype))


def _padded(texts: Iterator[str], dtype: np.dtype[Any]) -> Iterator[bytes]:
    rows = block_rows(dtype.itemsize)
    some: list[str] = []
    for text in texts:
        some.append(text)
        if len(some) == rows:
            yield np.array(some, dtype).tobytes()
            some = []
    if some:
        yield np.array(some, dtype).tobytes()


# -- .safetensors -----------------------------------------------------------------------------


def _tensors(selection: Selection) -> dict[str, Any]:
    kind = selection.kind
    shape = (selection.count, kind.dimension)
    tensors: dict[str, Any] = {VECTORS: Streamed(kind.dtype, shape, _numbers(selection))}
    tensors |= _packed(KEYS, selection.count, selection.key_texts)
    if selection.has_metadata:
        tensors |= _packed(METADATA, selection.count, selection.metadata_texts)
    return tensors


def _packed(name: str, count: int, texts: Callable[[], Iterator[str]]) -> dict[str, Any]:
    """The texts behind one another, and where each of them ends."""
    lengths = np.fromiter((len(text.encode()) for text in texts()), np.int64, count)
    ends = np.cumsum(lengths)
    size_bytes = int(ends[-1]) if count else 0
    data = Streamed(np.dtype(np.uint8), (size_bytes,), joined(text.encode() for text in texts()))
    return {name: data, f"{name}_ends": ends}


# -- .jsonl -----------------------------------------------------------------------------------


def _json_lines(selection: Selection) -> Iterator[bytes]:
    for key, array, metadata in selection.counted():
        parts = [
            b'{"key":',
            _encode(key),
            b',"dtype":',
            _encode(array.dtype.name),
            b',"vector":',
            # The numbers as float64 holds them, which is exact for every dtype.
            _encode(array.tolist()),
        ]
        if metadata != NO_METADATA:
            parts += [b',"metadata":', metadata]
        yield b"".join((*parts, b"}\n"))
