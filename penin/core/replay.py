"""What was read from a journal, made ready to apply: the files that messages name are brought in.

A message may name a place in a sealed file (`penin.storage.sealed`) in place of what is there: the
numbers of a large bulk, or a whole snapshot. So replay reads the journal and what it names by
digest, and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import msgspec

from penin.core.segments import ROWS_MAX
from penin.core.snapshot_reader import read_snapshot
from penin.core.tensors_reader import read_tensors
from penin.core.transitions import (
    AnyBody,
    ExtendKnowledge,
    ExtendSealed,
    Rebase,
    RebaseLoaded,
    SnapshotFile,
)
from penin.storage.mapped import BLOCK_BYTES, MappedFile

GetSealed = Callable[[str], MappedFile]
"""Gives a sealed file by its name, or raises."""
_NAMING: Final = frozenset({ExtendKnowledge, Rebase})
"""The messages that may name a file."""


def ready(bodies: list[AnyBody], get_sealed: GetSealed) -> list[AnyBody]:
    """Decoded messages of one commit, ready to apply, each once.

    Raises ValueError for a place that is not in its file, what `get_sealed` raises, and for a
    snapshot what `read_snapshot` and `read_tensors` raise.
    """
    if _NAMING.isdisjoint(map(type, bodies)):
        return bodies
    return [_ready(body, get_sealed) for body in bodies]


def _ready(body: AnyBody, get_sealed: GetSealed) -> AnyBody:
    if type(body) is ExtendKnowledge and body.matrix.sealed is not None:
        return _extend_sealed(body, get_sealed)
    if type(body) is Rebase and body.snapshot is not None:
        return loaded(body, body.snapshot, get_sealed)
    return body


def _extend_sealed(body: ExtendKnowledge, get_sealed: GetSealed) -> ExtendSealed:
    place, keys = body.matrix.sealed, body.keys
    assert place is not None
    file = get_sealed(place.file)
    is_inside = 0 <= place.start < place.start + place.size <= file.size_bytes
    if not is_inside or not keys or len(keys) > ROWS_MAX or place.size % len(keys):
        raise ValueError(f"{len(keys)} rows at a place that is not one in {place.file}")
    return ExtendSealed(**msgspec.structs.asdict(body), file=file)


def loaded(body: Rebase, snapshot: SnapshotFile, get_sealed: GetSealed) -> RebaseLoaded:
    """A rebase with the state in its snapshot."""
    file = get_sealed(snapshot.file)
    if snapshot.format == "json":
        content, _ = read_snapshot(_blocks(file), file.path)
    else:
        content, _ = read_tensors(file.read(0, file.size_bytes), file.path)
    return RebaseLoaded(**msgspec.structs.asdict(body), content=content)


def _blocks(file: MappedFile) -> Iterator[bytes]:
    for start in range(0, file.size_bytes, BLOCK_BYTES):
        yield bytes(file.read(start, min(start + BLOCK_BYTES, file.size_bytes)))
