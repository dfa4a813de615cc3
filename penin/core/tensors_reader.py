"""Reading a snapshot of `penin.core.tensors` out of a mapped file: what is checked, and when.

At once: the root, and with it the header and the digests; that the header is the one that we would
write for columns of these sizes, so no tensor lies over another or outside; the blocks that hold
keys, the ends of keys and metadata, and the histories and documents; that ends never go back, and
that no key is there twice. A block of vectors, seqs or metadata is checked when it is first read
(`penin.core.mapped`). What a digest is right for is what was written, and is trusted.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from penin.core import values
from penin.core.artifacts import VECTOR_BYTES_MAX
from penin.core.mapped import MappedColumn, MappedSegment
from penin.core.message_ids import MESSAGE_IDS_MAX_DEFAULT, KnownMessage
from penin.core.segments import ROWS_MAX, SEGMENT_BYTES_MAX
from penin.core.snapshots import Envelope
from penin.core.state import SCORE_HISTORY, State
from penin.core.tensors import (
    DIGEST_OF,
    DTYPE_OF,
    LENGTH,
    METADATA,
    TENSORS_FORMAT,
    ColumnSize,
    Tensor,
    layout,
    root_of,
)
from penin.errors import CorruptionError, FormatError
from penin.storage.mapped import BLOCK_BYTES, DIGEST_BYTES, Digest, MappedFile

HEADER_BYTES_MAX: Final = 100 * 10**6
"""As in the reference implementation of safetensors."""
_DTYPES: Final = {name: dtype for dtype, name in DTYPE_OF.items()}
_NOT_OURS: Final = (msgspec.MsgspecError, LookupError, RecursionError, TypeError, ValueError)
"""What reading raises where a file is not what we write."""


class _Metadata(msgspec.Struct):
    format: str
    version: str
    seq: str
    schema_version: str
    history_maxlen: str | None = None
    message_ids_max: str = str(MESSAGE_IDS_MAX_DEFAULT)  # left out before ids were answered
    store: str | None = None
    epoch: str | None = None
    at: str | None = None
    journal_hash: str | None = None


class SalvagedTensors(NamedTuple):
    """What the header of a damaged file says, unproven; `size_bytes` is what it says of the file.

    `state` has seq, histories and documents, and no knowledge base; None where they cannot be read.
    """

    seq: int
    schema_version: int
    history_maxlen: int | None
    envelope: Envelope
    columns: list[ColumnSize]
    size_bytes: int
    state: State | None


class _Parts(NamedTuple):
    """A file in its parts: the header with its length, the data, the digests and what made them."""

    head: memoryview
    data: memoryview
    digests: memoryview
    digest: Digest

    def mapped(self, path: Path) -> MappedFile:
        """The data, checked block by block when it is read; `path` is for messages."""
        return MappedFile(path, len(self.head), self.data, bytes(self.digests), self.digest)


def read_tensors(
    file: memoryview,
    path: Path,
    abandoned: Callable[[], None] = lambda: None,
    *,
    whole: bool = False,
) -> tuple[State, Envelope]:
    """The state in a mapped file, which the state keeps mapped; `path` is for messages only.

    Raises CorruptionError where a digest is not right or the file is cut, FormatError for another
    format, a newer version, and what no state can hold. `abandoned` is called now and then, and
    may raise. With `whole`, every block is checked before anything else is.
    """
    parts = _parts(file, path)
    try:
        said, tensors = _header(parts.head)
        columns = _columns(tensors)
        if layout(columns, tensors["state"].shape[0]) != tensors:
            raise ValueError("its tensors are not those of a snapshot")
        data = parts.mapped(path)
        for start in range(0, len(parts.data) if whole else 0, BLOCK_BYTES):
            abandoned()
            data.read(start, min(start + BLOCK_BYTES, len(parts.data)))
        state = _empty_state(said)
        if not state.knowledge_base.load(_segments(data, tensors, columns, abandoned)):
            raise ValueError("a key is there twice")
        _read_state(state, data, *tensors["state"].data_offsets)
        return state, _envelope(said)
    except _NOT_OURS as error:
        reason = f"its content is not that of a snapshot: {error}"
        # Names in it may hold a lone surrogate, which no terminal and no log takes.
        raise FormatError(path, reason.encode(errors="backslashreplace").decode()) from error


def damaged_blocks(file: memoryview, path: Path) -> list[int]:
    """Where in a mapped file the blocks begin whose digest is not right; all of them are read.

    Raises CorruptionError and FormatError like `read_tensors`, for the root.
    """
    parts = _parts(file, path)
    begin = len(parts.head)
    data = parts.mapped(path)
    damaged = []
    for start in range(0, len(parts.data), BLOCK_BYTES):
        stop = min(start + BLOCK_BYTES, len(parts.data))
        try:
            data.read(start, stop)
        except CorruptionError:
            damaged.append(begin + start)
        data.give_back(start, stop)
    return damaged


def salvage_tensors(file: memoryview, path: Path) -> SalvagedTensors | None:
    """What can be told of a file that `read_tensors` refuses; None where it has no such header.

    For looking at it: only histories and documents, where they can be read, are proven right.
    """
    try:
        begin = LENGTH.size + LENGTH.unpack_from(file)[0]
        said, tensors = _header(file[: min(begin, HEADER_BYTES_MAX)])
        state = _empty_state(said)
        size_bytes = begin + tensors["root"].data_offsets[1]
        columns = _columns(tensors)
        envelope = _envelope(said)
    except (*_NOT_OURS, struct.error):
        return None
    return SalvagedTensors(
        state.seq,
        state.schema_version,
        state.history_maxlen,
        envelope,
        columns,
        size_bytes,
        _salvaged_state(state, file, path, tensors),
    )


def _salvaged_state(
    state: State, file: memoryview, path: Path, tensors: dict[str, Tensor]
) -> State | None:
    try:
        data = _parts(file, path).mapped(path)
        _read_state(state, data, *tensors["state"].data_offsets)
    except (*_NOT_OURS, CorruptionError, FormatError):
        return None
    return state


def _header(head: memoryview) -> tuple[_Metadata, dict[str, Tensor]]:
    """What a header says, with its length before it; raises any of _NOT_OURS."""
    members = msgspec.json.decode(bytes(head[LENGTH.size :]), type=dict[str, Any])
    said = msgspec.convert(members.pop(METADATA), _Metadata)
    return said, msgspec.convert(members, dict[str, Tensor])


def _empty_state(said: _Metadata) -> State:
    state = State(None if said.history_maxlen is None else int(said.history_maxlen))
    state.seq = int(said.seq)
    state.schema_version = int(said.schema_version)
    state.message_ids.bound(int(said.message_ids_max))
    return state


def _envelope(said: _Metadata) -> Envelope:
    epoch = None if said.epoch is None else int(said.epoch)
    return Envelope(said.store, epoch, said.at, said.journal_hash, int(said.version))


def _parts(file: memoryview, path: Path) -> _Parts:
    """The parts, by their lengths alone; raises where the root is not right."""
    header_bytes = LENGTH.unpack_from(file)[0] if len(file) >= LENGTH.size else 0
    begin = LENGTH.size + header_bytes
    rest = len(file) - begin - DIGEST_BYTES
    if header_bytes > HEADER_BYTES_MAX or rest < DIGEST_BYTES:
        raise CorruptionError(path, 0, "cut, or not a safetensors file")
    digests_bytes = -(-rest // (BLOCK_BYTES + DIGEST_BYTES)) * DIGEST_BYTES
    end = len(file) - DIGEST_BYTES - digests_bytes
    head, digests = file[:begin], file[end:-DIGEST_BYTES]
    said = _said(head)
    if said is None:
        raise CorruptionError(path, 0, "its header cannot be read: damaged or cut")
    if said.get("format") != TENSORS_FORMAT:
        raise FormatError(path, "a safetensors file that is not a snapshot")
    version = str(said.get("version"))
    if version not in DIGEST_OF:
        reason = f"{TENSORS_FORMAT} version {version}; this program reads {' and '.join(DIGEST_OF)}"
        raise FormatError(path, reason)
    digest = DIGEST_OF[version]
    if root_of(head, digests, digest) != file[-DIGEST_BYTES:]:
        raise CorruptionError(path, 0, "the root of its digests is not right: damaged or cut")
    return _Parts(head, file[begin:end], digests, digest)


def _said(head: memoryview) -> dict[str, Any] | None:
    """The texts in a header, which may be damaged or of another program; None if unreadable."""
    try:
        members = msgspec.json.decode(bytes(head[LENGTH.size :]), type=dict[str, msgspec.Raw])
        return msgspec.json.decode(members.get(METADATA, b"{}"), type=dict[str, Any])
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None


def _columns(tensors: dict[str, Tensor]) -> list[ColumnSize]:
    columns: list[ColumnSize] = []
    while (vectors := tensors.get(f"knowledge.{len(columns)}.vectors")) is not None:
        prefix = f"knowledge.{len(columns)}."
        rows, length = vectors.shape
        row_bytes = length * np.dtype(_DTYPES[vectors.dtype]).itemsize
        if rows < 1 or not 1 <= row_bytes <= VECTOR_BYTES_MAX:
            raise ValueError(f"{prefix}vectors of shape {vectors.shape}")
        (keys,), (metadata,) = tensors[prefix + "keys"].shape, tensors[prefix + "metadata"].shape
        kind = _DTYPES[vectors.dtype], row_bytes
        columns.append(ColumnSize(kind, rows, keys, metadata))
    if len({column.kind for column in columns}) < len(columns):
        raise ValueError("two columns of one kind")
    return columns


def _segments(
    file: MappedFile,
    tensors: dict[str, Tensor],
    sizes: list[ColumnSize],
    abandoned: Callable[[], None],
) -> Iterator[tuple[MappedSegment, list[str]]]:
    """All columns as segments, with their keys."""
    for number, size in enumerate(sizes):
        for loaded in _segments_of_column(file, tensors, number, size):
            abandoned()
            yield loaded


def _segments_of_column(
    file: MappedFile, tensors: dict[str, Tensor], number: int, size: ColumnSize
) -> Iterator[tuple[MappedSegment, list[str]]]:
    """A column as segments as large as those in memory, with their keys."""
    places = {
        name: tensors[f"knowledge.{number}.{name}"].data_offsets
        for name in (*MappedColumn._fields[2:], "keys", "key_ends")
    }
    begins = (places[name][0] for name in MappedColumn._fields[2:])
    column = MappedColumn(file, size.kind, *begins)
    key_ends = _ends(file, places["key_ends"], size.keys_bytes)
    _ends(file, places["metadata_ends"], size.metadata_bytes)
    step = min(ROWS_MAX, max(1, SEGMENT_BYTES_MAX // size.kind[1]))
    keys, begin = places["keys"][0], 0
    for first in range(0, size.rows, step):
        ends = key_ends[first : first + step]
        text = bytes(file.read(keys + begin, keys + int(ends[-1])))
        key_begins = np.append(begin, ends) - begin
        begin = int(ends[-1])
        segment = MappedSegment(column, first, text, key_begins.astype(np.uint32))
        yield segment, _keys(text, key_begins.tolist())


def _ends(file: MappedFile, place: tuple[int, int], text_bytes: int) -> NDArray[np.int64]:
    ends = np.frombuffer(file.read(*place), "<i8")
    if ends[0] < 0 or ends[-1] != text_bytes or (ends[1:] < ends[:-1]).any():
        raise ValueError("the ends of keys or metadata do not follow each other")
    return ends


def _keys(encoded: bytes, begins: list[int]) -> list[str]:
    text = encoded.decode()
    if len(text) == len(encoded):  # a character a byte
        return [text[begin:end] for begin, end in pairwise(begins)]
    return [encoded[begin:end].decode() for begin, end in pairwise(begins)]


def _read_state(state: State, file: MappedFile, start: int, stop: int) -> None:
    lines = _lines(file, start, stop)
    for line in lines:
        kind, name, *rest = msgspec.json.decode(line, type=list[Any])
        if kind == "history":
            maxlen, count = rest
            kept = [next(lines) for _ in range(count)]
            items = map(values.decode_value, kept) if name == SCORE_HISTORY else kept
            state.set_history(name, items, maxlen)
        elif kind == "history_seq":
            (state.history_seqs[name],) = rest
        elif kind == "document":
            state.documents.encoded[name] = next(lines)
            (state.document_seqs[name],) = rest
        elif kind == "message_id":
            state.message_ids.put(_known(name, *rest))
        else:
            raise ValueError(f"state: a line of {kind}")


def _known(name: str, seq: int, digest: str, result: str, failed_seq: int | None) -> KnownMessage:
    # One text for each result, however many there are.
    return KnownMessage(name, seq, digest, sys.intern(result), failed_seq)


def _lines(file: MappedFile, start: int, stop: int) -> Iterator[bytes]:
    rest = b""
    for begin in range(start, stop, BLOCK_BYTES):
        piece = rest + bytes(file.read(begin, min(begin + BLOCK_BYTES, stop)))
        *lines, rest = piece.split(b"\n")
        yield from lines
    if rest:
        raise ValueError("state: the last line has no end")
