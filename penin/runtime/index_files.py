"""Indexes on disk: a cache in `index/` of a store, which may be lost or deleted at any time.

An index of dimension n for a metric has three files: `<metric>-<n>.graph`, as usearch writes it;
`<metric>-<n>.rows`, which says what the rows are; and `<metric>-<n>.json`, written last, which says
what it is of and what the others' SHA-256 is. Nothing is synced: an index of which anything is
missing, torn, or of another store is none.
"""

from __future__ import annotations

import errno
import hashlib
import os
import time
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from penin.core.approximate import CONNECTIVITY, NUMBERS, Rows, VectorIndex

FORMAT: Final = "penin-index"
VERSION: Final = 1
_BLOCK_BYTES: Final = 2**20
_CALLS_BETWEEN_PAUSES: Final = 64

Stop = Callable[[], bool]


class Card(msgspec.Struct, frozen=True):
    """What the `.json` file says."""

    format: str
    version: int
    store: str
    seq: int
    metric: str
    dimension: int
    numbers: str
    connectivity: int
    rows: int
    graph_sha256: str
    rows_sha256: str


class _File(msgspec.Struct):
    """What the `.rows` file holds, as MessagePack: the parts of `Rows`."""

    text: bytes
    ends: bytes
    seqs: bytes


def save_index(directory: Path, store: str, index: VectorIndex) -> None:
    """Write the files of an index, which nobody may change meanwhile.

    `directory` is made where it is not there. usearch holds the interpreter while it writes the
    vectors, about 1 ms for 2,000: this is for the end, when nobody waits for the event loop.
    Raises OSError; then there may be no index.
    """
    directory.mkdir(mode=0o700, exist_ok=True)
    if directory.is_symlink():
        raise OSError(errno.ELOOP, "a symbolic link, which nothing in a store follows")
    graph, rows, card = _paths(directory, index.metric, index.dimension)
    card.unlink(missing_ok=True)
    temporary = graph.with_name(graph.name + ".tmp")
    # Made by us, so that its mode is ours.
    os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600))
    index.graph.save(str(temporary), progress=_pausing(_never))
    temporary.replace(graph)
    parts = index.rows
    file = _File(bytes(parts.text), parts.ends.tobytes(), parts.seqs.tobytes())
    _write(rows, msgspec.msgpack.encode(file))
    digests = _digest(graph), _digest(rows)
    about = (index.metric, index.dimension, NUMBERS, CONNECTIVITY, len(index))
    _write(card, msgspec.json.encode(Card(FORMAT, VERSION, store, index.seq, *about, *digests)))


def load_index(
    directory: Path, store: str, index: VectorIndex, is_stopping: Stop
) -> VectorIndex | None:
    """`index`, empty until now, as it was saved; None if that is not whole or of another store."""
    graph, rows, card_path = _paths(directory, index.metric, index.dimension)
    try:
        card = msgspec.json.decode(card_path.read_bytes(), type=Card)
        kind = index.metric, index.dimension
        expected = (FORMAT, VERSION, store, *kind, NUMBERS, CONNECTIVITY)
        stated = (card.format, card.version, card.store, card.metric, card.dimension)
        if (*stated, card.numbers, card.connectivity) != expected:
            return None
        if (_digest(graph), _digest(rows)) != (card.graph_sha256, card.rows_sha256):
            return None
        file = msgspec.msgpack.decode(rows.read_bytes(), type=_File)
        # Loading it would hold the interpreter while it copies the vectors.
        index.graph.view(str(graph), progress=_pausing(is_stopping))
    except (OSError, msgspec.MsgspecError, RuntimeError):
        return None
    index.rows = Rows(bytearray(file.text), array("Q", file.ends), array("q", file.seqs))
    index.seq = card.seq
    index.is_mapped = True
    return index if len(index.graph) == len(index) == card.rows else None


def _paths(directory: Path, metric: str, dimension: int) -> tuple[Path, Path, Path]:
    stem = directory / f"{metric}-{dimension}"
    return stem.with_suffix(".graph"), stem.with_suffix(".rows"), stem.with_suffix(".json")


def _pausing(is_stopping: Stop) -> Callable[[int, int], bool]:
    """What usearch calls after each row: it holds the interpreter, so it is made to let go."""
    calls = 0

    def go_on(done: int, total: int) -> bool:  # noqa: ARG001  # usearch looks at the signature
        nonlocal calls
        calls += 1
        if calls % _CALLS_BETWEEN_PAUSES:
            return True
        time.sleep(0)
        return not is_stopping()

    # usearch compares the annotations with types, which postponed they are not.
    go_on.__annotations__ = {"done": int, "total": int, "return": bool}
    return go_on


def _never() -> bool:
    return False


def _write(path: Path, data: bytes) -> None:
    temporary = path.with_name(path.name + ".tmp")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
    with os.fdopen(os.open(temporary, flags, 0o600), "wb") as file:
        file.write(data)
    temporary.replace(path)


def _digest(path: Path) -> str:
    """The SHA-256 of a file, read in blocks."""
    state: Any = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            state.update(block)
    digest: str = state.hexdigest()
    return digest
