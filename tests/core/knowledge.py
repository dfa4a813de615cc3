"""What the tests of the knowledge base are made with: keys, artifacts, and what a view shows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import strategies as st

from penin.core.artifacts import NumericVectorArtifact
from penin.core.knowledge import KnowledgeBase
from penin.core.knowledge_view import KnowledgeView
from penin.core.snapshots import Envelope
from penin.core.state import State
from penin.core.tensors import encode_tensors
from penin.core.tensors_reader import read_tensors
from penin.storage.mapped import MappedFile, block_digests, checked_file

KEYS = [*"abcdefgh", "ключ", "鍵", "\N{MUSICAL SYMBOL G CLEF}", "a key that is longer than others"]
# Two kinds with vectors of as many bytes, two of one dtype, one with a dimension of 1.
KINDS = [("<f4", 3), ("<i2", 6), ("<f4", 1), ("|u1", 1), ("<f8", 2)]
keys = st.sampled_from(KEYS)
kinds = st.sampled_from(KINDS)


def made(number: int, kind: tuple[str, int], *, metadata: bool) -> NumericVectorArtifact:
    """An artifact that no other number makes."""
    dtype, dimension = kind
    vector = np.full(dimension, number % 250, dtype)
    return NumericVectorArtifact(vector, {"number": number, "ß": ["x"]} if metadata else None)


def put(base: KnowledgeBase, key: str, artifact: NumericVectorArtifact, seq: int) -> None:
    base.put(key, *artifact.parts, seq)


def filled(count: int, dimension: int = 4, start: int = 0) -> KnowledgeBase:
    base = KnowledgeBase()
    for number in range(start, start + count):
        put(base, str(number), made(number, ("<f4", dimension), metadata=True), number + 1)
    return base


def reopened(base: KnowledgeBase) -> KnowledgeBase:
    """What a snapshot of it gives: its keys are loaded, and not put."""
    state = State()
    state.knowledge_base = base
    data = b"".join(encode_tensors(state.view(), Envelope()))
    return read_tensors(memoryview(data), Path("state.safetensors"))[0].knowledge_base


def file_of(data: bytes) -> MappedFile:
    """A sealed file that is mapped."""
    return checked_file(Path("sealed"), memoryview(data), block_digests(memoryview(data)))


def reclaim_all(base: KnowledgeBase) -> int:
    """Reclaim until nothing is due; how many plans that took."""
    count = 0
    while (plan := base.reclaim_plan()) is not None:
        plan.copy()
        assert base.adopt(plan)
        count += 1
    return count


def entries_of(view: KnowledgeView) -> list[tuple[str, tuple[str, bytes, bytes], int]]:
    return [(key, artifact.parts, seq) for key, artifact, seq in view.entries()]


def in_blocks(view: KnowledgeView) -> list[tuple[str, bytes, bytes, int]]:
    """The same, read through the blocks."""
    return [
        (block.key(row), block.matrix[row].tobytes(), block.metadata(row), int(block.seqs[row]))
        for block in view.blocks()
        for row in range(block.count)
        if block.live[row]
    ]
