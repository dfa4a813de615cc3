"""The two snapshot formats, chosen by the suffix of the file.

`.safetensors` is that of `penin.core.tensors`, every other suffix the JSON of
`penin.core.snapshots`. Either may be compressed (`penin.storage.compression`), with another suffix
behind it: `.json.zst`. A store encrypts what it writes of that (`.json.zst.enc`), by itself
(`penin.storage.encryption`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from penin.core.snapshot_reader import read_snapshot
from penin.core.snapshots import Envelope, encode_snapshot
from penin.core.state import State, StateView
from penin.core.tensors import encode_tensors
from penin.core.tensors_reader import read_tensors
from penin.storage.compression import compressed, content_of, split_suffix
from penin.storage.snapshots import TENSORS_SUFFIX, SnapshotBlocks


def encode_state(
    view: StateView,
    envelope: Envelope,
    suffix: str,
    level: int | None = None,
) -> Iterator[bytes | memoryview]:
    """The file of a view, in blocks of about 1 MiB; see the encoders. It is not encrypted here.

    `level` is that of the compression, see `compressed`.
    """
    inner, compression = split_suffix(suffix)
    blocks: Iterator[bytes | memoryview]
    if inner == TENSORS_SUFFIX:
        blocks = encode_tensors(view, envelope)
    else:
        blocks = encode_snapshot(view, envelope)
    return blocks if compression is None else compressed(blocks, compression, level)


def decode_state(
    blocks: SnapshotBlocks,
    path: Path,
    suffix: str,
    *,
    accept_edited: bool = False,
    whole: bool = False,
    abandoned: Callable[[], None] = lambda: None,
) -> tuple[State, Envelope]:
    """The state in a file that is open, and what it says about itself; see the readers.

    `path` is for messages only. `accept_edited` has no meaning for tensors, which nobody edits.
    With `whole`, every byte of tensors is checked now, as every byte of JSON is.
    `abandoned` is called after each block, and may raise. The state of tensors keeps the file
    mapped; of a compressed or an encrypted file, it keeps the content in memory. Positions in
    errors are those of the content. Raises also what `content_of` raises.
    """
    inner, _ = split_suffix(suffix)
    content = content_of(blocks, path, suffix, abandoned)
    if inner == TENSORS_SUFFIX:
        return read_tensors(content.map(), path, abandoned, whole=whole)
    return read_snapshot(_each(content, abandoned), path, accept_edited=accept_edited)


def _each(blocks: Iterable[bytes], abandoned: Callable[[], None]) -> Iterator[bytes]:
    for block in blocks:
        abandoned()
        yield block
