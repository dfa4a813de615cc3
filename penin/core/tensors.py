r"""The second snapshot format: a whole state at one seq as a safetensors file, vectors as tensors.

Any safetensors reader opens it. The file is, one behind the other and without gaps:

1. 8 bytes: the length of the header, as a little-endian integer.
2. The header: a JSON object, with spaces behind it so that the data begins at a multiple of 4096.
   `__metadata__` has texts: `format` (`penin-tensors`), `version` (`2`), `seq`, `schema_version`,
   `history_maxlen` (digits, left out for no bound), `message_ids_max`, and `store`, `epoch`, `at`,
   `journal_hash` (left out where there is none). The other members tell name, dtype, shape and
   place of each tensor of the data, in the order of the data.
3. The data. For each column of the knowledge base, numbered from 0 in its order:

   =============================  ==============  =============================================
   `knowledge.<c>.vectors`        its own [r, n]  the vectors, in the order of their last change
   `knowledge.<c>.seqs`           I64 [r]         the seq of the last change of each
   `knowledge.<c>.key_ends`       I64 [r]         where each key ends in `keys`
   `knowledge.<c>.metadata_ends`  I64 [r]         where each metadata ends in `metadata`
   `knowledge.<c>.keys`           U8 [bytes]      the keys in UTF-8, one behind the other
   `knowledge.<c>.metadata`       U8 [bytes]      the metadata as JSON, one behind the other
   =============================  ==============  =============================================

   and one `state` (U8): histories, documents and message ids as JSON lines. The line
   `["history",name,maxlen,n]` has the n items behind it, oldest first, each in a line;
   `["history_seq",name,seq]` tells the last change of a history that has changed;
   `["document",name,seq]` has the value in the line behind it; and
   `["message_id",id,seq,digest,result,failed_seq]` is what a message was answered, oldest first.
   Tensors of 8-byte items stand first, then those of 4, 2 and 1, each group in the order above:
   so every tensor is aligned.
4. `digests` (U8 [b, 32]): the BLAKE3 digest of each MiB of the data before it.
5. `root` (U8 [32]): the BLAKE3 digest of 1, 2 and 4.

Version 1 was the same with SHA-256 for BLAKE3.

Nothing is in the file but what is live, and all lengths are known before the first byte is
written. What a reader checks is told in `penin.core.tensors_reader`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from itertools import groupby
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from penin.core import values
from penin.core.blocks import Block
from penin.core.segments import Kind
from penin.core.snapshots import Envelope
from penin.core.state import SCORE_HISTORY, StateView
from penin.storage.mapped import (
    BLOCK_BYTES,
    DIGEST_BYTES,
    Digest,
    blake3_digest,
    digested,
    sha256_digest,
    whole_blocks,
)

TENSORS_FORMAT: Final = "penin-tensors"
TENSORS_VERSION: Final = 2
DIGEST_OF: Final[dict[str, Digest]] = {"1": sha256_digest, str(TENSORS_VERSION): blake3_digest}
"""What computes the digests, for each version that is read, as a header has it."""
DATA_ALIGNMENT_BYTES: Final = 4096
LENGTH: Final = struct.Struct("<Q")
METADATA: Final = "__metadata__"
DTYPE_OF: Final = {
    "<f8": "F64",
    "<f4": "F32",
    "<i8": "I64",
    "<i4": "I32",
    "<i2": "I16",
    "|i1": "I8",
    "<u8": "U64",
    "<u4": "U32",
    "<u2": "U16",
    "|u1": "U8",
}
"""What safetensors calls each dtype that a vector may have."""
_encode: Final = msgspec.json.Encoder().encode


class Tensor(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the header says of one tensor; the offsets are those in the data."""

    dtype: str
    shape: tuple[int, ...]
    data_offsets: tuple[int, int]


class ColumnSize(NamedTuple):
    """How large a column is."""

    kind: Kind
    rows: int
    keys_bytes: int
    metadata_bytes: int


def layout(columns: list[ColumnSize], state_bytes: int) -> dict[str, Tensor]:
    """The tensors of a file with these columns, in the order of the data.

    The data that the digests are of ends where `digests` begins.
    """
    shapes: dict[str, tuple[str, tuple[int, ...]]] = {}
    for number, column in enumerate(columns):
        dtype, row_bytes = column.kind
        prefix = f"knowledge.{number}."
        length = row_bytes // np.dtype(dtype).itemsize
        shapes[prefix + "vectors"] = dtype, (column.rows, length)
        for name in ("seqs", "key_ends", "metadata_ends"):
            shapes[prefix + name] = "<i8", (column.rows,)
        shapes[prefix + "keys"] = "|u1", (column.keys_bytes,)
        shapes[prefix + "metadata"] = "|u1", (column.metadata_bytes,)
    shapes["state"] = "|u1", (state_bytes,)
    # Stable: those of the same item size keep the order above.
    ordered = sorted(shapes.items(), key=lambda item: -np.dtype(item[1][0]).itemsize)
    tensors: dict[str, Tensor] = {}
    end = 0
    for name, (dtype, shape) in ordered:
        tensors[name], end = _tensor(dtype, shape, end)
    digests = -(-end // BLOCK_BYTES), DIGEST_BYTES
    tensors["digests"], end = _tensor("|u1", digests, end)
    tensors["root"], _ = _tensor("|u1", (DIGEST_BYTES,), end)
    return tensors


def _tensor(dtype: str, shape: tuple[int, ...], begin: int) -> tuple[Tensor, int]:
    end = begin + np.dtype(dtype).itemsize
    for length in shape:
        end = begin + (end - begin) * length
    return Tensor(DTYPE_OF[dtype], shape, (begin, end)), end


def encode_tensors(view: StateView, envelope: Envelope) -> Iterator[bytes | memoryview]:
    """The file of a view: the header, blocks of 1 MiB, and the digests.

    Beside the view it takes a few MiB, and holds the interpreter lock for about a millisecond at
    a time. What comes out of a mapped file is checked on the way: CorruptionError where it is
    damaged.
    """
    files: dict[int, Any] = {}
    blocks = [block.for_copying(files) for block in view.knowledge_base.blocks()]
    columns = [_Column(kind, list(group)) for kind, group in groupby(blocks, _kind)]
    state_bytes = sum(map(len, _state_lines(view)))
    tensors = layout([column.size() for column in columns], state_bytes)
    head = _header(tensors, view, envelope)
    yield head
    digests = bytearray()
    yield from digested(whole_blocks(_data(tensors, columns, view)), digests)
    yield bytes(digests)
    yield root_of(head, digests, blake3_digest)


def root_of(
    head: bytes | memoryview, digests: bytes | bytearray | memoryview, digest: Digest
) -> bytes:
    """The root of a file: `head` is the header with its length."""
    return digest(b"".join((head, digests)))


def _kind(block: Block) -> Kind:
    return block.kind


def _header(tensors: dict[str, Tensor], view: StateView, envelope: Envelope) -> bytes:
    said = {
        "format": TENSORS_FORMAT,
        "version": TENSORS_VERSION,
        "store": envelope.store,
        "epoch": envelope.epoch,
        "seq": view.seq,
        "at": envelope.at,
        "schema_version": view.schema_version,
        "journal_hash": envelope.journal_hash,
        "history_maxlen": view.history_maxlen,
        "message_ids_max": view.message_ids_max,
    }
    texts = {name: str(value) for name, value in said.items() if value is not None}
    header = _encode({METADATA: texts, **tensors})
    header += b" " * (-(LENGTH.size + len(header)) % DATA_ALIGNMENT_BYTES)
    return LENGTH.pack(len(header)) + header


def _data(
    tensors: dict[str, Tensor], columns: list[_Column], view: StateView
) -> Iterator[bytes | memoryview]:
    """The data before the digests, in pieces of any size."""
    for name in tensors:
        group, _, rest = name.partition(".")
        if group == "knowledge":
            number, _, part = rest.partition(".")
            yield from getattr(columns[int(number)], part)()
        elif group == "state":
            yield from _state_lines(view)


class _Column:
    """The live rows of a column; the methods are the tensors of the format, in pieces."""

    def __init__(self, kind: Kind, blocks: list[Block]) -> None:
        self._kind = kind
        self._blocks = blocks

    def size(self) -> ColumnSize:
        rows = sum(block.live_count for block in self._blocks)
        keys, metadata = (
            sum(int(np.diff(ends(block))[block.live].sum()) for block in self._blocks)
            for ends in (Block.key_ends, Block.metadata_ends)
        )
        return ColumnSize(self._kind, rows, keys, metadata)

    def vectors(self) -> Iterator[memoryview]:
        step = max(1, BLOCK_BYTES // self._kind[1])
        for index, block in enumerate(self._blocks):
            matrix, live = block.matrix, block.live
            if live.all():
                yield matrix.data.cast("B")
            else:
                for start in range(0, block.count, step):
                    chosen = matrix[start : start + step][live[start : start + step]]
                    if len(chosen):
                        yield chosen.data.cast("B")
            if index:  # of this one, the end may still wait for the beginning of the next
                self._blocks[index - 1].release()

    def seqs(self) -> Iterator[bytes]:
        return (block.seqs[block.live].tobytes() for block in self._blocks)

    def key_ends(self) -> Iterator[bytes]:
        return _moved_ends(self._blocks, Block.key_ends)

    def metadata_ends(self) -> Iterator[bytes]:
        return _moved_ends(self._blocks, Block.metadata_ends)

    def keys(self) -> Iterator[bytes]:
        for block in self._blocks:
            yield from _texts(block.key_ends(), block.live, block.key_text)

    def metadata(self) -> Iterator[bytes]:
        for block in self._blocks:
            yield from _texts(block.metadata_ends(), block.live, block.metadata_text)


def _moved_ends(
    blocks: list[Block], ends_of: Callable[[Block], NDArray[np.int64]]
) -> Iterator[bytes]:
    """The ends of the live rows as they are without the dead ones."""
    begin = 0
    for block in blocks:
        ends = np.cumsum(np.diff(ends_of(block))[block.live]) + begin
        begin = int(ends[-1])  # a block has a live row
        yield ends.astype("<i8").tobytes()


def _texts(
    ends: NDArray[np.int64], live: NDArray[np.bool_], text: Callable[[int, int], bytes]
) -> Iterator[bytes]:
    """The texts of the live rows, in pieces of about a block."""
    row = 0
    while row < len(live):
        # As many rows as fit a block, and one at least.
        beyond = int(np.searchsorted(ends, ends[row] + BLOCK_BYTES, side="right")) - 1
        stop = max(row + 1, beyond)
        piece, mask = text(int(ends[row]), int(ends[stop])), live[row:stop]
        if mask.all():
            yield piece
        elif mask.any():
            kept = np.repeat(mask, np.diff(ends[row : stop + 1]))
            yield np.frombuffer(piece, np.uint8)[kept].tobytes()
        row = stop


# -- histories, documents and message ids -----------------------------------------------------


def _state_lines(view: StateView) -> Iterator[bytes]:
    """The `state` tensor, in pieces of about 64 KiB."""
    lines: list[bytes] = []
    size = 0
    for line in _lines(view):
        lines.append(line)
        size += len(line)
        if size >= BLOCK_BYTES // 16:
            yield b"\n".join(lines) + b"\n"
            lines.clear()
            size = 0
    if lines:
        yield b"\n".join(lines) + b"\n"


def _lines(view: StateView) -> Iterator[bytes]:
    for name, (maxlen, items) in view.histories.items():
        yield _encode(("history", name, maxlen, len(items)))
        if name == SCORE_HISTORY:
            yield from (values.encode_value(score, name) for score in items)
        else:
            yield from items
    for name, seq in view.history_seqs.items():
        yield _encode(("history_seq", name, seq))
    for name, value in view.documents.items():
        yield _encode(("document", name, view.document_seqs[name]))
        yield value
    for known in view.message_ids:
        yield _encode(("message_id", *msgspec.structs.astuple(known)))
